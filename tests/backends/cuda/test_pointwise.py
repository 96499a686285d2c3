"""Ops on each element, and ops that only move elements, in every layout and stored type that they may meet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet_ir.backends.cuda.gpu import GPUS
from alexnet_ir.backends.cuda.host.machine import HostMachine
from alexnet_ir.backends.emission.commands import Move
from alexnet_ir.backends.emission.encode import round_stored
from alexnet_ir.backends.emission.inplace import in_place
from alexnet_ir.ir.layout import Stored
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ir.types import TensorType
from alexnet_ir.ops.batchnorm import BatchNormInference
from alexnet_ir.ops.dense import BiasAdd
from alexnet_ir.ops.dropout import Dropout
from alexnet_ir.ops.elementwise import Abs, Add, Identity, LeakyRelu, Relu, ReluGrad, Scale, Sigmoid, Tanh, TanhGrad
from alexnet_ir.ops.fused import Fused, Part
from alexnet_ir.ops.loss import Maximum
from alexnet_ir.ops.shape import Concat, Copy, Flatten, Slice, Unflatten

from ...ops.helpers import rng
from .running import emitted, expected, layouts, needs_gxx, run

pytestmark = needs_gxx

LAYOUTS = (True, False)
PAIRS = [(a, b) for a in LAYOUTS for b in LAYOUTS]
MAP = (3, 8, 2, 5)


def normal(*shape: int) -> Array:
    """The same numbers every time."""
    return rng(sum(shape)).standard_normal(shape).astype("f4")


def agrees(op: Op, operands: Sequence[Array], tolerance: float = 1e-6, stored: Stored = "f32", **how: object) -> None:
    """What is emitted makes what the op means; what is read and written is stored as `stored`."""
    found = run(op, operands, stored=_each(operands, stored), result_stored=stored, **how)  # type: ignore[arg-type]
    for one, wanted in zip(found, expected(op, operands, _each(operands, stored)), strict=True):
        assert one.shape == wanted.shape
        scale = np.abs(wanted[np.isfinite(wanted)]).max(initial=1e-30)
        np.testing.assert_allclose(one, round_stored(wanted, stored), rtol=0, atol=tolerance * scale)


def _each(operands: Sequence[Array], stored: Stored) -> list[Stored]:
    names: dict[str, Stored] = {"int32": "i32", "int64": "i64", "uint8": "u8"}
    return [names.get(a.dtype.name, stored) for a in operands]


# One expression


@pytest.mark.parametrize("shape", [(), (1,), (1037,), (3, 7), (2, 3, 4), MAP, (2, 3, 1, 2, 3), (2, 1, 3, 1, 2, 2)])
def test_any_number_of_axes(shape: tuple[int, ...]) -> None:
    agrees(Add(), [normal(*shape), normal(*shape) + 1])


@pytest.mark.parametrize("last", [(*pair, last) for pair in PAIRS for last in LAYOUTS])
def test_any_layouts(last: tuple[bool, ...]) -> None:
    agrees(Maximum(), [normal(*MAP), -normal(*MAP)], channels_last=last)


@pytest.mark.parametrize("stored", ["tf32", "bf16"])
@pytest.mark.parametrize("shape", [(1, 24, 3, 1), (2, 6, 3, 3), (1021,)])
def test_stored_types(stored: Stored, shape: tuple[int, ...]) -> None:
    agrees(ReluGrad(), [normal(*shape), normal(*shape)[::-1]], 1e-2, stored)


def test_stored_types_mixed() -> None:
    found = run(Add(), [normal(*MAP), normal(*MAP) + 1], stored=["bf16", "f32"], result_stored="tf32")
    wanted = expected(Add(), [normal(*MAP), normal(*MAP) + 1], ["bf16", "f32"])
    np.testing.assert_array_equal(found[0], round_stored(wanted[0], "tf32"))


@pytest.mark.parametrize("bias", [(8,), (8, 2, 5)])
@pytest.mark.parametrize("last", LAYOUTS)
def test_biases_of_channels_and_positions(bias: tuple[int, ...], last: bool) -> None:
    agrees(BiasAdd(), [normal(*MAP), normal(*bias)], channels_last=last)


def test_biases_where_there_are_more_axes() -> None:
    agrees(BiasAdd(), [normal(2, 3, 4), normal(3)])
    agrees(BiasAdd(), [normal(2, 3, 4), normal(3, 4)])
    agrees(BiasAdd(), [normal(2, 3, 2, 1, 2), normal(3)])
    agrees(BiasAdd(), [normal(2, 3, 2, 1, 2), normal(3, 2, 1, 2)], channels_last=False)
    agrees(BiasAdd(), [normal(4), normal()])


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("op", [Relu(), LeakyRelu(0.2), Abs(), Identity(), Tanh(), Sigmoid(), Scale(-2.0)], ids=str)
def test_special_values(op: Op) -> None:
    special = np.array([[np.nan, np.inf, -np.inf, 0.0, -0.0, 1e38, -1e-38, 88.0, -800.0]], "f4")
    (found,), (wanted,) = run(op, [special]), expected(op, [special])
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-7)


@settings(max_examples=8)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.booleans(), st.sampled_from(["f32", "bf16"]))
def test_any_shape(shape: list[int], last: bool, stored: Stored) -> None:
    agrees(TanhGrad(), [normal(*shape), np.tanh(normal(*shape))], 1e-2 if stored == "bf16" else 1e-6, stored)


# Dropout


@pytest.mark.parametrize(
    ("op", "shape"),
    [
        (Dropout(0.5, stream=3), (3, 70)),
        (Dropout(0.25, stream=2**32 - 1), (2, 8, 3, 3)),
        (Dropout(0.5, start=7 * 11), (2, 11)),
        (Dropout(0.5, start=5, period=35), (3, 2, 5)),
        (Dropout(0.5, start=4, period=40), (3, 4, 2, 2)),
        (Dropout(0.5, start=2**33 + 1), (2, 8)),
        (Dropout(0.5, start=3, period=2), (9,)),
        (Dropout(0.5), (2, 3, 1, 2, 2)),
        (Dropout(1e-9), (64, 64)),
        (Dropout(1 - 1e-12), (8, 8)),
    ],
    ids=str,
)
@pytest.mark.parametrize("last", LAYOUTS)
def test_masks_are_bit_equal(op: Dropout, shape: tuple[int, ...], last: bool) -> None:
    seed, step = -(2**63) + 12345, 2**31 - 1
    operands = [np.ones(shape, "f4"), np.array(seed), np.array(step, np.int32)]
    (found,) = run(op, operands, stored=["f32", "i64", "i32"], channels_last=last)
    np.testing.assert_array_equal(found, op.mask(shape, seed, step))


def test_what_is_kept_is_divided_as_the_reference_does() -> None:
    op, operands = Dropout(0.3, "train", 1), [normal(5, 33), np.array(7), np.array(2, np.int32)]
    (found,), wanted = run(op, operands, stored=["f32", "i64", "i32"]), op.evaluate(operands)[0]
    np.testing.assert_array_equal(found, wanted)


# Fused behind a head


@pytest.mark.parametrize("last", LAYOUTS)
def test_a_mask_behind_dropout(last: bool) -> None:
    op = Fused("grad_relu", (Part(Dropout(0.5, "train"), (0, 1, 2)), Part(ReluGrad(), (4, 3))), (5,))
    operands = [normal(*MAP), np.array(99), np.array(3, np.int32), normal(*MAP)[::-1].copy()]
    agrees(op, operands, channels_last=last)


@pytest.mark.parametrize("last", LAYOUTS)
@pytest.mark.parametrize("shape", [MAP, (2, 3, 3, 2)])
def test_a_mask_behind_unflatten(last: bool, shape: tuple[int, ...]) -> None:
    op = Fused("grad_relu", (Part(Unflatten(shape[1:]), (0,)), Part(ReluGrad(), (2, 1))), (3,))
    agrees(op, [normal(*shape).reshape(len(shape[:1]) * shape[0], -1), normal(*shape)[::-1].copy()], channels_last=last)


@pytest.mark.parametrize("last", LAYOUTS)
def test_a_chain_behind_flatten(last: bool) -> None:
    op = Fused("any", (Part(Flatten(), (0,)), Part(BiasAdd(), (3, 1)), Part(Add(), (2, 4)), Part(Tanh(), (5,))), (6,))
    agrees(op, [normal(2, 3, 2, 2), normal(12), normal(2, 12)], channels_last=last)


def test_one_operand_several_times() -> None:
    parts = (Part(BatchNormInference(), (0, 1, 2, 1, 3)), Part(Add(), (4, 0)), Part(Add(), (5, 4)))
    agrees(Fused("any", parts, (6,)), [normal(*MAP), normal(8), normal(8) + 1, np.abs(normal(8))], 1e-5)


# Moving


@pytest.mark.parametrize("last", PAIRS)
@pytest.mark.parametrize("op", [Flatten(), Unflatten((2, 5, 8)), Slice(2, 6), Slice(1, 4, 3), Slice(1, 2, 0)], ids=str)
def test_one_operand_is_moved(op: Op, last: tuple[bool, ...]) -> None:
    agrees(op, [normal(*MAP)], 0, channels_last=last)


@pytest.mark.parametrize("axis", range(4))
@pytest.mark.parametrize("last", [(True,) * 4, (False,) * 4, (True, False, True, False), (False, True, False, True)])
def test_parts_are_joined(axis: int, last: tuple[bool, ...]) -> None:
    shapes = [[length if a == axis else n for a, n in enumerate(MAP)] for length in (4, 1, 8)]
    agrees(Concat(axis), [normal(*shape) for shape in shapes], 0, channels_last=last)


@pytest.mark.parametrize("axis", [0, 2, 5])
def test_parts_of_six_axes(axis: int) -> None:
    whole = normal(3, 2, 4, 1, 2, 3)
    agrees(Slice(0, 1, axis), [whole], 0)
    agrees(Concat(axis), [whole, whole + 1], 0)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
@pytest.mark.parametrize("last", PAIRS)
def test_whole_numbers_are_moved(dtype: str, last: tuple[bool, ...]) -> None:
    numbers = rng(1).integers(0, 200, (3, 32, 2, 2)).astype(dtype)
    agrees(Slice(16, 32), [numbers], 0, channels_last=last)


@pytest.mark.parametrize(("op", "last"), [(Flatten(), False), (Identity(), True), (Copy(1), True)], ids=str)
def test_what_lies_alike_is_copied_without_a_kernel(op: Op, last: bool) -> None:
    types = [TensorType("f32", MAP)]
    results = [TensorType("f32", op.evaluate([normal(*MAP)])[0].shape)]
    lying, made = (layouts(t, "f32", last) for t in (types, results))
    (command,) = emitted(op, types, results, lying, made, GPUS["sm_90"], "fp32").commands
    assert isinstance(command, Move)


# Where it may be written


@pytest.mark.parametrize(
    ("op", "operands"),
    [
        (Relu(), [normal(*MAP)]),
        (Add(), [normal(*MAP), normal(*MAP) + 1]),
        (ReluGrad(), [normal(5, 7), normal(5, 7)]),
        (BiasAdd(), [normal(*MAP), normal(8)]),
        (Flatten(), [normal(3, 7)]),
        (
            Fused("grad_relu", (Part(Dropout(0.5), (0, 1, 2)), Part(ReluGrad(), (4, 3))), (5,)),
            [normal(*MAP), np.array(5), np.array(1, np.int32), normal(*MAP)],
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
        agrees(op, operands, channels_last=last, over={result: operand}, machine=HostMachine(order="shuffled"))


@pytest.mark.parametrize("order", ["forward", "reverse", "shuffled"])
def test_every_access_is_right(order: str) -> None:
    machine = HostMachine(check=True, order=order)
    agrees(BiasAdd(), [normal(*MAP), normal(8)], machine=machine)
    agrees(Slice(1, 6), [normal(*MAP)], 0, machine=machine)
    agrees(Add(), [normal(1037), normal(1037)], 1e-2, "bf16", machine=machine)
