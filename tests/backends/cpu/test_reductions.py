"""Sums over a batch, in emitted C: of many parts, in every layout, exact enough and always the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet_ir.backends.cpu.isa import AVX2, SSE, Isa
from alexnet_ir.ops.batchnorm import BatchNormGradWeight, ChannelSquares
from alexnet_ir.ops.dense import BiasGrad

from ..test_reductions import SHAPES, agrees, normal
from .running import needs_cc, run

pytestmark = needs_cc


@pytest.mark.parametrize("shape", [*SHAPES, (1, 33)])
def test_sums_of_batch_normalisation(shape: tuple[int, ...]) -> None:
    c = shape[1]
    mean, variance = normal(c), 1 + np.abs(normal(c))
    agrees(run, ChannelSquares(), [normal(*shape), mean])
    operands = [normal(*shape)[::-1].copy(), normal(*shape), mean, variance]
    agrees(run, BatchNormGradWeight(1e-3), operands, channels_last=[True, False, *[False] * 3])


@pytest.mark.parametrize("isa", [AVX2, SSE], ids=lambda isa: isa.name)
@pytest.mark.parametrize("threads", [1, 3])
def test_other_processors_and_threads(isa: Isa, threads: int) -> None:
    agrees(run, BiasGrad(), [normal(5, 20, 9, 9)], isa=isa, threads=threads)
    agrees(run, BiasGrad(False), [normal(5, 20, 9, 9)], isa=isa, threads=threads)
    agrees(run, ChannelSquares(), [normal(5, 20, 9, 9), normal(20)], isa=isa, threads=threads)


@settings(max_examples=4)
@given(st.integers(1, 60), st.integers(1, 70), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 2, 16]))
def test_any_shape(n: int, c: int, h: int, w: int, threads: int) -> None:
    agrees(run, BiasGrad(), [normal(n, c, h, w)], threads=threads)


def test_many_numbers_of_one_sign_add_up() -> None:
    grad = np.full((60000, 2), 0.1, "f4")
    (found,) = run(BiasGrad(), [grad])
    np.testing.assert_allclose(found, grad.sum(axis=0, dtype="f8"), rtol=2e-6)


def test_timing_changes_nothing() -> None:
    grad = normal(50, 40)
    first, *others = (run(BiasGrad(), [grad], threads=3)[0] for _ in range(5))
    for other in others:
        np.testing.assert_array_equal(first, other)
