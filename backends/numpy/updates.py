"""Kernels of the update rules: one pass over memory, the new values over the old ones where the plan has them so."""

from __future__ import annotations

import numpy as np

from alexnet_ir.backends.kernel import Arrays, Kernel, running
from alexnet_ir.backends.numpy.pieces import piece, pieces
from alexnet_ir.ir.op import Op
from alexnet_ir.ops.update import Adam, Sgd


def sgd(op: Sgd, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """v' = momentum v - lr lr_mult (gradient + weight_decay decay_mult w); w' = w + v'."""
    tensors, (lr, momentum, weight_decay, lr_mult, decay_mult) = operands[:3], operands[3:]
    decay, rate = weight_decay * decay_mult, lr * lr_mult
    for parameter, velocity, gradient, out, moved in pieces(*tensors, *outs):
        step = scratch[0][: out.size]
        np.multiply(parameter, decay, out=step)
        np.add(step, gradient, out=step)
        np.multiply(step, rate, out=step)
        np.multiply(velocity, momentum, out=moved)
        np.subtract(moved, step, out=moved)
        np.add(parameter, moved, out=out)


def adam(op: Adam, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """As its meaning, a piece at a time."""
    tensors, (step, lr, beta1, beta2, eps, weight_decay, lr_mult, decay_mult) = operands[:4], operands[4:]
    t = int(step) + 1
    rate, decay = lr * lr_mult / (1 - beta1**t), weight_decay * decay_mult
    for parameter, mean, square, gradient, out, new_mean, new_square in pieces(*tensors, *outs):
        slope, other = (array[: out.size] for array in scratch)
        np.multiply(parameter, decay, out=slope)
        np.add(slope, gradient, out=slope)
        np.multiply(slope, 1 - beta1, out=other)
        np.multiply(mean, beta1, out=new_mean)
        np.add(new_mean, other, out=new_mean)
        np.multiply(slope, 1 - beta2, out=other)
        np.multiply(other, slope, out=other)
        np.multiply(square, beta2, out=new_square)
        np.add(new_square, other, out=new_square)
        np.divide(new_square, 1 - beta2**t, out=other)
        np.sqrt(other, out=other)
        np.add(other, eps, out=other)
        np.multiply(new_mean, rate, out=slope)
        np.divide(slope, other, out=slope)
        np.subtract(parameter, slope, out=out)


def over_their_own(op: Op) -> tuple[tuple[int, int], ...]:
    """The new parameter over the old one, each slot over itself."""
    return tuple((number, number) for number in range(len(op.results)))


KERNELS: dict[type[Op], Kernel] = {
    Sgd: Kernel(running(sgd), piece, in_place=over_their_own),
    Adam: Kernel(running(adam), lambda *types: piece(*types) * 2, in_place=over_their_own),
}
"""By the class of op."""
