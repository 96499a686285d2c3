"""What ops mean in torch, and their gradients by its autograd. Needs torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - as torch's own pages call it
from torch import Tensor

from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ops import batchnorm, conv, dense, elementwise, loss, normalize, pool

from .plain import output_size


def results(op: Op, arrays: list[Array]) -> list[Array]:
    """The op's results by torch; fewer than the op's where torch gives fewer."""
    made = MEANINGS[type(op)](op, *(torch.from_numpy(a) for a in arrays))
    return [t.numpy() for t in (made if isinstance(made, tuple) else (made,))]


def gradients(op: Op, arrays: list[Array], cotangent: Array) -> list[Array | None]:
    """The gradients of sum(cotangent * first result) by torch; None for labels."""
    leaves = [torch.from_numpy(a).requires_grad_(a.dtype == "float64") for a in arrays]
    made = MEANINGS[type(op)](op, *leaves)
    first = made[0] if isinstance(made, tuple) else made
    first.backward(torch.from_numpy(cotangent))
    return [None if leaf.grad is None else leaf.grad.numpy() for leaf in leaves]


def padded(op: Any, input: Tensor, size: Any, fill: float = 0.0) -> Tensor:
    """The input with its padding, cut or lengthened so that the windows end at its edge."""
    (top, bottom), (left, right) = op.pad
    out = output_size(op, tuple(input.shape[2:]), size)
    dilation = getattr(op, "dilation", (1, 1))
    ends = [(out[a] - 1) * op.stride[a] + dilation[a] * (size[a] - 1) + 1 for a in range(2)]
    wide = F.pad(input, (left, right + 99, top, bottom + 99), value=fill)
    return wide[:, :, : ends[0], : ends[1]]


def convolve(op: Any, input: Tensor, weight: Tensor) -> Tensor:
    cells = padded(op, input, weight.shape[2:])
    return F.conv2d(cells, weight, stride=op.stride, dilation=op.dilation, groups=op.groups)


def max_pool(op: Any, input: Tensor) -> Tensor:
    return F.max_pool2d(padded(op, input, op.size, -torch.inf), op.size, op.stride)


def avg_pool(op: Any, input: Tensor) -> Tensor:
    """torch's own where it can say it (pads alike on both sides, at most half a window); else sums over counts."""
    (top, bottom), (left, right) = op.pad
    if top == bottom and left == right and top <= op.size[0] // 2 and left <= op.size[1] // 2 and op.round != "down":
        return F.avg_pool2d(input, op.size, op.stride, (top, left), True, op.count_pad)
    counted = torch.ones_like(input)
    if op.count_pad:
        counted = F.pad(counted, (left, right, top, bottom), value=1.0)
        bare = type(op)(op.size, op.stride, 0, "up")
        sums = padded(op, input, op.size)
        counted = padded(bare, counted, op.size)[:, :, : sums.shape[2], : sums.shape[3]]
    else:
        sums, counted = padded(op, input, op.size), padded(op, counted, op.size)
    return F.avg_pool2d(sums, op.size, op.stride) / F.avg_pool2d(counted, op.size, op.stride)


def l2_pool(op: Any, input: Tensor) -> Tensor:
    return torch.sqrt(F.avg_pool2d(padded(op, input, op.size) ** 2, op.size, op.stride, divisor_override=1))


def lrn(op: Any, input: Tensor) -> Tensor:
    parts = input.chunk(op.groups, dim=1)
    return torch.cat([F.local_response_norm(p, op.n, op.alpha * op.n, op.beta, op.k) for p in parts], dim=1)


def local_norm(op: Any, input: Tensor) -> Tensor:
    sums = F.avg_pool2d(input**2, op.size, 1, op.size // 2, divisor_override=1)
    return input / (op.k + op.alpha * sums) ** op.beta


def bias_add(op: Op, input: Tensor, bias: Tensor) -> Tensor:
    return input + (bias if bias.dim() > 1 or input.dim() == 2 else bias[:, None, None])


def batch_norm(op: Any, input: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.batch_norm(input, None, None, weight, bias, training=True, eps=op.eps)


def batch_norm_inference(op: Any, input: Tensor, weight: Tensor, bias: Tensor, *running: Tensor) -> Tensor:
    return F.batch_norm(input, *running, weight, bias, training=False, eps=op.eps)


def cross_entropy(op: Any, scores: Tensor, label: Tensor) -> tuple[Tensor, ...]:
    total = F.cross_entropy(scores, label.long(), reduction="sum")
    return total / (op.count or len(label)), F.softmax(scores, dim=1)


def hinge(op: Any, scores: Tensor, label: Tensor) -> Tensor:
    total = F.multi_margin_loss(scores, label.long(), reduction="sum") * scores.shape[1]
    return total / (op.count or len(label))


MEANINGS: dict[type[Op], Callable[..., Any]] = {
    conv.Conv: convolve,
    dense.Fc: lambda op, x, w: F.linear(x, w),
    dense.BiasAdd: bias_add,
    elementwise.Relu: lambda op, x: F.relu(x),
    elementwise.LeakyRelu: lambda op, x: F.leaky_relu(x, op.slope),
    elementwise.Tanh: lambda op, x: torch.tanh(x),
    elementwise.Sigmoid: lambda op, x: torch.sigmoid(x),
    elementwise.Abs: lambda op, x: torch.abs(x),
    normalize.Lrn: lrn,
    normalize.LocalNorm: local_norm,
    pool.MaxPool: max_pool,
    pool.AvgPool: avg_pool,
    pool.L2Pool: l2_pool,
    pool.GlobalAvgPool: lambda op, x: F.adaptive_avg_pool2d(x, 1)[:, :, 0, 0],
    batchnorm.BatchNorm: batch_norm,
    batchnorm.BatchNormInference: batch_norm_inference,
    loss.SoftmaxCrossEntropy: cross_entropy,
    loss.RowMax: lambda op, x: torch.amax(x, dim=1),
    loss.Maximum: lambda op, x, y: torch.maximum(x, y),
    loss.RowExpSum: lambda op, x, top: torch.logsumexp(x - top[:, None], dim=1).exp(),
    loss.Hinge: hinge,
}
