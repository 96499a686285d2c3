"""Sums over a batch, in emitted C: of many parts, in every layout, exact enough and always the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet_ir.backends.cpu.isa import AVX2, SSE, Isa
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ops.batchnorm import BatchNormGradWeight, ChannelSquares
from alexnet_ir.ops.dense import BiasGrad

from ...ops.helpers import rng
from .running import expected, kernels, needs_cc, run

pytestmark = needs_cc

SHAPES = [(2, 3, 5, 7), (5, 20, 9, 9), (1, 1100, 3, 2), (70, 6), (1, 33)]
"""Fewer channels than a vector and more than a block; fewer rows than parts, and many."""


def normal(*shape: int, mean: float = 0.0) -> Array:
    """The same numbers every time."""
    return (mean + rng(sum(shape)).standard_normal(shape)).astype("f4")


def agrees(op: Op, operands: Sequence[Array], tolerance: float = 1e-5, **how: object) -> list[Array]:
    """What is emitted makes what the op means, within a share of each result's largest number; and what it makes."""
    assert kernels(op, operands)
    found = run(op, operands, **how)  # type: ignore[arg-type]
    for one, wanted in zip(found, expected(op, operands), strict=True):
        assert one.shape == wanted.shape
        np.testing.assert_allclose(one, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())
    return found


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("last", [True, False])
def test_gradients_of_biases(shape: tuple[int, ...], last: bool) -> None:
    agrees(BiasGrad(), [normal(*shape)], channels_last=last)
    agrees(BiasGrad(False), [normal(*shape)], channels_last=last)


@pytest.mark.parametrize("shape", SHAPES)
def test_sums_of_batch_normalisation(shape: tuple[int, ...]) -> None:
    c = shape[1]
    mean, variance = normal(c), 1 + np.abs(normal(c))
    agrees(ChannelSquares(), [normal(*shape), mean])
    operands = [normal(*shape)[::-1].copy(), normal(*shape), mean, variance]
    agrees(BatchNormGradWeight(1e-3), operands, channels_last=[True, False, *[False] * 3])


@pytest.mark.parametrize("isa", [AVX2, SSE], ids=lambda isa: isa.name)
@pytest.mark.parametrize("threads", [1, 3])
def test_other_processors_and_threads(isa: Isa, threads: int) -> None:
    agrees(BiasGrad(), [normal(5, 20, 9, 9)], isa=isa, threads=threads)
    agrees(BiasGrad(False), [normal(5, 20, 9, 9)], isa=isa, threads=threads)
    agrees(ChannelSquares(), [normal(5, 20, 9, 9), normal(20)], isa=isa, threads=threads)


@settings(max_examples=4)
@given(st.integers(1, 60), st.integers(1, 70), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 2, 16]))
def test_any_shape(n: int, c: int, h: int, w: int, threads: int) -> None:
    agrees(BiasGrad(), [normal(n, c, h, w)], threads=threads)


def test_many_numbers_of_one_sign_add_up() -> None:
    grad = np.full((60000, 2), 0.1, "f4")
    (found,) = run(BiasGrad(), [grad])
    np.testing.assert_allclose(found, grad.sum(axis=0, dtype="f8"), rtol=2e-6)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_special_values_come_through() -> None:
    input = normal(40, 3)
    input[7, 0], input[9, 1] = np.nan, np.inf
    (sums,) = run(BiasGrad(), [input])
    assert np.isnan(sums[0])
    assert np.isinf(sums[1])


def test_timing_changes_nothing() -> None:
    grad = normal(50, 40)
    first, *others = (run(BiasGrad(), [grad], threads=3)[0] for _ in range(5))
    for other in others:
        np.testing.assert_array_equal(first, other)
