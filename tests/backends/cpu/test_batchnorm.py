"""Batch normalisation while training, in emitted C."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet_ir.backends.cpu.isa import AVX2, SSE, Isa
from alexnet_ir.ir.op import Array
from alexnet_ir.ops.batchnorm import BatchNorm, BatchNormGrad
from alexnet_ir.ops.elementwise import Add, Relu
from alexnet_ir.ops.fused import Fused, Part

from ..test_reductions import agrees, normal
from .running import expected, needs_cc, run

pytestmark = needs_cc

SHAPES = [(2, 3, 5, 7), (5, 20, 9, 9), (1, 1100, 3, 2), (170, 6), (3, 64, 15, 17)]
"""Parts of several spans; fewer channels than a vector and more than a block; fewer rows than parts."""


def given_to_gradient(shape: tuple[int, ...]) -> list[Array]:
    """Its operands."""
    c = shape[1]
    return [normal(*shape)[::-1].copy(), normal(*shape), normal(c) + 2, normal(c) / 8, 1 + np.abs(normal(c))]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("last", [True, False])
def test_both_ways(shape: tuple[int, ...], last: bool) -> None:
    agrees(run, BatchNorm(), [normal(*shape), normal(shape[1]) + 2, normal(shape[1])], channels_last=last)
    agrees(run, BatchNormGrad(1e-3), given_to_gradient(shape), channels_last=last)


@pytest.mark.parametrize("isa", [AVX2, SSE], ids=lambda isa: isa.name)
@pytest.mark.parametrize("threads", [1, 3])
def test_other_processors_and_threads(isa: Isa, threads: int) -> None:
    shape = (5, 20, 9, 9)
    agrees(run, BatchNorm(0.1), [normal(*shape), normal(20), normal(20)], isa=isa, threads=threads)
    agrees(run, BatchNormGrad(), given_to_gradient(shape), isa=isa, threads=threads)


@settings(max_examples=4)
@given(st.integers(2, 60), st.integers(1, 70), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 2, 16]))
def test_any_shape(n: int, c: int, h: int, w: int, threads: int) -> None:
    agrees(run, BatchNorm(), [normal(n, c, h, w), normal(c), normal(c)], threads=threads)


def test_any_layouts() -> None:
    operands = given_to_gradient((2, 8, 3, 5))
    for last in ((True, False), (False, True)):
        agrees(run, BatchNormGrad(), operands, channels_last=[*last, *[False] * 3, last[0], False, False])
        agrees(run, BatchNorm(), operands[1:4], channels_last=[last[0], False, False, last[1], False, False])


def test_over_an_operand() -> None:
    operands = given_to_gradient((5, 20, 9, 9))
    agrees(run, BatchNorm(), operands[1:4], over={0: 0})
    for operand in (0, 1):
        agrees(run, BatchNormGrad(), operands, over={0: operand})


def with_relu(*behind: Part, operands: int) -> Fused:
    """Fused, with the statistics."""
    numbers = range(operands, operands + 3)
    parts = (Part(BatchNorm(), (0, 1, 2)), *behind)
    return Fused("batchnorm_relu", parts, (numbers[2] + len(behind), *numbers[1:]), ("mean", "variance"))


@pytest.mark.parametrize("last", [[True] * 5, [True, True, False, False, False]])
def test_with_what_is_fused_behind_it(last: list[bool]) -> None:
    shape = (3, 20, 9, 9)
    operands = [normal(*shape), normal(20), normal(20), normal(*shape)[::-1].copy()]
    alone = with_relu(Part(Relu(), (3,)), operands=3)
    agrees(run, alone, operands[:3], channels_last=[True] * 3 + [last[3]] + [False] * 2)
    for added in ((4, 3), (3, 4)):
        joined = with_relu(Part(Add(), added), Part(Relu(), (7,)), operands=4)
        agrees(run, joined, operands, channels_last=[True, False, False, last[3], True, False, False])


def test_a_mean_far_from_zero_leaves_the_variance() -> None:
    """Where squares of the input would have swallowed it."""
    input = normal(700, 6, mean=3000.0)
    _, mean, variance = run(BatchNorm(), [input, normal(6), normal(6)])
    np.testing.assert_allclose(mean, input.mean(axis=0, dtype="f8"), rtol=1e-6)
    np.testing.assert_allclose(variance, input.var(axis=0, dtype="f8"), rtol=1e-5)


def test_images_far_from_each_other() -> None:
    """What the first ones look like says nothing of the others."""
    input = normal(1000, 6) + np.repeat([0.0, 1e4], 500)[:, None].astype("f4")
    agrees(run, BatchNorm(), [input, normal(6), normal(6)], 1e-6)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_special_values_come_through() -> None:
    input = normal(40, 3)
    input[7, 0], input[9, 1] = np.nan, np.inf
    out, mean, variance = run(BatchNorm(), [input, normal(3), normal(3)])
    assert np.isnan(out[:, :2]).all()
    assert np.isnan([mean[0], variance[0], variance[1]]).all()
    np.testing.assert_allclose(out[:, 2], expected(BatchNorm(), [input, normal(3), normal(3)])[0][:, 2], atol=1e-5)


def test_timing_changes_nothing() -> None:
    operands = given_to_gradient((5, 20, 9, 9))
    first, *others = (run(BatchNormGrad(), operands, threads=3) for _ in range(5))
    for other in others:
        for one, same in zip(first, other, strict=True):
            np.testing.assert_array_equal(one, same)
