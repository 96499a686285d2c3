"""The ops that exchange something while they run, as what each device does: normalisation across maps that lie on two
devices, batch normalisation over a batch that is shared out, softmax over classes that are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from alexnet_ir.ir.graph import Value
from alexnet_ir.ir.op import Op
from alexnet_ir.ir.types import TensorType, f32
from alexnet_ir.ops.batchnorm import (
    BatchNorm,
    BatchNormGrad,
    BatchNormGradInput,
    BatchNormGradWeight,
    BatchNormInference,
    ChannelSquares,
    samples,
)  # fmt: skip
from alexnet_ir.ops.dense import BiasGrad
from alexnet_ir.ops.elementwise import Scale
from alexnet_ir.ops.loss import Maximum, RowExpSum, RowMax, SoftmaxCrossEntropy, SoftmaxCrossEntropyShare
from alexnet_ir.ops.normalize import Lrn, LrnGrad
from alexnet_ir.ops.shape import Concat, Slice
from alexnet_ir.passes.collectives import Collectives, Shares

Types: TypeAlias = Sequence[TensorType]
Writer = Callable[[Collectives, Any, Types, Sequence[Shares]], tuple[Shares, ...]]
"""From an op, the placed types of its operands and their shares to the shares of its results."""


def summed(write: Collectives, parts: Shares, name: str) -> Shares:
    """The sum of all devices' parts, on every device."""
    shape = write.graph.tensor(parts[0]).shape
    return write.of_kind("all_reduce").all_reduce(parts, f32(*shape), name)


# --- local response normalisation ---------------------------------------------------------------------------------


def with_halo(write: Collectives, shares: Shares, maps: int) -> Shares:
    """Each share with so many maps of its neighbours on both sides, as far as there are any."""
    halo = write.of_kind("halo")
    out = {}
    for device, share in shares.items():
        parts = [share]
        if device > 0:
            length = write.graph.tensor(shares[device - 1]).shape[1]
            left = halo.emit(device - 1, Slice(length - maps, length), shares[device - 1], name="right_edge")
            parts.insert(0, halo.copy(left, device))
        if device < write.devices - 1:
            right = halo.emit(device + 1, Slice(0, maps), shares[device + 1], name="left_edge")
            parts.append(halo.copy(right, device))
        out[device] = halo.emit(device, Concat(), *parts, name="with_halo")
    return out


def own_maps(write: Collectives, device: int, value: Value, channels: int, maps: int) -> Value:
    """A device's own channels of a value that has so many maps of each neighbour."""
    start = maps if device > 0 else 0
    return write.emit(device, Slice(start, start + channels), value)


def lrn(write: Collectives, op: Lrn, types: Types, shares: Sequence[Shares]) -> tuple[Shares, ...]:
    """Normalises a share and its halo, and keeps its own maps."""
    channels = types[0].local(write.devices)[1]
    extended = with_halo(write, shares[0], op.reach)
    made = {d: write.emit(d, op, value, name="extended") for d, value in extended.items()}
    return ({d: own_maps(write, d, value, channels, op.reach) for d, value in made.items()},)


def lrn_grad(write: Collectives, op: LrnGrad, types: Types, shares: Sequence[Shares]) -> tuple[Shares, ...]:
    """A map's gradient reads its neighbours' gradients and scales, and those scales read as far again: what lies
    beyond the gradients that are read is zero."""
    channels = types[0].local(write.devices)[1]
    grads, inputs = with_halo(write, shares[0], op.reach), with_halo(write, shares[1], 2 * op.reach)
    out = {}
    for device, grad in grads.items():
        shape = list(write.graph.tensor(grad).shape)
        shape[1] = op.reach
        parts = [grad]
        if device > 0:
            parts.insert(0, write.zeros(device, shape))
        if device < write.devices - 1:
            parts.append(write.zeros(device, shape))
        padded = write.emit(device, Concat(), *parts, name="padded")
        made = write.emit(device, op, padded, inputs[device], name="extended")
        out[device] = own_maps(write, device, made, channels, 2 * op.reach)
    return (out,)


# --- batch normalisation ------------------------------------------------------------------------------------------


def batchnorm(write: Collectives, op: BatchNorm, types: Types, shares: Sequence[Shares]) -> tuple[Shares, ...]:
    """Mean and variance of the global batch: the sum, then the sum of centred squares, each added up."""
    input, weight, bias = shares
    share = Scale(1 / samples(types[0]))
    sums = summed(write, {d: write.emit(d, BiasGrad(), input[d], name="sum.part") for d in input}, "sum")
    mean = {d: write.emit(d, share, sums[d], name="mean") for d in input}
    parts = {d: write.emit(d, ChannelSquares(), input[d], mean[d], name="squares.part") for d in input}
    squares = summed(write, parts, "squares")
    variance = {d: write.emit(d, share, squares[d], name="variance") for d in input}
    apply = BatchNormInference(op.eps)
    return {d: write.emit(d, apply, input[d], weight[d], bias[d], mean[d], variance[d]) for d in input}, mean, variance


def batchnorm_grad(write: Collectives, op: BatchNormGrad, types: Types, shares: Sequence[Shares]) -> tuple[Shares, ...]:
    """The gradients of weight and bias are sums over the global batch; the input's is made from them."""
    grad, input, weight, mean, variance = shares
    by_weight = BatchNormGradWeight(op.eps)
    parts = {d: write.emit(d, by_weight, grad[d], input[d], mean[d], variance[d], name="weight.part") for d in input}
    grad_weight = summed(write, parts, "weight")
    grad_bias = summed(write, {d: write.emit(d, BiasGrad(), grad[d], name="bias.part") for d in input}, "bias")
    to_input = BatchNormGradInput(samples(types[1]), op.eps)
    grad_input = {
        d: write.emit(d, to_input, *(s[d] for s in (grad, input, weight, mean, variance, grad_weight, grad_bias)))
        for d in input
    }
    return grad_input, grad_weight, grad_bias


# --- softmax ------------------------------------------------------------------------------------------------------


def softmax_cross_entropy(
    write: Collectives, op: SoftmaxCrossEntropy, types: Types, shares: Sequence[Shares]
) -> tuple[Shares, ...]:
    """The largest score of each row, then the sum of the exponentials, over all devices' classes."""
    scores, label = shares
    tops = {d: write.emit(d, RowMax(), scores[d], name="max.part") for d in scores}
    top = write.of_kind("all_reduce").all_reduce(tops, f32(types[0].shape[0]), "max", Maximum())
    total = summed(write, {d: write.emit(d, RowExpSum(), scores[d], top[d], name="sum.part") for d in scores}, "sum")
    classes = types[0].local(write.devices)[1]
    losses, softmax = {}, {}
    for d in scores:
        share = SoftmaxCrossEntropyShare(d * classes)
        losses[d], softmax[d] = write.graph.emit_all(
            share, scores[d], label[d], top[d], total[d], name=f"{write.name}@{d}", span=write.span
        )
    return losses, softmax


EXCHANGING: Mapping[type[Op], Writer] = {
    Lrn: lrn,
    LrnGrad: lrn_grad,
    BatchNorm: batchnorm,
    BatchNormGrad: batchnorm_grad,
    SoftmaxCrossEntropy: softmax_cross_entropy,
}
