"""Ops that only move elements, in emitted C."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from alexnet_ir.backends.cpu.isa import AVX2, SSE
from alexnet_ir.backends.cpu.program import CEmitter
from alexnet_ir.backends.emission.commands import Call, Move
from alexnet_ir.ir.layout import Layout
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ir.types import TensorType
from alexnet_ir.ops.elementwise import Identity
from alexnet_ir.ops.shape import Concat, Copy, Fill, Flatten, Slice, Unflatten

from ...ops.helpers import rng
from .running import commands, expected, needs_cc, run

pytestmark = needs_cc
LAYOUTS = (True, False)
PAIRS = [(a, b) for a in LAYOUTS for b in LAYOUTS]
MAP = (3, 8, 2, 5)


def normal(*shape: int) -> Array:
    """The same numbers every time."""
    return rng(sum(shape)).standard_normal(shape).astype("f4")


def same(op: Op, operands: Sequence[Array], **how: object) -> None:
    """What is emitted makes what the op means, bit by bit."""
    np.testing.assert_array_equal(run(op, operands, **how)[0], expected(op, operands)[0])  # type: ignore[arg-type]


@pytest.mark.parametrize("last", PAIRS)
@pytest.mark.parametrize("op", [Flatten(), Unflatten((2, 5, 8)), Slice(2, 6), Slice(1, 4, 3), Slice(1, 2, 0)], ids=str)
def test_one_operand_is_moved(op: Op, last: tuple[bool, ...]) -> None:
    same(op, [normal(*MAP)], channels_last=last)


@pytest.mark.parametrize("last", PAIRS)
@pytest.mark.parametrize("shape", [(1, 1, 4, 4), (2, 19, 6, 6), (5, 64, 1, 9), (40, 33, 17, 2), (1, 70, 9, 9)])
def test_channels_last_and_first(shape: tuple[int, ...], last: tuple[bool, ...]) -> None:
    for isa in (AVX2, SSE) if shape[0] == 2 else (None,):
        for threads in (1, 3):
            same(Identity(), [normal(*shape)], channels_last=last, isa=isa, threads=threads)


@pytest.mark.parametrize("axis", range(4))
@pytest.mark.parametrize("last", [(True,) * 4, (False,) * 4, (True, False, True, False), (False, True, False, True)])
def test_parts_are_joined(axis: int, last: tuple[bool, ...]) -> None:
    shapes = [[length if a == axis else n for a, n in enumerate(MAP)] for length in (4, 1, 8)]
    same(Concat(axis), [normal(*shape) for shape in shapes], channels_last=last)


@pytest.mark.parametrize("axis", [0, 2, 5])
def test_parts_of_six_axes(axis: int) -> None:
    whole = normal(3, 2, 4, 1, 2, 3)
    same(Slice(0, 1, axis), [whole])
    same(Concat(axis), [whole, whole + 1])


def test_parts_that_threads_share() -> None:
    wide, long = normal(70, 30, 8, 4), normal(2, 100_000)
    for axis in (0, 1):
        same(Concat(axis), [wide, wide + 1], threads=3)
        same(Concat(axis), [long, long + 1], threads=3)
        same(Slice(1, 2, axis), [long], threads=3)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
@pytest.mark.parametrize("last", PAIRS)
def test_whole_numbers_are_moved(dtype: str, last: tuple[bool, ...]) -> None:
    numbers = rng(1).integers(0, 200, (3, 32, 2, 2)).astype(dtype)
    same(Slice(16, 32), [numbers], channels_last=last)


@pytest.mark.parametrize(("op", "last"), [(Flatten(), False), (Identity(), True), (Copy(1), True)], ids=str)
def test_what_lies_alike_is_copied_without_a_kernel(op: Op, last: bool) -> None:
    operand = TensorType("f32", MAP), Layout("f32", last)
    result = TensorType("f32", expected(op, [normal(*MAP)])[0].shape), Layout("f32", last)
    (command,) = CEmitter(SSE, 1).emit(op, [operand], [result]).commands
    assert isinstance(command, Move)


def test_parts_of_any_size_are_moved_by_one_kernel() -> None:
    ops: list[tuple[Op, list[Array]]] = [(Concat(), [normal(*MAP), normal(3, 1, 2, 5)]), (Slice(1, 3), [normal(2, 9)])]
    calls = [command for op, operands in ops for command in commands(op, operands)]
    assert len({call.kernel for call in calls if isinstance(call, Call)}) == 1


@pytest.mark.parametrize("shape", [(), (5,), MAP, (40, 3, 21, 21)])
def test_one_number_everywhere(shape: tuple[int, ...]) -> None:
    for value in (0.0, -1.5, 2.0**100):
        same(Fill(value, shape), [], threads=3)
