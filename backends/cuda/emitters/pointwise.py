"""Ops on each element by itself, and ops that only move elements: one kernel for all, `kernels/pointwise.cu`.

Both sides are brought to the fewest axes first: tensors that lie alike become one line of elements; a slice of such,
and a part of a concatenation, rows with gaps between them. What is left is walked through in the order of the result.
"""

from __future__ import annotations

import math

from alexnet_ir.backends.cuda.site import CUDA, Emit, Site, kernel
from alexnet_ir.backends.emission import moves
from alexnet_ir.backends.emission.commands import Command, Emission, Launch, Move, Tensor
from alexnet_ir.backends.emission.epilogue import NONE, Epilogue
from alexnet_ir.backends.emission.site import INTS
from alexnet_ir.backends.emission.views import View, fewest_axes, four, is_copy, reshaped
from alexnet_ir.ir.layout import STORED_BYTES
from alexnet_ir.ir.op import Op
from alexnet_ir.ops.shape import Fill

THREADS = 256


def grid(threads: int) -> tuple[int, int, int]:
    """Blocks for so many threads."""
    return -(-threads // THREADS), 1, 1


def computed(out: Tensor, x: Tensor, epilogue: Epilogue = NONE) -> Command:
    """out = epilogue(x), both of one logical shape."""
    if is_copy(out, x, epilogue):
        return Move(x.place, out.place)
    is_raw = not epilogue.ops and out.layout.stored == x.layout.stored
    out, x, epilogue = fewest_axes(out, x, epilogue)
    out, x = four(out), four(x)
    width = _chunk(out, x)
    n, c, h, w = out.shape
    constants = {
        "CHUNK": width,
        "LAST": width > 1 or (out.steps[1] == 1 and c > 1),
        "OUT_AT": out.start,
        "X_AT": x.start,
        "THREADS": THREADS,
    }
    threads = n * -(-c // width) * h * w
    counted = "int" if threads < INTS else "index_t"
    source = kernel(
        "pointwise.cu",
        "pointwise",
        tensors={"OUT": out, "X": x},
        constants=constants,
        generated=f"#define RAW {int(is_raw)}\ntypedef {counted} thread_t;\n{epilogue.source(CUDA)}",
    )
    return Launch(source, grid(threads), (THREADS, 1, 1), (out.place, x.place, *epilogue.arguments))


def _chunk(out: View, x: View) -> int:
    """How many channels a thread makes: 16 bytes of the narrowest type, if they lie side by side and aligned."""
    n, c, h, w = out.shape
    width = 16 // min(STORED_BYTES[t.layout.stored] for t in (out, x))
    while width > 1 and not all(_aligned(view, width) for view in (out, x)):
        width //= 2
    return width if n * h * w == 1 or c % width == 0 else math.gcd(c, width)


def _aligned(view: View, width: int) -> bool:
    """Whether chunks of so many channels are aligned."""
    away = (step for axis, step in enumerate(view.steps) if axis != 1 and view.shape[axis] > 1)
    return view.steps[1] == 1 and view.start % width == 0 and all(step % width == 0 for step in away)


def filled(site: Site, epilogue: Epilogue) -> Emission:
    """One number everywhere."""
    assert not epilogue.ops
    assert isinstance(site.op, Fill)
    (out,) = site.results
    count = math.prod(out.shape)
    constants = {"COUNT": count, "VALUE": float(site.op.value), "THREADS": THREADS}
    source = kernel("fill.cu", "fill", tensors={"OUT": reshaped(out, (count,))}, constants=constants)
    return Emission((Launch(source, grid(count), (THREADS, 1, 1), (out.place,)),))


EMITTERS: dict[type[Op], Emit] = {**moves.emitters(lambda site: computed), Fill: filled}
"""By the class of op."""
