"""Kernels of what only moves elements, and of the loss."""

from __future__ import annotations

import numpy as np

from alexnet_ir.backends.kernel import SMALL, Arrays, Kernel, Types, running
from alexnet_ir.backends.numpy.elementwise import over_first
from alexnet_ir.ir.op import Op
from alexnet_ir.ops.elementwise import Identity
from alexnet_ir.ops.loss import HingeGrad, SoftmaxCrossEntropy, SoftmaxCrossEntropyGrad, own_classes
from alexnet_ir.ops.shape import Concat, Copy, Fill, Flatten, Slice, Unflatten


def same(op: Op, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """The same elements in the same order; nothing to do where they lie in one place."""
    (input,), (out,) = operands, outs
    if input.ctypes.data != out.ctypes.data:
        np.copyto(out, input.reshape(out.shape))


def sliced(op: Slice, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """A part along an axis."""
    np.copyto(outs[0], operands[0][(slice(None),) * op.axis + (slice(op.start, op.stop),)])


def softmax_cross_entropy(op: SoftmaxCrossEntropy, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """The softmax's memory holds the scores, less the largest, on the way."""
    (scores, label), (loss, softmax) = operands, outs
    np.subtract(scores, scores.max(axis=1, keepdims=True), out=softmax)
    picked = softmax[np.arange(len(label)), label]
    np.exp(softmax, out=softmax)
    sums = softmax.sum(axis=1, keepdims=True)
    np.divide(softmax, sums, out=softmax)
    loss[...] = (np.log(sums[:, 0]) - picked).sum() / (op.count or len(label))


def softmax_cross_entropy_grad(op: SoftmaxCrossEntropyGrad, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """grad_output (softmax - one_hot(label)) / n."""
    grad_output, softmax, label = operands
    factor = grad_output / (op.count or len(label))
    same(op, [softmax], outs, ())
    rows, columns = own_classes(label, op.first, softmax.shape[1])
    outs[0][rows, columns] -= 1
    np.multiply(outs[0], factor, out=outs[0])


def hinge_grad(op: HingeGrad, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """grad_output slopes / n."""
    grad_output, slopes = operands
    np.multiply(slopes, grad_output / (op.count or len(slopes)), out=outs[0])


def rows_bytes(op: Op, operands: Types, results: Types) -> int:
    """Some numbers a sample."""
    return SMALL + 48 * operands[1].shape[0]


def over_second(op: Op) -> tuple[tuple[int, int], ...]:
    """The result may overwrite the second operand."""
    return ((0, 1),)


KERNELS: dict[type[Op], Kernel] = {
    **dict.fromkeys((Identity, Flatten, Unflatten), Kernel(running(same), in_place=over_first)),
    Copy: Kernel(running(same)),
    Slice: Kernel(running(sliced)),
    Concat: Kernel(running(lambda op, operands, outs, _: np.concatenate(operands, axis=op.axis, out=outs[0]))),
    Fill: Kernel(running(lambda op, operands, outs, _: outs[0].fill(op.value))),
    SoftmaxCrossEntropy: Kernel(running(softmax_cross_entropy), temporary=rows_bytes, in_place=lambda op: ((1, 0),)),
    SoftmaxCrossEntropyGrad: Kernel(running(softmax_cross_entropy_grad), temporary=rows_bytes, in_place=over_second),
    HingeGrad: Kernel(running(hinge_grad), in_place=over_second),
}
"""By the class of op."""
