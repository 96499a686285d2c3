"""Poolings in emitted C mean what their ops mean, whatever the windows and the layout."""

from __future__ import annotations

import platform
import re
import subprocess

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alexnet_ir.backends.cpu.isa import AVX2, SSE, Isa
from alexnet_ir.backends.cpu.program import CEmitter
from alexnet_ir.backends.emission.commands import Call
from alexnet_ir.ir.layout import Layout
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ir.types import TensorType, f32
from alexnet_ir.ops.elementwise import ReluGrad
from alexnet_ir.ops.pool import AvgPool, L2Pool, MaxPool, Pool

from ..test_pooling import INF, KINDS, NAN, agree, masked, pooled, poolings
from .running import TOOLS, needs_cc, run

pytestmark = needs_cc

MAPS, CELLS = Layout("f32", True), Layout("u8", True)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
@given(poolings(), st.booleans(), st.integers(1, 3))
def test_windows_that_vary(cases: dict[Op, list[Array]], channels_last: bool, threads: int) -> None:
    for op, operands in cases.items():
        agree(run, op, operands, channels_last=channels_last, threads=threads)


@pytest.mark.parametrize("isa", [AVX2, SSE], ids=lambda isa: isa.name)
@KINDS
def test_narrower_vectors(kind: type[Pool], isa: Isa) -> None:
    for op, operands in pooled(kind(3, 2, 1, "up"), (1, 21, 6, 7)).items():
        agree(run, op, operands, isa=isa, threads=3)


def test_the_bits_are_the_same_on_any_number_of_threads() -> None:
    for kind in (MaxPool, AvgPool, L2Pool):
        for op, operands in pooled(kind(3, 2), (2, 20, 7, 9)).items():
            one, three = (run(op, operands, threads=threads) for threads in (1, 3))
            for a, b in zip(one, three, strict=True):
                np.testing.assert_array_equal(a, b)


def test_gradients_that_are_not_finite() -> None:
    """One makes NaN of the cells of its window that were not the largest, as zero times infinity is."""
    gradient, (g, argmax) = list(pooled(MaxPool(3, 2), (1, 20, 7, 7)).items())[1]
    g[0, 3, 1, 1], g[0, 5, 2, 0] = INF, NAN
    agree(run, gradient, [g, argmax])


@pytest.mark.parametrize("shape", [(1, 96, 55, 55), (3, 256, 13, 13)])
def test_the_sizes_of_alexnet(shape: tuple[int, ...]) -> None:
    (forward, given_), (gradient, operands) = pooled(MaxPool(3, 2), shape).items()
    agree(run, forward, given_)
    agree(run, *masked(gradient, operands, ReluGrad()))


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="looks for x86 instructions")
def test_choices_are_made_in_vectors() -> None:
    """One by one they take thirty times as long."""
    assert TOOLS is not None
    emission = CEmitter(AVX2, 1).emit(
        MaxPool(3, 2), [(f32(1, 96, 9, 9), MAPS)], [(f32(1, 96, 4, 4), MAPS), (TensorType("u8", (1, 96, 4, 4)), CELLS)]
    )
    (call,) = emission.commands
    assert isinstance(call, Call)
    command = [*TOOLS.command(AVX2), "-S", "-o", "-"]
    made = subprocess.run(command, input=call.kernel.source, capture_output=True, text=True, check=True).stdout
    assert re.search(r"\bvcmp\w*ps\s.*ymm", made)
