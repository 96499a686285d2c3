"""Local response normalisation in emitted C means what its ops mean, alone and with the max pooling behind it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alexnet_ir.backends.cpu.emitters import normalize
from alexnet_ir.backends.cpu.isa import AVX2, SSE, Isa
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ops.elementwise import Relu, ReluGrad, TanhGrad
from alexnet_ir.ops.fused import Fused, Part
from alexnet_ir.ops.normalize import LocalNorm, LocalNormGrad, Lrn, LrnGrad
from alexnet_ir.ops.pool import MaxPool, MaxPoolGrad

from ...ops.op_table import ROWS, Row
from .running import expected, kernels, needs_cc, run
from .test_pooling import BOTH, INF, NAN, agree, masked, normal

pytestmark = needs_cc

PAPER = Lrn(5, 2, 1e-4, 0.75)
STRONG, LOCAL = Lrn(5, 2, 0.3, 0.75), LocalNorm(3, 1, 0.3, 0.75)
"""Of which the neighbours matter."""
EITHER = pytest.mark.parametrize("op", [STRONG, LOCAL], ids=lambda op: op.name)


def gradient(op: Lrn | LocalNorm) -> LrnGrad | LocalNormGrad:
    """Of a normalisation."""
    if isinstance(op, Lrn):
        return LrnGrad(op.n, op.k, op.alpha, op.beta, op.groups)
    return LocalNormGrad(op.size, op.k, op.alpha, op.beta)


def both_ways(op: Lrn | LocalNorm, shape: tuple[int, ...], **options: Any) -> None:
    """The normalisation and its gradient agree."""
    g, x = normal(*shape, seed=1), normal(*shape, seed=2)
    agree(op, [x], **options)
    agree(gradient(op), [g, x], **options)


# --- alone ------------------------------------------------------------------------------------------------------------

NORMALIZATIONS = [row for row in ROWS if type(row.op) in normalize.EMITTERS]


@BOTH
@pytest.mark.parametrize("row", NORMALIZATIONS, ids=lambda row: row.id)
def test_the_table(row: Row, channels_last: bool) -> None:
    agree(row.op, row.arrays(), channels_last=channels_last)


@BOTH
@pytest.mark.parametrize(("channels", "groups"), [(16, 1), (96, 2), (38, 2), (7, 1), (1031, 1)])
def test_channels_and_groups(channels: int, groups: int, channels_last: bool) -> None:
    both_ways(replace(STRONG, groups=groups), (2, channels, 3, 5), channels_last=channels_last)


@EITHER
@pytest.mark.parametrize("beta", [0.5, 0.6, 1.0, 2.0])
def test_exponents(op: Lrn | LocalNorm, beta: float) -> None:
    both_ways(replace(op, beta=beta), (1, 20, 3, 3))


@pytest.mark.parametrize("isa", [AVX2, SSE], ids=lambda isa: isa.name)
@EITHER
def test_narrower_vectors(op: Lrn | LocalNorm, isa: Isa) -> None:
    both_ways(op, (1, 42, 3, 4), isa=isa, threads=3)


@BOTH
def test_wide_windows(channels_last: bool) -> None:
    both_ways(replace(STRONG, n=25), (1, 40, 2, 3), channels_last=channels_last)
    both_ways(LocalNorm(9, 1, 0.1, 0.75), (1, 3, 7, 10), channels_last=channels_last)


@BOTH
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("shape", [(1, 32, 18, 17), (3, 5, 4, 6)])
def test_within_maps(shape: tuple[int, ...], threads: int, channels_last: bool) -> None:
    """Bands of rows begin in the midst of images."""
    both_ways(LOCAL, shape, threads=threads, channels_last=channels_last)


@EITHER
def test_the_bits_are_the_same_on_any_number_of_threads(op: Lrn | LocalNorm) -> None:
    g, x = normal(2, 20, 5, 4), normal(2, 20, 5, 4, seed=1)
    one, three = (run(gradient(op), [g, x], threads=threads)[0] for threads in (1, 3))
    np.testing.assert_array_equal(one, three)


@BOTH
def test_what_is_not_finite(channels_last: bool) -> None:
    """Of squares too large for a float nothing is left, and NaN reaches its neighbours."""
    x = normal(1, 16, 2, 3)
    x[0, 3, 0, 0], x[0, 9, 1, 1], x[0, 13, 0, 2], x[0, 5, 1, 2] = 1e35, NAN, INF, -INF
    for op in (STRONG, replace(STRONG, beta=0.6), LOCAL):
        with np.errstate(all="ignore"):
            (exact,) = expected(op, [x])
        (found,) = run(op, [x], channels_last=channels_last)
        np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("last", [(True, False, True), (False, True, False)])
@EITHER
def test_layouts_that_differ(op: Lrn | LocalNorm, last: tuple[bool, ...]) -> None:
    agree(gradient(op), [normal(2, 18, 3, 5, seed=1), normal(2, 18, 3, 5, seed=2)], channels_last=last)


@BOTH
@EITHER
def test_ops_behind(op: Lrn | LocalNorm, channels_last: bool) -> None:
    g, x = normal(2, 20, 3, 5, seed=1), normal(2, 20, 3, 5, seed=2)
    for mask in (ReluGrad(), TanhGrad()):
        agree(*masked(gradient(op), [g, x], mask), channels_last=channels_last)
    agree(Fused("own", (Part(op, (0,)), Part(Relu(), (1,))), (2,)), [x], channels_last=channels_last)


# --- with the pooling -------------------------------------------------------------------------------------------------

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


@BOTH
@pytest.mark.parametrize(
    ("pool", "shape", "groups"),
    [
        (MaxPool(3, 2), (2, 96, 9, 11), 2),
        (MaxPool(3, 2, 1, "up"), (3, 12, 8, 7), 1),
        (MaxPool(2, 3), (1, 1, 8, 5), 1),
        (MaxPool((3, 2), (2, 1), ((0, 2), (1, 0))), (1, 7, 5, 4), 1),
        (MaxPool(17, 2, 3, "up"), (1, 3, 18, 20), 1),
    ],
    ids=str,
)
def test_normalised_and_pooled(pool: MaxPool, shape: tuple[int, ...], groups: int, channels_last: bool) -> None:
    norm = replace(STRONG, groups=groups)
    agree(*forward(norm, pool, shape), channels_last=channels_last, threads=3)
    agree(*backward(norm, pool, shape, ReluGrad()), channels_last=channels_last, threads=3)
    agree(*backward(norm, pool, shape), channels_last=channels_last, threads=3)


@pytest.mark.parametrize("isa", [AVX2, SSE], ids=lambda isa: isa.name)
def test_both_in_narrower_vectors(isa: Isa) -> None:
    agree(*forward(STRONG, MaxPool(3, 2), (1, 42, 7, 7)), isa=isa)
    agree(*backward(STRONG, MaxPool(3, 2), (1, 42, 7, 7), ReluGrad()), isa=isa)


@EITHER
def test_where_nobody_reads_the_argmax(op: Lrn | LocalNorm) -> None:
    fused, operands = forward(op, MaxPool(3, 2), (1, 24, 7, 7))
    agree(replace(fused, yields=(2,), names=()), operands)


@BOTH
def test_within_maps_one_kernel_after_the_other(channels_last: bool) -> None:
    op, operands = forward(LOCAL, MaxPool(3, 2), (2, 20, 7, 7))
    agree(op, operands, channels_last=channels_last)
    assert kernels(op, operands) == ["local_norm", "maxpool"]


def test_not_finite_and_pooled() -> None:
    """NaN wins; of -infinity, which becomes NaN, too; squares too large for a float leave zeros."""
    op, (x,) = forward(STRONG, MaxPool(3, 2), (1, 20, 7, 7))
    x[0, 3, 2, 2], x[0, 6, 4, 4], x[0, 1, 6, 6], x[0, 0, 0, 0] = NAN, INF, -INF, 1e35
    agree(op, [x])


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
@given(st.data())
def test_shapes_that_vary(data: st.DataObject) -> None:
    draw = data.draw
    n, groups, size = draw(st.sampled_from([1, 3, 9])), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    shape = (
        draw(st.integers(1, 2)),
        groups * draw(st.integers(1, 20)),
        *(size + draw(st.integers(0, 4)) for _ in "hw"),
    )
    pool = MaxPool(size, draw(st.integers(1, 3)), draw(st.integers(0, size - 1)), "up")
    norm = replace(STRONG, n=n, groups=groups)
    options: dict[str, Any] = {"channels_last": draw(st.booleans()), "threads": draw(st.integers(1, 3))}
    agree(*forward(norm, pool, shape), **options)
    agree(*backward(norm, pool, shape, ReluGrad()), **options)
    both_ways(LocalNorm(n, 1, 0.3, 0.75), shape, **options)


@pytest.mark.parametrize(("shape", "groups"), [((1, 96, 55, 55), 2), ((1, 256, 27, 27), 2)])
def test_the_sizes_of_alexnet(shape: tuple[int, ...], groups: int) -> None:
    norm = replace(PAPER, groups=groups)
    agree(*forward(norm, MaxPool(3, 2), shape))
    agree(*backward(norm, MaxPool(3, 2), shape, ReluGrad()))
