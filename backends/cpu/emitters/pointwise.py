"""Ops on each element by itself, and ops that only move elements: out = epilogue(x), by how the tensors lie.

What lies alike is one line of elements, or rows of channels where some tensors are per channel; parts that are copied
as they are, rows with gaps between them; all else is walked through by strides, in tiles of channels and pixels.
"""

from __future__ import annotations

import math

import numpy as np

from alexnet_ir.backends.cpu.site import C, Emit, Site, kernel
from alexnet_ir.backends.emission import moves
from alexnet_ir.backends.emission.commands import Call, Command, Emission, Move, Tensor
from alexnet_ir.backends.emission.epilogue import NONE, Epilogue
from alexnet_ir.backends.emission.views import View, fewest_axes, four, is_copy, reshaped, stored_alike
from alexnet_ir.ir.layout import STORED_BYTES
from alexnet_ir.ir.op import Op
from alexnet_ir.ops.dropout import Dropout
from alexnet_ir.ops.shape import Fill


def computed(site: Site, out: Tensor, x: Tensor, epilogue: Epilogue = NONE) -> Command:
    """out = epilogue(x), both of one logical shape, in any layouts."""
    if is_copy(out, x, epilogue):
        return Move(x.place, out.place)
    if isinstance(out, View) and isinstance(x, View):
        return _moved(site, out, x)
    out, x, epilogue = _rows(*fewest_axes(out, x, epilogue))
    is_in_rows = len(out.shape) <= 2 and out.strides[-1:] == x.strides[-1:] == (1,)
    return _by_rows(site, out, x, epilogue) if is_in_rows else _by_strides(site, out, x, epilogue)


def _rows(out: Tensor, x: Tensor, epilogue: Epilogue) -> tuple[Tensor, Tensor, Epilogue]:
    """The same on pixels [all images' pixels, c], if everything has its channels last, or is per channel, and no
    element needs to know its position."""
    if not (out.layout.channels_last and x.layout.channels_last) or isinstance(out, View) or isinstance(x, View):
        return out, x, epilogue
    needs_position = any(isinstance(part.op, Dropout) for part in epilogue.ops)
    whole = [t for t in epilogue.tensors if len(t.shape) > 1]
    if needs_position or not all(t.shape == out.shape and stored_alike(t, out) for t in whole):
        return out, x, epilogue
    n, c, h, w = out.shape
    shape = n * h * w, c
    return reshaped(out, shape), reshaped(x, shape), epilogue.reshaped(shape)


def _by_rows(site: Site, out: Tensor, x: Tensor, epilogue: Epilogue) -> Command:
    """Rows of channels, or one line of any length."""
    rows, length = out.shape if len(out.shape) == 2 else (1, math.prod(out.shape))
    source = kernel(
        "pointwise.c",
        "pointwise",
        site.isa,
        constants={
            "LENGTH": length if len(out.shape) == 2 else "length",
            "DRAWS": any(isinstance(part.op, Dropout) for part in epilogue.ops),
        },
        generated=_types(out, x) + epilogue.source(C),
    )
    return Call(source, (np.int64(rows), np.int64(length), x.place, out.place, *epilogue.arguments))


def _by_strides(site: Site, out: Tensor, x: Tensor, epilogue: Epilogue) -> Command:
    """Tensors that lie otherwise than one another. Lines are put one behind another where both sides let them."""
    is_raw = not epilogue.ops and out.layout.stored == x.layout.stored
    out, x = four(out), four(x)
    n, c, h, w = out.shape
    merges = all(h == 1 or view.steps[2] == w * view.steps[3] for view in (out, x)) or w == 1
    lines, columns = (1, h * w) if merges else (h, w)
    constants: dict[str, int] = {"CHANNELS": c, "LINES": lines, "COLUMNS": columns, "WIDTH": w, "RAW": is_raw}
    for name, view in (("X", x), ("OUT", out)):
        step = view.steps[2] if w == 1 else view.steps[3]
        constants |= {f"{name}_AT": view.start, f"{name}_SN": view.steps[0], f"{name}_SC": view.steps[1]}
        constants |= {f"{name}_SH": view.steps[2], f"{name}_SP": step}
    source = kernel(
        "relayout.c", "relayout", site.isa, constants=constants, generated=_types(out, x) + epilogue.source(C)
    )
    return Call(source, (np.int32(n), x.place, out.place, *epilogue.arguments))


def _moved(site: Site, out: View, x: View) -> Command:
    """Rows of bytes, with gaps between them."""
    size = STORED_BYTES[x.layout.stored]
    (rows, length), numbers = x.shape, (x.start, x.steps[0], out.start, out.steps[0])
    counts = (np.int64(number) for number in (rows, size * length, *(size * n for n in numbers)))
    return Call(kernel("move_rows.c", "move_rows", site.isa), (x.place, out.place, *counts))


def _types(out: Tensor, x: Tensor) -> str:
    return f"typedef {out.layout.stored}_t OUT_T;\ntypedef {x.layout.stored}_t X_T;\n"


def filled(site: Site, epilogue: Epilogue) -> Emission:
    """One number everywhere."""
    assert not epilogue.ops
    assert isinstance(site.op, Fill)
    (out,) = site.results
    count, value = np.int64(math.prod(out.shape)), np.float32(site.op.value)
    return Emission((Call(kernel("fill.c", "fill", site.isa), (out.place, count, value)),))


EMITTERS: dict[type[Op], Emit] = {
    **moves.emitters(lambda site: lambda out, x, epilogue: computed(site, out, x, epilogue)),
    Fill: filled,
}
"""By the class of op."""
