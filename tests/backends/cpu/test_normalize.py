"""Local response normalisation in emitted C means what its ops mean, alone and with the max pooling behind it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alexnet_ir.backends.cpu.isa import AVX2, SSE, Isa
from alexnet_ir.ops.elementwise import ReluGrad
from alexnet_ir.ops.normalize import LocalNorm, Lrn
from alexnet_ir.ops.pool import MaxPool

from ..test_normalize import EITHER, LOCAL, POOLED, STRONG, backward, both_ways, forward, gradient
from ..test_pooling import BOTH, agree, normal
from .running import kernels, needs_cc, run

pytestmark = needs_cc


@pytest.mark.parametrize("isa", [AVX2, SSE], ids=lambda isa: isa.name)
@EITHER
def test_narrower_vectors(op: Lrn | LocalNorm, isa: Isa) -> None:
    both_ways(run, op, (1, 42, 3, 4), isa=isa, threads=3)


@BOTH
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("shape", [(1, 32, 18, 17), (3, 5, 4, 6)])
def test_within_maps(shape: tuple[int, ...], threads: int, channels_last: bool) -> None:
    """Bands of rows begin in the midst of images."""
    both_ways(run, LOCAL, shape, threads=threads, channels_last=channels_last)


@EITHER
def test_the_bits_are_the_same_on_any_number_of_threads(op: Lrn | LocalNorm) -> None:
    g, x = normal(2, 20, 5, 4), normal(2, 20, 5, 4, seed=1)
    one, three = (run(gradient(op), [g, x], threads=threads)[0] for threads in (1, 3))
    np.testing.assert_array_equal(one, three)


@BOTH
@POOLED
def test_normalised_and_pooled(pool: MaxPool, shape: tuple[int, ...], groups: int, channels_last: bool) -> None:
    norm = replace(STRONG, groups=groups)
    agree(run, *forward(norm, pool, shape), channels_last=channels_last, threads=3)
    agree(run, *backward(norm, pool, shape, ReluGrad()), channels_last=channels_last, threads=3)
    agree(run, *backward(norm, pool, shape), channels_last=channels_last, threads=3)


@pytest.mark.parametrize("isa", [AVX2, SSE], ids=lambda isa: isa.name)
def test_both_in_narrower_vectors(isa: Isa) -> None:
    agree(run, *forward(STRONG, MaxPool(3, 2), (1, 42, 7, 7)), isa=isa)
    agree(run, *backward(STRONG, MaxPool(3, 2), (1, 42, 7, 7), ReluGrad()), isa=isa)


@BOTH
def test_within_maps_one_kernel_after_the_other(channels_last: bool) -> None:
    op, operands = forward(LOCAL, MaxPool(3, 2), (2, 20, 7, 7))
    agree(run, op, operands, channels_last=channels_last)
    assert kernels(op, operands) == ["local_norm", "maxpool"]


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
    agree(run, *forward(norm, pool, shape), **options)
    agree(run, *backward(norm, pool, shape, ReluGrad()), **options)
    both_ways(run, LocalNorm(n, 1, 0.3, 0.75), shape, **options)
