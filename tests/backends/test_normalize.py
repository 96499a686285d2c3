"""Local response normalisation means what its ops mean on every target, alone and with the max pooling behind it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ops.elementwise import Relu, ReluGrad, TanhGrad
from alexnet_ir.ops.fused import Fused, Part
from alexnet_ir.ops.normalize import LocalNorm, LocalNormGrad, Lrn, LrnGrad
from alexnet_ir.ops.pool import MaxPool, MaxPoolGrad

from ..ops.op_table import ROWS, Row
from .emitted import expected
from .targets import TARGETS, Run
from .test_pooling import BOTH, INF, NAN, agree, masked, mixed, normal

PAPER = Lrn(5, 2, 1e-4, 0.75)
STRONG, LOCAL = Lrn(5, 2, 0.3, 0.75), LocalNorm(3, 1, 0.3, 0.75)
"""Of which the neighbours matter."""
EITHER = pytest.mark.parametrize("op", [STRONG, LOCAL], ids=lambda op: op.name)


def gradient(op: Lrn | LocalNorm) -> LrnGrad | LocalNormGrad:
    """Of a normalisation."""
    if isinstance(op, Lrn):
        return LrnGrad(op.n, op.k, op.alpha, op.beta, op.groups)
    return LocalNormGrad(op.size, op.k, op.alpha, op.beta)


def both_ways(run: Run, op: Lrn | LocalNorm, shape: tuple[int, ...], **options: Any) -> None:
    """The normalisation and its gradient agree."""
    g, x = normal(*shape, seed=1), normal(*shape, seed=2)
    agree(run, op, [x], **options)
    agree(run, gradient(op), [g, x], **options)


POOLED = pytest.mark.parametrize(
    ("pool", "shape", "groups"),
    [
        (MaxPool(3, 2), (2, 96, 9, 11), 2),
        (MaxPool(3, 2, 1, "up"), (3, 12, 8, 7), 1),
        (MaxPool(2), (1, 6, 6, 4), 1),
        (MaxPool(2, 3), (1, 1, 8, 5), 1),
        (MaxPool((3, 2), (2, 1), ((0, 2), (1, 0))), (1, 7, 5, 4), 1),
        (MaxPool(17, 2, 3, "up"), (1, 3, 18, 20), 1),
    ],
    ids=str,
)
Case = tuple[Fused, list[Array]]


def forward(norm: Lrn | LocalNorm, pool: MaxPool, shape: tuple[int, ...]) -> Case:
    """The normalisation of a relu's output, then the pooling."""
    op = Fused("lrn_maxpool", (Part(norm, (0,)), Part(pool, (1,))), (2, 3), ("argmax",))
    return op, [np.maximum(normal(*shape, seed=3), 0)]


def backward(norm: Lrn, pool: MaxPool, shape: tuple[int, ...], *masks: Op) -> Case:
    """The gradients of both, and masks."""
    op, (x,) = forward(norm, pool, shape)
    y, argmax = expected(op, [x])
    pool_grad = MaxPoolGrad(pool.size, pool.stride, pool.pad, pool.round, input_size=(shape[2], shape[3]))
    parts = [Part(pool_grad, (0, 1)), Part(gradient(norm), (3, 2)), *(Part(mask, (4, 2)) for mask in masks)]
    fused = Fused("maxpool_lrn_grad", tuple(parts), (2 + len(parts),))
    return fused, [normal(*y.shape, seed=4), argmax, x]


def together(norm: Lrn, pool: MaxPool, shape: tuple[int, ...]) -> tuple[Case, Case]:
    """Both, with relu's mask behind the gradients."""
    return forward(norm, pool, shape), backward(norm, pool, shape, ReluGrad())


# --- alone ------------------------------------------------------------------------------------------------------------


@TARGETS
@BOTH
@pytest.mark.parametrize(
    "row", [row for row in ROWS if type(row.op) in (Lrn, LrnGrad, LocalNorm, LocalNormGrad)], ids=lambda row: row.id
)
def test_the_table(run: Run, row: Row, channels_last: bool) -> None:
    agree(run, row.op, row.arrays(), channels_last=channels_last)


@TARGETS
@BOTH
@pytest.mark.parametrize(("channels", "groups"), [(16, 1), (24, 2), (12, 2), (96, 2), (38, 2), (7, 1), (1031, 1)])
def test_channels_and_groups(run: Run, channels: int, groups: int, channels_last: bool) -> None:
    both_ways(run, replace(STRONG, groups=groups), (2, channels, 3, 5), channels_last=channels_last)


@TARGETS
@EITHER
@pytest.mark.parametrize("beta", [0.5, 0.6, 1.0, 2.0])
def test_exponents(run: Run, op: Lrn | LocalNorm, beta: float) -> None:
    both_ways(run, replace(op, beta=beta), (1, 20, 3, 3))


@TARGETS
@BOTH
def test_wide_windows(run: Run, channels_last: bool) -> None:
    both_ways(run, replace(STRONG, n=25), (1, 40, 2, 3), channels_last=channels_last)
    both_ways(run, LocalNorm(9, 1, 0.1, 0.75), (1, 3, 7, 10), channels_last=channels_last)


@TARGETS
@BOTH
def test_what_is_not_finite(run: Run, channels_last: bool) -> None:
    """Of squares too large for a float nothing is left, and NaN reaches its neighbours."""
    x = normal(1, 16, 2, 3)
    x[0, 3, 0, 0], x[0, 9, 1, 1], x[0, 13, 0, 2], x[0, 5, 1, 2] = 1e35, NAN, INF, -INF
    for op in (STRONG, replace(STRONG, beta=0.6), LOCAL):
        with np.errstate(all="ignore"):
            (exact,) = expected(op, [x])
        (found,) = run(op, [x], channels_last=channels_last)
        np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-5)


@TARGETS
@EITHER
@pytest.mark.parametrize("first", [True, False])
def test_layouts_that_differ(run: Run, op: Lrn | LocalNorm, first: bool) -> None:
    g, x = normal(2, 18, 3, 5, seed=1), normal(2, 18, 3, 5, seed=2)
    agree(run, op, [x], channels_last=mixed(op, [x], first))
    agree(run, gradient(op), [g, x], channels_last=mixed(gradient(op), [g, x], first))


@TARGETS
@BOTH
@EITHER
def test_ops_behind(run: Run, op: Lrn | LocalNorm, channels_last: bool) -> None:
    g, x = normal(2, 20, 3, 5, seed=1), normal(2, 20, 3, 5, seed=2)
    for mask in (ReluGrad(), TanhGrad()):
        agree(run, *masked(gradient(op), [g, x], mask), channels_last=channels_last)
    agree(run, Fused("own", (Part(op, (0,)), Part(Relu(), (1,))), (2,)), [x], channels_last=channels_last)


@TARGETS
@pytest.mark.parametrize("first", [True, False])
def test_layouts_that_differ_of_both(run: Run, first: bool) -> None:
    for op, operands in together(STRONG, MaxPool(3, 2), (1, 8, 5, 7)):
        agree(run, op, operands, channels_last=mixed(op, operands, first))


@TARGETS
@EITHER
def test_where_nobody_reads_the_argmax(run: Run, op: Lrn | LocalNorm) -> None:
    fused, operands = forward(op, MaxPool(3, 2), (1, 24, 7, 7))
    agree(run, replace(fused, yields=(2,), names=()), operands)


@TARGETS
def test_not_finite_and_pooled(run: Run) -> None:
    """NaN wins; of -infinity, which becomes NaN, too; squares too large for a float leave zeros."""
    op, (x,) = forward(STRONG, MaxPool(3, 2), (1, 20, 7, 7))
    x[0, 3, 2, 2], x[0, 6, 4, 4], x[0, 1, 6, 6], x[0, 0, 0, 0] = NAN, INF, -INF, 1e35
    agree(run, op, [x])


@TARGETS
@pytest.mark.parametrize(("shape", "groups"), [((1, 96, 55, 55), 2), ((1, 256, 27, 27), 2)])
def test_the_sizes_of_alexnet(run: Run, shape: tuple[int, ...], groups: int) -> None:
    for op, operands in together(replace(PAPER, groups=groups), MaxPool(3, 2), shape):
        agree(run, op, operands)
