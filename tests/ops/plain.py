"""What each op means, a second time: loops over every index, written from the definitions. Slow and obvious.

`PLAIN` has one function for each class; it takes the op and its operands and gives the result, or all of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from alexnet_ir.ir.attributes import Pads, Pair
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ops import (
    batchnorm,
    conv,
    dense,
    dropout,
    elementwise,
    fused,
    local,
    loss,
    normalize,
    pool,
    shape,
    update,
)
from alexnet_ir.philox import Domain, Key, random_bits

from . import plain_shares as shares

Contact = tuple[int, int, tuple[int, int], tuple[int, int], tuple[int, int]]


def each(array: Array) -> Iterator[tuple[int, ...]]:
    """Every index of an array."""
    return iter(np.ndindex(array.shape))


def starts(length: int, size: int, stride: int, pads: Pair, dilation: int = 1, round: str = "exact") -> list[int]:
    """Where the windows start along one axis, counted from the first cell of the leading padding."""
    reach, total = dilation * (size - 1) + 1, length + sum(pads)
    found = [s for s in range(0, total, stride) if s + reach <= total]
    beyond = found[-1] + stride
    if round == "up" and found[-1] + reach < total and beyond < length + pads[0]:
        found.append(beyond)
    return found


def window_cells(
    maps: tuple[int, ...], size: Pair, stride: Pair, pad: Pads, dilation: Pair = (1, 1), round: str = "exact"
) -> Iterator[tuple[tuple[int, int], tuple[int, int], tuple[int, int]]]:
    """(output position, cell of the window, cell of the map) for all that lie inside the map, in row-major order."""
    rows, columns = (starts(maps[a], size[a], stride[a], pad[a], dilation[a], round) for a in range(2))
    for (y, top), (x, left) in itertools.product(enumerate(rows), enumerate(columns)):
        for i, j in itertools.product(range(size[0]), range(size[1])):
            r, q = top + i * dilation[0] - pad[0][0], left + j * dilation[1] - pad[1][0]
            if 0 <= r < maps[0] and 0 <= q < maps[1]:
                yield (y, x), (i, j), (r, q)


def output_size(op: Any, maps: tuple[int, ...], size: Pair) -> tuple[int, int]:
    """Rows and columns of what a convolution or a pooling gives."""
    dilation = getattr(op, "dilation", (1, 1))
    rows, columns = (len(starts(maps[a], size[a], op.stride[a], op.pad[a], dilation[a], op.round)) for a in range(2))
    return rows, columns


# --- convolutions -------------------------------------------------------------------------------------------------


def contacts(op: conv.ConvAttributes, maps: tuple[int, ...], size: Pair, kernels: int, channels: int) -> Iterator[Any]:
    """(kernel, channel, channel in its group, output position, window cell, map cell): all that are multiplied."""
    cells = list(window_cells(maps, size, op.stride, op.pad, op.dilation, op.round))
    for k, c in itertools.product(range(kernels), range(channels)):
        if k // (kernels // op.groups) == c // (channels // op.groups):
            for at, tap, cell in cells:
                yield k, c, c % (channels // op.groups), at, tap, cell


def conv_forward(op: Any, input: Array, weight: Array) -> Array:
    out = np.zeros((len(input), len(weight), *output_size(op, input.shape[2:], weight.shape[2:4])))
    untied = weight.ndim == 6
    for k, c, g, at, tap, cell in contacts(op, input.shape[2:], weight.shape[2:4], len(weight), input.shape[1]):
        w = weight[(k, g, *tap, *at)] if untied else weight[(k, g, *tap)]
        out[(slice(None), k, *at)] += input[(slice(None), c, *cell)] * w
    return out


def conv_to_input(op: Any, grad: Array, weight: Array) -> Array:
    channels = weight.shape[1] * op.groups
    out = np.zeros((len(grad), channels, *op.input_size))
    untied = weight.ndim == 6
    for k, c, g, at, tap, cell in contacts(op, op.input_size, weight.shape[2:4], len(weight), channels):
        w = weight[(k, g, *tap, *at)] if untied else weight[(k, g, *tap)]
        out[(slice(None), c, *cell)] += grad[(slice(None), k, *at)] * w
    return out


def conv_to_weight(op: Any, grad: Array, input: Array) -> Array:
    kernels, channels, untied = grad.shape[1], input.shape[1], isinstance(op, local.LocalGradWeight)
    out = np.zeros((kernels, channels // op.groups, *op.size, *(grad.shape[2:] if untied else ())))
    for k, c, g, at, tap, cell in contacts(op, input.shape[2:], op.size, kernels, channels):
        place = (k, g, *tap, *at) if untied else (k, g, *tap)
        out[place] += sum(grad[(n, k, *at)] * input[(n, c, *cell)] for n in range(len(grad)))
    return out


# --- products and biases ------------------------------------------------------------------------------------------


def fc(op: Op, input: Array, weight: Array) -> Array:
    out = np.zeros((len(input), len(weight)))
    for n, u in each(out):
        out[n, u] = sum(input[n, c] * weight[u, c] for c in range(input.shape[1]))
    return out


def fc_to_input(op: Op, grad: Array, weight: Array) -> Array:
    out = np.zeros((len(grad), weight.shape[1]))
    for n, c in each(out):
        out[n, c] = sum(grad[n, u] * weight[u, c] for u in range(len(weight)))
    return out


def fc_to_weight(op: Op, grad: Array, input: Array) -> Array:
    out = np.zeros((grad.shape[1], input.shape[1]))
    for u, c in each(out):
        out[u, c] = sum(grad[n, u] * input[n, c] for n in range(len(grad)))
    return out


def bias_add(op: Op, input: Array, bias: Array) -> Array:
    out = np.zeros(input.shape)
    for at in each(out):
        out[at] = input[at] + bias[at[1 : 1 + bias.ndim]]
    return out


def bias_grad(op: dense.BiasGrad, grad: Array) -> Array:
    out = np.zeros(grad.shape[1:2] if op.per_channel else grad.shape[1:])
    for at in each(grad):
        out[at[1 : 1 + out.ndim]] += grad[at]
    return out


# --- elementwise --------------------------------------------------------------------------------------------------


def mapped(function: Callable[..., float]) -> Callable[..., Array]:
    """An op on each element by itself, from a function of the op and numbers."""

    def meaning(op: Op, *arrays: Array) -> Array:
        out = np.zeros(arrays[0].shape)
        for at in each(out):
            out[at] = function(op, *(float(a[at]) for a in arrays))
        return out

    return meaning


def relu(op: Op, x: float) -> float:
    return x if x > 0 or math.isnan(x) else 0.0


def sigmoid(op: Op, x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def sign(x: float) -> float:
    return math.copysign(1.0, x) if x else 0.0


# --- normalisation ------------------------------------------------------------------------------------------------


def neighbours(op: Any, shape: tuple[int, ...], at: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The elements that normalise the one at `at`, itself among them."""
    n, c, y, x = at
    if isinstance(op, normalize.LrnAttributes):
        size, half = shape[1] // op.groups, op.n // 2
        return [(n, d, y, x) for d in range(shape[1]) if abs(d - c) <= half and d // size == c // size]
    half = op.size // 2
    area = itertools.product(range(shape[2]), range(shape[3]))
    return [(n, c, r, q) for r, q in area if abs(r - y) <= half and abs(q - x) <= half]


def response_norm(op: Any, input: Array) -> Array:
    out = np.zeros(input.shape)
    for at in each(out):
        s = op.k + op.alpha * sum(input[b] ** 2 for b in neighbours(op, input.shape, at))
        out[at] = input[at] / s**op.beta
    return out


def response_norm_grad(op: Any, grad: Array, input: Array) -> Array:
    """The sum over all outputs j of grad_j times d output_j / d input_i."""
    out = np.zeros(input.shape)
    for j in each(input):
        window = neighbours(op, input.shape, j)
        s = op.k + op.alpha * sum(input[i] ** 2 for i in window)
        out[j] += grad[j] / s**op.beta
        for i in window:
            out[i] -= grad[j] * input[j] * op.beta * s ** (-op.beta - 1) * op.alpha * 2 * input[i]
    return out


def channels_of(array: Array) -> Array:
    """[n, c, ...] as [c, values]."""
    return np.moveaxis(array, 1, 0).reshape(array.shape[1], -1)


def like(rows: Array, array: Array) -> Array:
    """The inverse of `channels_of`, in the shape of `array`."""
    moved = np.moveaxis(array, 1, 0).shape
    return np.moveaxis(rows.reshape(moved), 0, 1)


def batch_norm(op: Any, input: Array, weight: Array, bias: Array) -> tuple[Array, ...]:
    rows = channels_of(input)
    out, means, variances = np.zeros(rows.shape), np.zeros(len(rows)), np.zeros(len(rows))
    for c, row in enumerate(rows):
        means[c] = sum(row) / len(row)
        variances[c] = sum((x - means[c]) ** 2 for x in row) / len(row)
        for i, x in enumerate(row):
            out[c, i] = weight[c] * (x - means[c]) / math.sqrt(variances[c] + op.eps) + bias[c]
    return like(out, input), means, variances


def batch_norm_grad(
    op: Any, grad: Array, input: Array, weight: Array, mean: Array, variance: Array
) -> tuple[Array, ...]:
    rows, grads = channels_of(input), channels_of(grad)
    out, to_weight, to_bias = np.zeros(rows.shape), np.zeros(len(rows)), np.zeros(len(rows))
    for c, row in enumerate(rows):
        m, deviation = len(row), math.sqrt(variance[c] + op.eps)
        for i, j in itertools.product(range(m), range(m)):
            through_mean = ((i == j) - 1 / m) / deviation
            through_variance = (row[i] - mean[c]) * (row[j] - mean[c]) / (m * deviation**3)
            out[c, j] += grads[c, i] * weight[c] * (through_mean - through_variance)
        to_weight[c] = sum(grads[c, i] * (row[i] - mean[c]) / deviation for i in range(m))
        to_bias[c] = sum(grads[c])
    return like(out, input), to_weight, to_bias


def batch_norm_inference(op: Any, input: Array, weight: Array, bias: Array, mean: Array, variance: Array) -> Array:
    out = np.zeros(input.shape)
    for at in each(out):
        c = at[1]
        out[at] = weight[c] * (input[at] - mean[c]) / math.sqrt(variance[c] + op.eps) + bias[c]
    return out


# --- pooling ------------------------------------------------------------------------------------------------------


def pool_cells(op: pool.Pool, maps: tuple[int, ...]) -> dict[tuple[int, int], list[Any]]:
    """For each output position, the (window cell, map cell) inside the map."""
    found: dict[tuple[int, int], list[Any]] = {}
    for at, tap, cell in window_cells(maps, op.size, op.stride, op.pad, round=op.round):
        found.setdefault(at, []).append((tap, cell))
    return found


def divisor(op: Any, maps: tuple[int, ...], at: tuple[int, int], inside: int) -> int:
    """How many cells a mean is over: those in the map, or those in the map and its padding."""
    if not op.count_pad:
        return inside
    counts: list[int] = [
        min(at[a] * op.stride[a] + op.size[a], maps[a] + sum(op.pad[a])) - at[a] * op.stride[a] for a in range(2)
    ]
    return counts[0] * counts[1]


def max_pool(op: Any, input: Array) -> tuple[Array, ...]:
    best = np.zeros((*input.shape[:2], *output_size(op, input.shape[2:], op.size)))
    argmax = np.zeros(best.shape, np.uint8 if op.size[0] * op.size[1] <= 256 else np.int32)
    for (y, x), cells in pool_cells(op, input.shape[2:]).items():
        for n, c in np.ndindex(input.shape[:2]):
            values = [float(input[(n, c, *cell)]) for _, cell in cells]
            bad = [i for i, v in enumerate(values) if math.isnan(v)]
            first = bad[0] if bad else values.index(max(values))
            best[n, c, y, x] = values[first]
            i, j = cells[first][0]
            argmax[n, c, y, x] = i * op.size[1] + j
    return best, argmax


def max_pool_grad(op: Any, grad: Array, argmax: Array) -> Array:
    out = np.zeros((*grad.shape[:2], *op.input_size))
    for (y, x), cells in pool_cells(op, op.input_size).items():
        for n, c in np.ndindex(grad.shape[:2]):
            for (i, j), cell in cells:
                if argmax[n, c, y, x] == i * op.size[1] + j:
                    out[(n, c, *cell)] += grad[n, c, y, x]
    return out


def avg_pool(op: Any, input: Array) -> Array:
    out = np.zeros((*input.shape[:2], *output_size(op, input.shape[2:], op.size)))
    for (y, x), cells in pool_cells(op, input.shape[2:]).items():
        count = divisor(op, input.shape[2:], (y, x), len(cells))
        for n, c in np.ndindex(input.shape[:2]):
            out[n, c, y, x] = sum(input[(n, c, *cell)] for _, cell in cells) / count
    return out


def avg_pool_grad(op: Any, grad: Array) -> Array:
    out = np.zeros((*grad.shape[:2], *op.input_size))
    for (y, x), cells in pool_cells(op, op.input_size).items():
        count = divisor(op, op.input_size, (y, x), len(cells))
        for _, cell in cells:
            out[(slice(None), slice(None), *cell)] += grad[:, :, y, x] / count
    return out


def l2_pool(op: Any, input: Array) -> Array:
    out = np.zeros((*input.shape[:2], *output_size(op, input.shape[2:], op.size)))
    for (y, x), cells in pool_cells(op, input.shape[2:]).items():
        for n, c in np.ndindex(input.shape[:2]):
            out[n, c, y, x] = math.sqrt(sum(input[(n, c, *cell)] ** 2 for _, cell in cells))
    return out


def l2_pool_grad(op: Any, grad: Array, input: Array, output: Array) -> Array:
    out = np.zeros(input.shape)
    for (y, x), cells in pool_cells(op, op.input_size).items():
        for n, c in np.ndindex(grad.shape[:2]):
            for _, cell in cells:
                if output[n, c, y, x]:
                    out[(n, c, *cell)] += grad[n, c, y, x] * input[(n, c, *cell)] / output[n, c, y, x]
    return out


def global_mean(op: Op, input: Array) -> Array:
    out = np.zeros(input.shape[:2])
    for at in each(input):
        out[at[:2]] += input[at] / (input.shape[2] * input.shape[3])
    return out


def global_mean_grad(op: Any, grad: Array) -> Array:
    out = np.zeros((*grad.shape, *op.input_size))
    for at in each(out):
        out[at] = grad[at[:2]] / (op.input_size[0] * op.input_size[1])
    return out


# --- the rest -----------------------------------------------------------------------------------------------------


def dropped(op: dropout.Dropout, input: Array, seed: Array, step: Array) -> Array:
    key = Key(int(seed), Domain.DROPOUT, op.stream, int(step))
    out = np.zeros(input.shape)
    sample = math.prod(input.shape[1:])
    for index, at in enumerate(each(out)):
        beyond = at[0] * op.period + index % sample if op.period else index
        if int(random_bits(key, 1, op.start + beyond)[0]) >= round(op.p * 2**32):
            out[at] = input[at] if op.scale == "test" else input[at] / (1 - op.p)
    return out


def flat(op: Op, input: Array) -> Array:
    return np.array([[x for at, x in np.ndenumerate(sample)] for sample in input])


def unflat(op: Any, input: Array) -> Array:
    out = np.zeros((len(input), *op.shape))
    for n, sample in enumerate(input):
        for value, at in zip(sample.flat, np.ndindex(op.shape), strict=True):
            out[(n, *at)] = value
    return out


def concat(op: Any, *inputs: Array) -> Array:
    parts = [np.take(i, c, axis=op.axis) for i in inputs for c in range(i.shape[op.axis])]
    return np.stack(parts, axis=op.axis)


def sliced(op: Any, input: Array) -> Array:
    picked = [np.take(input, c, axis=op.axis) for c in range(op.start, op.stop)]
    return np.stack(picked, axis=op.axis)


def fill(op: Any) -> Array:
    out = np.zeros(op.shape)
    for at in each(out):
        out[at] = op.value
    return out


def softmax_rows(scores: Array) -> Array:
    out = np.zeros(scores.shape)
    for n, row in enumerate(scores):
        total = math.fsum(math.exp(s - max(row)) for s in row)
        for j, s in enumerate(row):
            out[n, j] = math.exp(s - max(row)) / total
    return out


def cross_entropy(op: Any, scores: Array, label: Array) -> tuple[Array, ...]:
    out = softmax_rows(scores)
    losses = [
        max(row) - row[t] + math.log(math.fsum(math.exp(s - max(row)) for s in row))
        for row, t in zip(scores, label, strict=True)
    ]
    return np.array(sum(losses) / (op.count or len(losses))), out


def cross_entropy_grad(op: Any, grad: Array, softmax: Array, label: Array) -> Array:
    out = np.zeros(softmax.shape)
    for n, j in each(out):
        own = 1 if op.first + j == label[n] else 0
        out[n, j] = float(grad) * (softmax[n, j] - own) / (op.count or len(label))
    return out


def hinge(op: Any, scores: Array, label: Array) -> tuple[Array, ...]:
    total, slopes = 0.0, np.zeros(scores.shape)
    for n, t in enumerate(label):
        for j in range(scores.shape[1]):
            margin = 1 + scores[n, j] - scores[n, t]
            if j != t and margin > 0:
                total += margin
                slopes[n, j] += 1
                slopes[n, t] -= 1
    return np.array(total / (op.count or len(label))), slopes


def hinge_grad(op: Any, grad: Array, slopes: Array) -> Array:
    out = np.zeros(slopes.shape)
    for at in each(out):
        out[at] = float(grad) * slopes[at] / (op.count or len(slopes))
    return out


def sgd(op: Op, w: Array, v: Array, g: Array, *scalars: Array) -> tuple[Array, ...]:
    lr, momentum, decay, lr_mult, decay_mult = map(float, scalars)
    new_w, new_v = np.zeros(w.shape), np.zeros(w.shape)
    for at in each(w):
        new_v[at] = momentum * v[at] - lr * lr_mult * g[at] - lr * lr_mult * decay * decay_mult * w[at]
        new_w[at] = w[at] + new_v[at]
    return new_w, new_v


def adam(op: Op, w: Array, m: Array, s: Array, g: Array, step: Array, *scalars: Array) -> tuple[Array, ...]:
    lr, beta1, beta2, eps, decay, lr_mult, decay_mult = map(float, scalars)
    new_w, new_m, new_s = np.zeros(w.shape), np.zeros(w.shape), np.zeros(w.shape)
    t = int(step) + 1
    for at in each(w):
        gradient = g[at] + decay * decay_mult * w[at]
        new_m[at] = beta1 * m[at] + (1 - beta1) * gradient
        new_s[at] = beta2 * s[at] + (1 - beta2) * gradient**2
        mean, square = new_m[at] / (1 - beta1**t), new_s[at] / (1 - beta2**t)
        new_w[at] = w[at] - lr * lr_mult * mean / (math.sqrt(square) + eps)
    return new_w, new_m, new_s


def composed(op: fused.Fused, *arrays: Array) -> tuple[Array, ...]:
    """Each part's own loops."""
    values = list(arrays)
    for part in op.parts:
        made = PLAIN[type(part.op)](part.op, *(values[i] for i in part.operands))
        values += made if isinstance(made, tuple) else (made,)
    return tuple(values[i] for i in op.yields)


PLAIN: dict[type[Op], Callable[..., Any]] = {
    conv.Conv: conv_forward,
    conv.ConvGradInput: conv_to_input,
    conv.ConvGradWeight: conv_to_weight,
    local.Local: conv_forward,
    local.LocalGradInput: conv_to_input,
    local.LocalGradWeight: conv_to_weight,
    dense.Fc: fc,
    dense.FcGradInput: fc_to_input,
    dense.FcGradWeight: fc_to_weight,
    dense.BiasAdd: bias_add,
    dense.BiasGrad: bias_grad,
    elementwise.Identity: mapped(lambda op, x: x),
    elementwise.Relu: mapped(relu),
    elementwise.ReluGrad: mapped(lambda op, g, y: g if y > 0 else 0.0),
    elementwise.LeakyRelu: mapped(lambda op, x: x if x > 0 else op.slope * x),
    elementwise.LeakyReluGrad: mapped(lambda op, g, y: g if y > 0 else op.slope * g),
    elementwise.Tanh: mapped(lambda op, x: math.tanh(x)),
    elementwise.TanhGrad: mapped(lambda op, g, y: g * (1 - y**2)),
    elementwise.Sigmoid: mapped(sigmoid),
    elementwise.SigmoidGrad: mapped(lambda op, g, y: g * (y - y**2)),
    elementwise.Abs: mapped(lambda op, x: math.fabs(x)),
    elementwise.AbsGrad: mapped(lambda op, g, x: g * sign(x)),
    elementwise.Scale: mapped(lambda op, x: op.factor * x),
    elementwise.Add: mapped(lambda op, x, y: x + y),
    normalize.Lrn: response_norm,
    normalize.LrnGrad: response_norm_grad,
    normalize.LocalNorm: response_norm,
    normalize.LocalNormGrad: response_norm_grad,
    pool.MaxPool: max_pool,
    pool.MaxPoolGrad: max_pool_grad,
    pool.AvgPool: avg_pool,
    pool.AvgPoolGrad: avg_pool_grad,
    pool.L2Pool: l2_pool,
    pool.L2PoolGrad: l2_pool_grad,
    pool.GlobalAvgPool: global_mean,
    pool.GlobalAvgPoolGrad: global_mean_grad,
    batchnorm.BatchNorm: batch_norm,
    batchnorm.BatchNormGrad: batch_norm_grad,
    batchnorm.BatchNormInference: batch_norm_inference,
    batchnorm.RunningAverage: mapped(lambda op, r, b: (1 - op.momentum) * r + op.momentum * op.correction * b),
    batchnorm.ChannelSquares: shares.channel_squares,
    batchnorm.BatchNormGradWeight: shares.batch_norm_to_weight,
    batchnorm.BatchNormGradInput: shares.batch_norm_to_input,
    dropout.Dropout: dropped,
    shape.Flatten: flat,
    shape.Unflatten: unflat,
    shape.Concat: concat,
    shape.Slice: sliced,
    shape.Fill: fill,
    loss.SoftmaxCrossEntropy: cross_entropy,
    loss.SoftmaxCrossEntropyGrad: cross_entropy_grad,
    loss.RowMax: shares.row_max,
    loss.Maximum: mapped(lambda op, x, y: shares.larger_of(x, y)),
    loss.RowExpSum: shares.row_exp_sum,
    loss.SoftmaxCrossEntropyShare: shares.cross_entropy_share,
    loss.Hinge: hinge,
    loss.HingeGrad: hinge_grad,
    fused.Fused: composed,
    update.Sgd: sgd,
    update.Adam: adam,
}
