"""Ops on each element, and ops that only move elements, in every layout and stored type that they may meet."""

from __future__ import annotations

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
from alexnet_ir.ops.dense import BiasAdd
from alexnet_ir.ops.elementwise import Abs, Add, Identity, LeakyRelu, Relu, ReluGrad, Scale, Sigmoid, Tanh, TanhGrad
from alexnet_ir.ops.loss import Maximum
from alexnet_ir.ops.shape import Concat, Copy, Flatten, Slice, Unflatten

from ...ops.helpers import rng
from ..test_pointwise import LAYOUTS, MAP, OVER, agrees, normal
from .running import emitted, expected, layouts, needs_gxx, run

pytestmark = needs_gxx

PAIRS = [(a, b) for a in LAYOUTS for b in LAYOUTS]


# One expression


@pytest.mark.parametrize("shape", [(), (1,), (1037,), (3, 7), (2, 3, 4), MAP, (2, 3, 1, 2, 3), (2, 1, 3, 1, 2, 2)])
def test_any_number_of_axes(shape: tuple[int, ...]) -> None:
    agrees(run, Add(), [normal(*shape), normal(*shape) + 1])


@pytest.mark.parametrize("last", [(*pair, last) for pair in PAIRS for last in LAYOUTS])
def test_any_layouts(last: tuple[bool, ...]) -> None:
    agrees(run, Maximum(), [normal(*MAP), -normal(*MAP)], channels_last=last)


@pytest.mark.parametrize("stored", ["tf32", "bf16"])
@pytest.mark.parametrize("shape", [(1, 24, 3, 1), (2, 6, 3, 3), (1021,)])
def test_stored_types(stored: Stored, shape: tuple[int, ...]) -> None:
    agrees(run, ReluGrad(), [normal(*shape), normal(*shape)[::-1]], 1e-2, stored=stored, result_stored=stored)


def test_stored_types_mixed() -> None:
    found = run(Add(), [normal(*MAP), normal(*MAP) + 1], stored=["bf16", "f32"], result_stored="tf32")
    wanted = expected(Add(), [normal(*MAP), normal(*MAP) + 1], ["bf16", "f32"])
    np.testing.assert_array_equal(found[0], round_stored(wanted[0], "tf32"))


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("op", [Relu(), LeakyRelu(0.2), Abs(), Identity(), Tanh(), Sigmoid(), Scale(-2.0)], ids=str)
def test_special_values(op: Op) -> None:
    special = np.array([[np.nan, np.inf, -np.inf, 0.0, -0.0, 1e38, -1e-38, 88.0, -800.0]], "f4")
    (found,), (wanted,) = run(op, [special]), expected(op, [special])
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-7)


@settings(max_examples=8)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.booleans(), st.sampled_from(["f32", "bf16"]))
def test_any_shape(shape: list[int], last: bool, stored: Stored) -> None:
    near = 1e-2 if stored == "bf16" else 1e-6
    operands = [normal(*shape), np.tanh(normal(*shape))]
    agrees(run, TanhGrad(), operands, near, stored=stored, result_stored=stored, channels_last=last)


# Moving


@pytest.mark.parametrize("last", PAIRS)
@pytest.mark.parametrize("op", [Flatten(), Unflatten((2, 5, 8)), Slice(2, 6), Slice(1, 4, 3), Slice(1, 2, 0)], ids=str)
def test_one_operand_is_moved(op: Op, last: tuple[bool, ...]) -> None:
    agrees(run, op, [normal(*MAP)], 0, channels_last=last)


@pytest.mark.parametrize("axis", range(4))
@pytest.mark.parametrize("last", [(True,) * 4, (False,) * 4, (True, False, True, False), (False, True, False, True)])
def test_parts_are_joined(axis: int, last: tuple[bool, ...]) -> None:
    shapes = [[length if a == axis else n for a, n in enumerate(MAP)] for length in (4, 1, 8)]
    agrees(run, Concat(axis), [normal(*shape) for shape in shapes], 0, channels_last=last)


@pytest.mark.parametrize("axis", [0, 2, 5])
def test_parts_of_six_axes(axis: int) -> None:
    whole = normal(3, 2, 4, 1, 2, 3)
    agrees(run, Slice(0, 1, axis), [whole], 0)
    agrees(run, Concat(axis), [whole, whole + 1], 0)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
@pytest.mark.parametrize("last", PAIRS)
def test_whole_numbers_are_moved(dtype: str, last: tuple[bool, ...]) -> None:
    numbers = rng(1).integers(0, 200, (3, 32, 2, 2)).astype(dtype)
    agrees(run, Slice(16, 32), [numbers], 0, channels_last=last)


@pytest.mark.parametrize(("op", "last"), [(Flatten(), False), (Identity(), True), (Copy(1), True)], ids=str)
def test_what_lies_alike_is_copied_without_a_kernel(op: Op, last: bool) -> None:
    types = [TensorType("f32", MAP)]
    results = [TensorType("f32", op.evaluate([normal(*MAP)])[0].shape)]
    lying, made = (layouts(t, "f32", last) for t in (types, results))
    (command,) = emitted(op, types, results, lying, made, GPUS["sm_90"], "fp32").commands
    assert isinstance(command, Move)


# Where it may be written


@OVER
@pytest.mark.parametrize("last", LAYOUTS)
def test_results_over_their_operands(op: Op, operands: list[Array], last: bool) -> None:
    assert in_place(op)
    for result, operand in in_place(op):
        if last and np.ndim(operands[operand]) != np.ndim(expected(op, operands)[0]):
            continue  # not of one layout
        agrees(run, op, operands, channels_last=last, over={result: operand}, machine=HostMachine(order="shuffled"))


@pytest.mark.parametrize("order", ["forward", "reverse", "shuffled"])
def test_every_access_is_right(order: str) -> None:
    machine = HostMachine(check=True, order=order)
    agrees(run, BiasAdd(), [normal(*MAP), normal(8)], machine=machine)
    agrees(run, Slice(1, 6), [normal(*MAP)], 0, machine=machine)
    agrees(run, Add(), [normal(1037), normal(1037)], 1e-2, stored="bf16", result_stored="bf16", machine=machine)
