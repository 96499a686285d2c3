"""Values as rows of columns, for what goes over a batch channel by channel."""

from __future__ import annotations

import math
from dataclasses import replace

from alexnet_ir.backends.emission.commands import Tensor
from alexnet_ir.ir.layout import Layout
from alexnet_ir.ops.dense import BiasGrad


def by_channel(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Tensors [n, c, ...] of one shape: as [n ..., c], if the channels of all of them lie last; else as they are."""
    n, c, *maps = tensors[0].shape
    if not all(t.strides[1] == 1 and (t.layout.channels_last or math.prod(maps) == 1) for t in tensors):
        return tensors
    return tuple(replace(t, shape=(n * math.prod(maps), c), layout=Layout(t.layout.stored)) for t in tensors)


def by_position(grad: Tensor) -> tuple[Tensor, int]:
    """A tensor [n, c, h, w] as [n, c h w] in the order in which it lies. If that is [positions, c], the number of
    positions, else 1."""
    n, *maps = grad.shape
    positions = math.prod(maps[1:]) if grad.layout.channels_last else 1
    return replace(grad, shape=(n, math.prod(maps)), layout=Layout(grad.layout.stored)), positions


def bias_columns(op: BiasGrad, grad: Tensor) -> tuple[Tensor, int]:
    """What a bias's gradient is the column sums of; and how many positions a channel has among the columns."""
    return (by_channel(grad)[0], 1) if op.per_channel else by_position(grad)
