"""Kernels of locally connected layers: a sum over the cells of the window, each with weights of its own."""

from __future__ import annotations

import numpy as np

from alexnet_ir.backends.kernel import Arrays, Kernel, Types, running
from alexnet_ir.backends.numpy.products import is_padded, padded_size
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ir.types import TensorType, f32
from alexnet_ir.ops.local import Local, LocalGradInput, LocalGradWeight
from alexnet_ir.ops.window import Windows


def _padding(over: Windows, maps: tuple[int, ...]) -> tuple[TensorType, ...]:
    return (f32(*maps[:2], *padded_size(over)),) if is_padded(over) else ()


def _padded(over: Windows, input: Array, scratch: Arrays) -> Array:
    """The input with what windows read around it."""
    if not scratch:
        return input
    scratch[0].fill(0)
    over.cropped(scratch[0])[...] = input
    return scratch[0]


def local(op: Local, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """Each cell's products summed over the channels, added up over the cells."""
    input, weight = operands
    over = op.windows(input.shape[-2:], weight.shape[2:4])
    maps, kernels = op.grouped(_padded(over, input, scratch[1:]), 1), op.grouped(weight, 0)
    out, part = op.grouped(outs[0], 1), op.grouped(scratch[0], 1)
    out.fill(0)
    for i, j, tap in over.taps(maps):
        np.einsum("ngcyx,gkcyx->ngkyx", tap, kernels[:, :, :, i, j], out=part)
        np.add(out, part, out=out)


def local_scratch(op: Local, operands: Types, results: Types) -> tuple[TensorType, ...]:
    """One cell's share of the result; the padded input."""
    input, weight = (operand.shape for operand in operands)
    return f32(*results[0].shape), *_padding(op.windows((input[2], input[3]), (weight[2], weight[3])), input)


def local_grad_input(op: LocalGradInput, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """Each cell's products summed over the kernels, added to where the cell was read."""
    grad_output, weight = operands
    over = op.windows(op.input_size, weight.shape[2:4])
    grads, kernels = op.grouped(grad_output, 1), op.grouped(weight, 0)
    part, target = scratch[0], scratch[1] if len(scratch) > 1 else outs[0]
    target.fill(0)
    for i, j, tap in over.taps(op.grouped(target, 1)):
        np.einsum("ngkyx,gkcyx->ngcyx", grads, kernels[:, :, :, i, j], out=part)
        np.add(tap, part, out=tap)
    if target is not outs[0]:
        outs[0][...] = over.cropped(target)


def local_grad_input_scratch(op: LocalGradInput, operands: Types, results: Types) -> tuple[TensorType, ...]:
    """One cell's share of the windows; the padded result."""
    weight = operands[1].shape
    over = op.windows(op.input_size, (weight[2], weight[3]))
    part = f32(operands[0].shape[0], op.groups, weight[1], *over.output)
    return part, *_padding(over, results[0].shape)


def local_grad_weight(op: LocalGradWeight, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """For each cell, products summed over the images."""
    grad_output, input = operands
    over = op.windows(input.shape[-2:], op.size)
    grads, maps = op.grouped(grad_output, 1), op.grouped(_padded(over, input, scratch[1:]), 1)
    out, part = op.grouped(outs[0], 0), scratch[0]
    for i, j, tap in over.taps(maps):
        np.einsum("ngkyx,ngcyx->gkcyx", grads, tap, out=part)
        np.copyto(out[:, :, :, i, j], part)


def local_grad_weight_scratch(op: LocalGradWeight, operands: Types, results: Types) -> tuple[TensorType, ...]:
    """One cell's weights; the padded input."""
    input, (_, kernels, *positions) = operands[1].shape, operands[0].shape
    part = f32(op.groups, kernels // op.groups, input[1] // op.groups, *positions)
    return part, *_padding(op.windows((input[2], input[3]), op.size), input)


KERNELS: dict[type[Op], Kernel] = {
    Local: Kernel(running(local), local_scratch),
    LocalGradInput: Kernel(running(local_grad_input), local_grad_input_scratch),
    LocalGradWeight: Kernel(running(local_grad_weight), local_grad_weight_scratch),
}
"""By the class of op."""
