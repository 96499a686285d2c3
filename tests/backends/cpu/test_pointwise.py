"""Ops on each element by itself, in emitted C, in every layout that they may meet."""

from __future__ import annotations

from collections.abc import Sequence

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
from alexnet_ir.ops.shape import Flatten, Unflatten

from ...ops.helpers import rng
from .running import commands, expected, needs_cc, run

pytestmark = needs_cc
LAYOUTS = (True, False)
MAP = (3, 8, 2, 5)
LARGE = 3 * 1024 * 16 + 7
"""Elements of more pieces than there are threads."""
SEED, STEP = np.array(-(2**63) + 12345), np.array(2**31 - 1, np.int32)


def normal(*shape: int) -> Array:
    """The same numbers every time."""
    return rng(sum(shape)).standard_normal(shape).astype("f4")


def agrees(op: Op, operands: Sequence[Array], tolerance: float = 1e-6, **how: object) -> None:
    """What is emitted makes what the op means."""
    for one, wanted in zip(run(op, operands, **how), expected(op, operands), strict=True):  # type: ignore[arg-type]
        assert one.shape == wanted.shape
        scale = np.abs(wanted[np.isfinite(wanted)]).max(initial=1e-30)
        np.testing.assert_allclose(one, wanted, rtol=0, atol=tolerance * scale)


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
    agrees(op, [normal(3, 7), normal(3, 7)[::-1]])


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
    agrees(Add(), [normal(*shape), normal(*shape) + 1], threads=threads)


@pytest.mark.parametrize("last", [(a, b, c) for a in LAYOUTS for b in LAYOUTS for c in LAYOUTS])
@pytest.mark.parametrize("shape", [MAP, (1, 37, 9, 51), (3, 5, 1, 4)])
def test_any_layouts(last: tuple[bool, ...], shape: tuple[int, ...]) -> None:
    agrees(Maximum(), [normal(*shape), -normal(*shape)], channels_last=last, threads=3)


@pytest.mark.parametrize("bias", [(8,), (8, 2, 5)])
@pytest.mark.parametrize("last", LAYOUTS)
def test_biases_of_channels_and_positions(bias: tuple[int, ...], last: bool) -> None:
    agrees(BiasAdd(), [normal(*MAP), normal(*bias)], channels_last=last)


def test_biases_of_more_axes_and_fewer() -> None:
    agrees(BiasAdd(), [normal(2, 3, 4), normal(3)])
    agrees(BiasAdd(), [normal(2, 3, 4), normal(3, 4)])
    agrees(BiasAdd(), [normal(2, 3, 2, 1, 2), normal(3)])
    agrees(BiasAdd(), [normal(2, 3, 2, 1, 2), normal(3, 2, 1, 2)], channels_last=False)
    agrees(BiasAdd(), [normal(4), normal()])
    agrees(BiasAdd(), [normal(40, 2050), normal(2050)], threads=3)


def test_batch_normalisation_and_its_averages() -> None:
    each = np.abs(normal(7, 8))
    agrees(BatchNormInference(), [normal(*MAP), *each[:4]])
    agrees(BatchNormGradInput(30), [normal(*MAP), normal(*MAP) + 1, *each[:5]], 1e-5)
    agrees(RunningAverage(0.25, 8 / 7), [each[0], each[1]])


@settings(max_examples=8)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.booleans())
def test_any_shape(shape: list[int], last: bool) -> None:
    agrees(TanhGrad(), [normal(*shape), np.tanh(normal(*shape))], channels_last=last)


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


@pytest.mark.parametrize(
    ("op", "shape"),
    [
        (Dropout(0.5, stream=3), (3, 70)),
        (Dropout(0.5, stream=3), (5, 4097)),
        (Dropout(0.25, stream=2**32 - 1), (2, 8, 3, 3)),
        (Dropout(0.5, start=7 * 11), (2, 11)),
        (Dropout(0.5, start=5, period=35), (3, 2, 5)),
        (Dropout(0.5, start=3, period=70), (3, 35)),
        (Dropout(0.5, start=4, period=40), (3, 4, 2, 2)),
        (Dropout(0.5, start=2**33 + 1), (2, 8)),
        (Dropout(0.5, start=3, period=2), (9,)),
        (Dropout(0.5), (2, 3, 1, 2, 2)),
        (Dropout(0.5), (3, 300, 1, 1)),
        (Dropout(1e-9), (64, 64)),
        (Dropout(1 - 1e-12), (8, 8)),
    ],
    ids=str,
)
@pytest.mark.parametrize("last", LAYOUTS)
def test_masks_are_bit_equal(op: Dropout, shape: tuple[int, ...], last: bool) -> None:
    (found,) = run(op, [np.ones(shape, "f4"), SEED, STEP], channels_last=last)
    np.testing.assert_array_equal(found, op.mask(shape, int(SEED), int(STEP)))


@pytest.mark.parametrize("isa", [AVX2, SSE], ids=str)
def test_masks_for_other_processors(isa: Isa) -> None:
    op, shape = Dropout(0.5, stream=1, start=5), (17, 1001)
    (found,) = run(op, [np.ones(shape, "f4"), SEED, STEP], isa=isa, threads=3)
    np.testing.assert_array_equal(found, op.mask(shape, int(SEED), int(STEP)))


def test_what_is_kept_is_divided_as_the_reference_does() -> None:
    op, operands = Dropout(0.3, "train", 1), [normal(5, 33), np.array(7), np.array(2, np.int32)]
    np.testing.assert_array_equal(run(op, operands)[0], op.evaluate(operands)[0])


def test_bias_relu_and_dropout_behind_a_product() -> None:
    parts = (Part(Fc(), (0, 1)), Part(BiasAdd(), (5, 2)), Part(Relu(), (6,)), Part(Dropout(0.5), (7, 3, 4)))
    op = Fused("bias_relu_dropout", parts, (8,))
    agrees(op, [normal(6, 21), normal(333, 21), normal(333), SEED, STEP], 1e-5)


# Fused behind a head


@pytest.mark.parametrize("last", LAYOUTS)
def test_a_mask_behind_dropout(last: bool) -> None:
    op = Fused("grad_relu", (Part(Dropout(0.5, "train"), (0, 1, 2)), Part(ReluGrad(), (4, 3))), (5,))
    for shape in (MAP, (3, 35)):
        agrees(op, [normal(*shape), SEED, STEP, normal(*shape)[::-1].copy()], channels_last=last)


@pytest.mark.parametrize("last", LAYOUTS)
@pytest.mark.parametrize("shape", [MAP, (2, 33, 6, 6)])
def test_a_mask_behind_unflatten(last: bool, shape: tuple[int, ...]) -> None:
    op = Fused("grad_relu", (Part(Unflatten(shape[1:]), (0,)), Part(ReluGrad(), (2, 1))), (3,))
    agrees(op, [normal(*shape).reshape(shape[0], -1), normal(*shape)[::-1].copy()], channels_last=last)


@pytest.mark.parametrize("last", LAYOUTS)
def test_a_chain_behind_flatten(last: bool) -> None:
    op = Fused("any", (Part(Flatten(), (0,)), Part(BiasAdd(), (3, 1)), Part(Add(), (2, 4)), Part(Tanh(), (5,))), (6,))
    agrees(op, [normal(2, 3, 2, 2), normal(12), normal(2, 12)], channels_last=last)


def test_one_operand_several_times() -> None:
    parts = (Part(BatchNormInference(), (0, 1, 2, 1, 3)), Part(Add(), (4, 0)), Part(Add(), (5, 4)))
    agrees(Fused("any", parts, (6,)), [normal(*MAP), normal(8), normal(8) + 1, np.abs(normal(8))], 1e-5)


# Where it may be written


@pytest.mark.parametrize(
    ("op", "operands"),
    [
        (Relu(), [normal(40, LARGE // 40)]),
        (Add(), [normal(*MAP), normal(*MAP) + 1]),
        (ReluGrad(), [normal(5, 7), normal(5, 7)]),
        (BiasAdd(), [normal(*MAP), normal(8)]),
        (BiasAdd(), [normal(*MAP), normal(8, 2, 5)]),
        (Flatten(), [normal(3, 7)]),
        (Dropout(0.5), [normal(3, 700), SEED, STEP]),
        (
            Fused("grad_relu", (Part(Dropout(0.5), (0, 1, 2)), Part(ReluGrad(), (4, 3))), (5,)),
            [normal(*MAP), SEED, STEP, normal(*MAP)],
        ),
        (
            Fused("grad_relu", (Part(Unflatten((8, 2, 5)), (0,)), Part(ReluGrad(), (2, 1))), (3,)),
            [normal(3, 80), normal(*MAP)],
        ),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, Op) else "",
)
@pytest.mark.parametrize("last", LAYOUTS)
def test_results_over_their_operands(op: Op, operands: list[Array], last: bool) -> None:
    assert in_place(op)
    for result, operand in in_place(op):
        if last and np.ndim(operands[operand]) != np.ndim(expected(op, operands)[0]):
            continue  # not of one layout
        agrees(op, operands, channels_last=last, over={result: operand}, threads=3)
