"""Tensors seen otherwise: parts of them, and on fewer axes, which is what kernels that go over elements want."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from alexnet_ir.backends.emission.commands import Tensor
from alexnet_ir.backends.emission.epilogue import Epilogue
from alexnet_ir.backends.emission.site import AXES, INTS
from alexnet_ir.ir.layout import Layout
from alexnet_ir.ops.dropout import Dropout


@dataclass(frozen=True)
class View(Tensor):
    """Elements of a tensor's memory from element `start` on, `steps` apart along each axis."""

    steps: tuple[int, ...] = ()
    start: int = 0

    @property
    def strides(self) -> tuple[int, ...]:
        return self.steps


def stored_alike(a: Tensor, b: Tensor) -> bool:
    """Whether values of one shape lie in the same order."""
    return all(s == t for length, s, t in zip(a.shape, a.strides, b.strides, strict=True) if length > 1)


def is_copy(out: Tensor, x: Tensor, epilogue: Epilogue) -> bool:
    """Whether out = epilogue(x) is the same bytes in the same order."""
    is_part = isinstance(out, View) or isinstance(x, View)
    return not (epilogue.ops or is_part) and out.layout.stored == x.layout.stored and stored_alike(out, x)


def reshaped(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """As many elements in the order in which they lie."""
    return replace(tensor, shape=shape, layout=Layout(tensor.layout.stored))


def fewest_axes(out: Tensor, x: Tensor, epilogue: Epilogue) -> tuple[Tensor, Tensor, Epilogue]:
    """out = epilogue(x) on fewer axes: on one if everything lies alike and no element needs to know its channel; on
    three at most if there are more than four."""
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
    return reshaped(out, shape), reshaped(x, shape), epilogue.reshaped(shape)


def four(tensor: Tensor) -> View:
    """As [n, c, h, w]; one axis is the channels."""
    axes = AXES[len(tensor.shape)]
    shape, steps = dict(zip(axes, tensor.shape, strict=True)), dict(zip(axes, tensor.strides, strict=True))
    start = tensor.start if isinstance(tensor, View) else 0
    lengths = tuple(shape.get(axis, 1) for axis in "NCHW")
    return View(lengths, tensor.layout, tensor.place, tuple(steps.get(axis, 0) for axis in "NCHW"), start)


def part(whole: Tensor, like: Tensor, axis: int, start: int) -> tuple[View, Tensor]:
    """The part of `whole` from `start` on along an axis that is of the shape of `like`; and `like`, on as many axes. Of
    tensors in one order both are rows of elements side by side, the one's with gaps between them."""
    if whole.layout.channels_last != like.layout.channels_last:
        steps = whole.strides
        return View(like.shape, whole.layout, whole.place, steps, start * steps[axis]), like
    order = (0, 2, 3, 1) if whole.layout.channels_last else tuple(range(len(whole.shape)))
    inner = math.prod(whole.shape[a] for a in order[order.index(axis) + 1 :])
    row, gap = like.shape[axis] * inner, whole.shape[axis] * inner
    shape = math.prod(like.shape) // row, row
    window = View(shape, whole.layout, whole.place, (gap, 1), start * inner)
    return window, View(shape, like.layout, like.place, (row, 1))
