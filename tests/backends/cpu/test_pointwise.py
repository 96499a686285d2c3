"""Ops on each element by itself, in emitted C, in every layout that they may meet."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet_ir.backends.cpu.isa import AVX2, SSE, Isa
from alexnet_ir.backends.emission.commands import Call
from alexnet_ir.backends.emission.inplace import in_place
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ops.batchnorm import BatchNormGradInput, BatchNormInference, RunningAverage
from alexnet_ir.ops.dense import BiasAdd, Fc
from alexnet_ir.ops.dropout import Dropout
from alexnet_ir.ops.elementwise import (
    Abs,
    AbsGrad,
    Add,
    Identity,
    LeakyRelu,
    LeakyReluGrad,
    Relu,
    ReluGrad,
    Scale,
    Sigmoid,
    SigmoidGrad,
    Tanh,
    TanhGrad,
)
from alexnet_ir.ops.fused import Fused, Part
from alexnet_ir.ops.loss import Maximum

from ..test_pointwise import LARGE, LAYOUTS, MAP, OVER, SEED, STEP, agrees, normal
from .running import commands, expected, needs_cc, run

pytestmark = needs_cc
# One expression

UNARY = (Identity(), Relu(), LeakyRelu(0.2), Tanh(), Sigmoid(), Abs(), Scale(-2.0))
BINARY = (ReluGrad(), LeakyReluGrad(0.2), TanhGrad(), SigmoidGrad(), AbsGrad(), Add(), Maximum())


@pytest.mark.parametrize("isa", [None, AVX2, SSE], ids=str)
@pytest.mark.parametrize("op", UNARY, ids=str)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_one_operand_and_special_values(op: Op, isa: Isa | None) -> None:
    special = np.array([[np.nan, np.inf, -np.inf, 0.0, -0.0, 1e38, -1e-38, 88.0, -800.0]], "f4")
    for x in (normal(1037), special):
        (found,), (wanted,) = run(op, [x], isa=isa), expected(op, [x])
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("op", BINARY, ids=str)
def test_two_operands(op: Op) -> None:
    agrees(run, op, [normal(3, 7), normal(3, 7)[::-1]])


@pytest.mark.parametrize("isa", [None, AVX2, SSE], ids=str)
def test_tanh_is_right_to_a_few_digits_of_its_last_place(isa: Isa | None) -> None:
    bits = np.arange(0, 0x7F800000, 104729, dtype=np.uint32).view(np.float32)
    x = np.concatenate([bits, -bits, np.linspace(-10, 10, 10001, dtype="f4")])
    found, wanted = run(Tanh(), [x], isa=isa)[0], np.tanh(x.astype("f8"))
    assert np.max(np.abs(found - wanted) / np.spacing(np.abs(wanted).astype("f4"))) < 1.5
    np.testing.assert_array_equal(np.signbit(found), np.signbit(x))


@pytest.mark.parametrize("shape", [(), (1,), (LARGE,), (3, 7), (2, 3, 4), MAP, (2, 3, 1, 2, 3), (2, 1, 3, 1, 2, 2)])
@pytest.mark.parametrize("threads", [1, 3])
def test_any_number_of_axes(shape: tuple[int, ...], threads: int) -> None:
    agrees(run, Add(), [normal(*shape), normal(*shape) + 1], threads=threads)


@pytest.mark.parametrize("last", [(a, b, c) for a in LAYOUTS for b in LAYOUTS for c in LAYOUTS])
@pytest.mark.parametrize("shape", [MAP, (1, 37, 9, 51), (3, 5, 1, 4)])
def test_any_layouts(last: tuple[bool, ...], shape: tuple[int, ...]) -> None:
    agrees(run, Maximum(), [normal(*shape), -normal(*shape)], channels_last=last, threads=3)


def test_biases_of_long_rows() -> None:
    agrees(run, BiasAdd(), [normal(40, 2050), normal(2050)], threads=3)


def test_batch_normalisation_and_its_averages() -> None:
    each = np.abs(normal(7, 8))
    agrees(run, BatchNormInference(), [normal(*MAP), *each[:4]])
    agrees(run, BatchNormGradInput(30), [normal(*MAP), normal(*MAP) + 1, *each[:5]], 1e-5)
    agrees(run, RunningAverage(0.25, 8 / 7), [each[0], each[1]])


@settings(max_examples=8)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.booleans())
def test_any_shape(shape: list[int], last: bool) -> None:
    agrees(run, TanhGrad(), [normal(*shape), np.tanh(normal(*shape))], channels_last=last)


def test_another_batch_is_no_other_kernel() -> None:
    bias, seed, step = normal(8), np.array(1), np.array(2, np.int32)
    chains: list[tuple[Op, tuple[int, ...], list[Array]]] = [
        (Relu(), MAP, []),
        (BiasAdd(), MAP, [bias]),
        (Dropout(0.5), (3, 8), [seed, step]),
        (Dropout(0.5), MAP, [seed, step]),
    ]
    for op, shape, others in chains:
        calls = [commands(op, [normal(n, *shape[1:]), *others])[0] for n in (1, 3, 40)]
        assert len({call.kernel for call in calls if isinstance(call, Call)}) == 1


# Dropout


@pytest.mark.parametrize("isa", [AVX2, SSE], ids=str)
def test_masks_for_other_processors(isa: Isa) -> None:
    op, shape = Dropout(0.5, stream=1, start=5), (17, 1001)
    (found,) = run(op, [np.ones(shape, "f4"), SEED, STEP], isa=isa, threads=3)
    np.testing.assert_array_equal(found, op.mask(shape, int(SEED), int(STEP)))


def test_bias_relu_and_dropout_behind_a_product() -> None:
    parts = (Part(Fc(), (0, 1)), Part(BiasAdd(), (5, 2)), Part(Relu(), (6,)), Part(Dropout(0.5), (7, 3, 4)))
    op = Fused("bias_relu_dropout", parts, (8,))
    agrees(run, op, [normal(6, 21), normal(333, 21), normal(333), SEED, STEP], 1e-5)


# Where it may be written


@OVER
@pytest.mark.parametrize("last", LAYOUTS)
def test_results_over_their_operands(op: Op, operands: list[Array], last: bool) -> None:
    assert in_place(op)
    for result, operand in in_place(op):
        if last and np.ndim(operands[operand]) != np.ndim(expected(op, operands)[0]):
            continue  # not of one layout
        agrees(run, op, operands, channels_last=last, over={result: operand}, threads=3)
