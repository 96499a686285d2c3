"""Ops on each element by itself, and ops that only move elements: one kernel for all, `kernels/pointwise.cu`.

Both sides are brought to the fewest axes first: tensors that lie alike become one line of elements; a slice of such,
and a part of a concatenation, rows with gaps between them. What is left is walked through in the order of the result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from alexnet_ir.backends.cuda.site import CUDA, Emit, Site, kernel
from alexnet_ir.backends.emission.commands import Command, Emission, Launch, Move, Tensor
from alexnet_ir.backends.emission.epilogue import EXPRESSIONS, NONE, Epilogue
from alexnet_ir.backends.emission.site import AXES, INTS, Workspace
from alexnet_ir.ir.layout import STORED_BYTES, Layout
from alexnet_ir.ir.op import Op
from alexnet_ir.ops.dropout import Dropout
from alexnet_ir.ops.elementwise import Identity
from alexnet_ir.ops.shape import Concat, Copy, Fill, Flatten, Slice, Unflatten

THREADS = 256


@dataclass(frozen=True)
class View(Tensor):
    """Elements of a tensor's memory from element `start` on, `steps` apart along each axis."""

    steps: tuple[int, ...] = ()
    start: int = 0

    @property
    def strides(self) -> tuple[int, ...]:
        return self.steps


def grid(threads: int) -> tuple[int, int, int]:
    """Blocks for so many threads."""
    return -(-threads // THREADS), 1, 1


def stored_alike(a: Tensor, b: Tensor) -> bool:
    """Whether values of one shape lie in the same order."""
    return all(s == t for length, s, t in zip(a.shape, a.strides, b.strides, strict=True) if length > 1)


def computed(out: Tensor, x: Tensor, epilogue: Epilogue = NONE) -> Command:
    """out = epilogue(x), both of one logical shape."""
    is_raw = not epilogue.ops and out.layout.stored == x.layout.stored
    if is_raw and not isinstance(out, View) and not isinstance(x, View) and stored_alike(out, x):
        return Move(x.place, out.place)
    out, x, epilogue = _fewest_axes(out, x, epilogue)
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


def _fewest_axes(out: Tensor, x: Tensor, epilogue: Epilogue) -> tuple[Tensor, Tensor, Epilogue]:
    """The same on fewer axes: on one if everything lies alike and no element needs to know its channel; on three at
    most if there are more than four."""
    if isinstance(out, View) or isinstance(x, View):
        return out, x, epilogue
    whole = [t for t in (out, x, *epilogue.tensors) if t.shape]
    alike = all(t.shape == out.shape and stored_alike(t, out) for t in whole)
    drops = [part.op for part in epilogue.ops if isinstance(part.op, Dropout)]
    is_plain = stored_alike(out, replace(out, layout=Layout("f32")))
    if alike and all(is_plain and not op.period for op in drops) and math.prod(out.shape) < INTS:
        shape: tuple[int, ...] = (math.prod(out.shape),)
    elif len(out.shape) > 4:
        shape = (*out.shape[:2], math.prod(out.shape[2:]))
    else:
        return out, x, epilogue
    return _reshaped(out, shape), _reshaped(x, shape), epilogue.reshaped(shape)


def _reshaped(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """As many elements in the order in which they lie."""
    return replace(tensor, shape=shape, layout=Layout(tensor.layout.stored))


def four(tensor: Tensor) -> View:
    """As [n, c, h, w]; one axis is the channels."""
    axes = AXES[len(tensor.shape)]
    shape, steps = dict(zip(axes, tensor.shape, strict=True)), dict(zip(axes, tensor.strides, strict=True))
    start = tensor.start if isinstance(tensor, View) else 0
    lengths = tuple(shape.get(axis, 1) for axis in "NCHW")
    return View(lengths, tensor.layout, tensor.place, tuple(steps.get(axis, 0) for axis in "NCHW"), start)


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


# --- ops --------------------------------------------------------------------------------------------------------------


def pointwise(site: Site, epilogue: Epilogue) -> Emission:
    """An op of one expression, and what is fused behind it."""
    (out,) = site.results
    whole = epilogue.after(site.op, site.operands[1:], out.shape)
    return Emission((computed(out, site.operands[0], whole),))


def moved(site: Site, epilogue: Epilogue) -> Emission:
    """The same elements in the same order, of the same shape or another one."""
    (x,), (out,) = site.operands, site.results
    if x.shape == out.shape or not x.layout.channels_last:
        return Emission((computed(out, replace(x, shape=out.shape), epilogue),))
    if not out.layout.channels_last:
        return Emission((computed(replace(out, shape=x.shape), x, epilogue.reshaped(x.shape)),))
    workspace = Workspace()
    between = workspace.tensor(x.shape, Layout(x.layout.stored))
    there, back = computed(between, x), computed(out, replace(between, shape=out.shape), epilogue)
    return Emission((there, back), workspace.nbytes)


def sliced(site: Site, epilogue: Epilogue) -> Emission:
    """A part of the operand."""
    assert not epilogue.ops
    assert isinstance(site.op, Slice)
    (x,), (out,) = site.operands, site.results
    return Emission((_part(x, out, site.op.axis, site.op.start, is_write=False),))


def concatenated(site: Site, epilogue: Epilogue) -> Emission:
    """Each operand becomes a part of the result."""
    assert not epilogue.ops
    assert isinstance(site.op, Concat)
    (out,), axis, start, commands = site.results, site.op.axis, 0, []
    for x in site.operands:
        commands.append(_part(out, x, axis, start, is_write=True))
        start += x.shape[axis]
    return Emission(tuple(commands))


def _part(whole: Tensor, part: Tensor, axis: int, start: int, is_write: bool) -> Command:
    """The part of `whole` from `start` on along an axis is copied to, or from, `part`."""
    if whole.layout.channels_last != part.layout.channels_last:
        steps = whole.strides
        window: Tensor = View(part.shape, whole.layout, whole.place, steps, start * steps[axis])
    else:
        order = (0, 2, 3, 1) if whole.layout.channels_last else tuple(range(len(whole.shape)))
        inner = math.prod(whole.shape[a] for a in order[order.index(axis) + 1 :])
        row, gap = part.shape[axis] * inner, whole.shape[axis] * inner
        shape = math.prod(part.shape) // row, row
        window = View(shape, whole.layout, whole.place, (gap, 1), start * inner)
        part = View(shape, part.layout, part.place, (row, 1))
    return computed(window, part) if is_write else computed(part, window)


def filled(site: Site, epilogue: Epilogue) -> Emission:
    """One number everywhere."""
    assert not epilogue.ops
    assert isinstance(site.op, Fill)
    (out,) = site.results
    count = math.prod(out.shape)
    constants = {"COUNT": count, "VALUE": float(site.op.value), "THREADS": THREADS}
    source = kernel("fill.cu", "fill", tensors={"OUT": _reshaped(out, (count,))}, constants=constants)
    return Emission((Launch(source, grid(count), (THREADS, 1, 1), (out.place,)),))


EMITTERS: dict[type[Op], Emit] = {
    **dict.fromkeys(EXPRESSIONS, pointwise),
    Concat: concatenated,
    Copy: moved,
    Fill: filled,
    Flatten: moved,
    Identity: moved,
    Slice: sliced,
    Unflatten: moved,
}
"""By the class of op."""
