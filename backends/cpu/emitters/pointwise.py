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

PIECE = 1024
"""Elements of a row for a thread at a time."""
TURNED = 32, 64
"""Rows of the result, and elements of each, that are turned over together: they stay in the nearest cache."""


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
            "PIECE": PIECE,
            "LENGTH": length if len(out.shape) == 2 else "length",
            "DRAWS": any(isinstance(part.op, Dropout) for part in epilogue.ops),
        },
        generated=_types(out, x) + epilogue.source(C),
    )
    return Call(source, (np.int64(rows), np.int64(length), x.place, out.place, *epilogue.arguments))


def _by_strides(site: Site, out: Tensor, x: Tensor, epilogue: Epilogue) -> Command:
    """Tensors that lie otherwise than one another, as lines of channels and pixels. Lines are put one behind another
    where both sides let them."""
    is_raw = not epilogue.ops and out.layout.stored == x.layout.stored
    out, x = four(out), four(x)
    n, c, h, w = out.shape
    merges = w == 1 or all(h == 1 or view.steps[2] == w * view.steps[3] for view in (out, x))
    lines, pixels = (1, h * w) if merges else (h, w)
    is_inner = _step(out) > out.steps[1]
    turned = (_step(x) > x.steps[1]) != is_inner
    outer, inner = (pixels, c) if is_inner else (c, pixels)
    is_alike = x.layout.stored == out.layout.stored and STORED_BYTES[x.layout.stored] == 4
    constants: dict[str, int] = {
        "LINES": lines,
        "WIDTH": w,
        "A": outer,
        "B": inner,
        "TILE_A": min(TURNED[0], outer) if turned else 1,
        "TILE_B": min(TURNED[1], inner) if turned else PIECE,
        "CHANNELS_INNER": is_inner,
        "TURNED": turned and is_alike and (x.steps[1], _step(x))[is_inner] == 1,
    }
    for name, view in (("X", x), ("OUT", out)):
        image, channel, line, _ = view.steps
        steps = (_step(view), channel) if is_inner else (channel, _step(view))
        named = zip(("SN", "SL", "SA", "SB"), (image, line, *steps), strict=True)
        constants |= {f"{name}_AT": view.start} | {f"{name}_{key}": step for key, step in named}
    types = f"{_types(out, x)}typedef {'X_T' if is_raw else 'float'} value_t;\n"
    source = kernel("relayout.c", "relayout", site.isa, constants=constants, generated=types + epilogue.source(C))
    return Call(source, (np.int32(n), x.place, out.place, *epilogue.arguments))


def _step(view: View) -> int:
    """Elements from a pixel to the next one, of another line where a line has but one."""
    return view.steps[2] if view.shape[3] == 1 else view.steps[3]


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
