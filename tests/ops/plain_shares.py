"""What a device runs of an op that is shared out, a second time: loops over every index, as in `plain`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from alexnet_ir.ir.op import Array, Op


def channel_squares(op: Op, input: Array, mean: Array) -> Array:
    out = np.zeros(len(mean))
    for at in np.ndindex(input.shape):
        out[at[1]] += (input[at] - mean[at[1]]) ** 2
    return out


def batch_norm_to_weight(op: Any, grad: Array, input: Array, mean: Array, variance: Array) -> Array:
    out = np.zeros(len(mean))
    for at in np.ndindex(input.shape):
        c = at[1]
        out[c] += grad[at] * (input[at] - mean[c]) / math.sqrt(variance[c] + op.eps)
    return out


def batch_norm_to_input(
    op: Any, grad: Array, input: Array, weight: Array, mean: Array, variance: Array, to_weight: Array, to_bias: Array
) -> Array:
    """What grad_output gives directly, less what comes back through the mean and through the variance."""
    out = np.zeros(input.shape)
    for at in np.ndindex(input.shape):
        c = at[1]
        deviation = math.sqrt(variance[c] + op.eps)
        through_mean = to_bias[c] / op.count
        through_variance = (input[at] - mean[c]) / deviation * to_weight[c] / op.count
        out[at] = weight[c] / deviation * (grad[at] - through_mean - through_variance)
    return out


def row_max(op: Op, scores: Array) -> Array:
    return np.array([larger_of(*row) for row in scores.tolist()])


def larger_of(*numbers: float) -> float:
    """The largest, or a NaN."""
    bad = [x for x in numbers if math.isnan(x)]
    return bad[0] if bad else max(numbers)


def row_exp_sum(op: Op, scores: Array, top: Array) -> Array:
    return np.array([math.fsum(math.exp(s - t) for s in row) for row, t in zip(scores, top, strict=True)])


def cross_entropy_share(op: Any, scores: Array, label: Array, top: Array, total: Array) -> tuple[Array, ...]:
    """The rows whose label is not among these classes add nothing to the loss here."""
    loss, softmax = 0.0, np.zeros(scores.shape)
    for n, j in np.ndindex(scores.shape):
        softmax[n, j] = math.exp(scores[n, j] - top[n]) / total[n]
        if op.first + j == label[n]:
            loss += top[n] + math.log(total[n]) - scores[n, j]
    return np.array(loss / len(label)), softmax
