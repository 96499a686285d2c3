"""Poolings in emitted C mean what their ops mean, whatever the windows and the layout."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alexnet_ir.backends.cpu.emitters import pooling
from alexnet_ir.backends.cpu.isa import AVX2, SSE, Isa
from alexnet_ir.backends.cpu.program import CEmitter
from alexnet_ir.backends.emission.commands import Call
from alexnet_ir.ir.layout import Layout
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ir.types import TensorType, f32
from alexnet_ir.ops.elementwise import Relu, ReluGrad, TanhGrad
from alexnet_ir.ops.fused import Fused, Part
from alexnet_ir.ops.pool import (
    AvgPool,
    AvgPoolGrad,
    GlobalAvgPool,
    GlobalAvgPoolGrad,
    L2Pool,
    L2PoolGrad,
    MaxPool,
    MaxPoolGrad,
    Pool,
)

from ...ops.op_table import ROWS, Row
from .running import TOOLS, expected, needs_cc, run

pytestmark = needs_cc

BOTH = pytest.mark.parametrize("channels_last", [True, False], ids=["last", "first"])
NAN, INF = float("nan"), float("inf")
MAPS, CELLS = Layout("f32", True), Layout("u8", True)


def agree(op: Op, operands: Sequence[Array], **options: Any) -> None:
    """The results are the reference's."""
    found = run(op, operands, **options)
    with np.errstate(all="ignore"):
        exact = expected(op, [np.float32(a) if a.dtype.kind == "f" else a for a in operands])
    for result, right in zip(found, exact, strict=True):
        if right.dtype.kind != "f":
            np.testing.assert_array_equal(result, right, err_msg=f"{op} {options}")
            continue
        size = np.abs(right[np.isfinite(right)]).max(initial=1e-3)
        np.testing.assert_allclose(result, right, rtol=2e-6, atol=2e-6 * size, err_msg=f"{op} {options}")


def normal(*shape: int, seed: int = 0) -> Array:
    """The same numbers every time."""
    return np.random.default_rng(seed).standard_normal(shape)


def pooled(op: Pool, shape: tuple[int, ...], seed: int = 0) -> dict[Op, list[Array]]:
    """A pooling of maps of this shape and its gradient, with operands."""
    x = normal(*shape, seed=seed)
    y, *argmax = expected(op, [x])
    g, around = normal(*y.shape, seed=seed + 1), (op.size, op.stride, op.pad, op.round)
    size: Any = shape[2:]
    if isinstance(op, MaxPool):
        return {op: [x], MaxPoolGrad(*around, input_size=size): [g, *argmax]}
    if isinstance(op, L2Pool):
        return {op: [x], L2PoolGrad(*around, input_size=size): [g, x, y]}
    assert isinstance(op, AvgPool)
    return {op: [x], AvgPoolGrad(*around, count_pad=op.count_pad, input_size=size): [g]}


def masked(op: Op, operands: Sequence[Array], mask: Op) -> tuple[Fused, list[Array]]:
    """A gradient with a mask behind it."""
    count = len(operands)
    (shape,) = (found.shape for found in expected(op, operands))
    parts = (Part(op, tuple(range(count))), Part(mask, (count + 1, count)))
    return Fused("grad_relu", parts, (count + 2,)), [*operands, normal(*shape, seed=9)]


# --- windows ----------------------------------------------------------------------------------------------------------

POOLINGS = [row for row in ROWS if type(row.op) in pooling.EMITTERS]


@BOTH
@pytest.mark.parametrize("row", POOLINGS, ids=lambda row: row.id)
def test_the_table(row: Row, channels_last: bool) -> None:
    agree(row.op, row.arrays(), channels_last=channels_last)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
@given(st.data())
def test_windows_that_vary(data: st.DataObject) -> None:
    draw = data.draw
    size = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    pad = tuple((draw(st.integers(0, k - 1)), draw(st.integers(0, k - 1))) for k in size)
    stride = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    options: dict[str, Any] = {"pad": pad, "round": draw(st.sampled_from(["down", "up"]))}
    kind = draw(st.sampled_from([MaxPool, AvgPool, L2Pool]))
    if kind is AvgPool:
        options["count_pad"] = draw(st.booleans())
    shape = (
        draw(st.integers(1, 2)),
        draw(st.sampled_from([1, 3, 6, 17])),
        *(k + draw(st.integers(0, 5)) for k in size),
    )
    for op, operands in pooled(kind(size, stride, **options), shape).items():
        agree(op, operands, channels_last=draw(st.booleans()), threads=draw(st.integers(1, 3)))


@pytest.mark.parametrize("isa", [AVX2, SSE], ids=lambda isa: isa.name)
@pytest.mark.parametrize("kind", [MaxPool, AvgPool, L2Pool])
def test_narrower_vectors(kind: type[Pool], isa: Isa) -> None:
    for op, operands in pooled(kind(3, 2, 1, "up"), (1, 21, 6, 7)).items():
        agree(op, operands, isa=isa, threads=3)


def test_the_bits_are_the_same_on_any_number_of_threads() -> None:
    for kind in (MaxPool, AvgPool, L2Pool):
        for op, operands in pooled(kind(3, 2), (2, 20, 7, 9)).items():
            one, three = (run(op, operands, threads=threads) for threads in (1, 3))
            for a, b in zip(one, three, strict=True):
                np.testing.assert_array_equal(a, b)


def test_many_channels() -> None:
    """More than are pooled at a time."""
    for kind in (MaxPool, AvgPool):
        for op, operands in pooled(kind(2), (1, 1031, 2, 4)).items():
            agree(op, operands)


@BOTH
@pytest.mark.parametrize("kind", [MaxPool, AvgPool])
def test_large_windows(kind: type[Pool], channels_last: bool) -> None:
    """Of more cells than a byte counts."""
    for op, operands in pooled(kind(17, 3, 2, "up"), (1, 4, 19, 20)).items():
        agree(op, operands, channels_last=channels_last)


@pytest.mark.parametrize("last", [(True, False, True), (False, True, False)])
def test_layouts_that_differ(last: Sequence[bool]) -> None:
    (forward, given_), (gradient, operands) = pooled(MaxPool(3, 2, 1), (2, 18, 5, 7)).items()
    agree(forward, given_, channels_last=last)
    agree(gradient, operands, channels_last=last)


# --- the largest ------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("pad", [0, 1])
def test_the_largest_of_what_is_not_finite(pad: int, channels_last: bool) -> None:
    """NaN comes through, the first of several; of equals the first; where all is -infinity, the first in the map."""
    values = [NAN, INF, -INF, 0.0, 1.0]
    x = np.random.default_rng(3).choice(values, (2, 20, 9, 9), p=[0.05, 0.1, 0.6, 0.15, 0.1])
    x[0, 1] = -INF
    x[1, 2] = NAN
    agree(MaxPool(3, 2, pad, "up"), [x], channels_last=channels_last)


def test_the_first_of_equals() -> None:
    x = np.random.default_rng(4).integers(0, 3, (1, 40, 11, 11)).astype("f8")
    agree(MaxPool(3, 2), [x])


def test_gradients_that_are_not_finite() -> None:
    """One makes NaN of the cells of its window that were not the largest, as zero times infinity is."""
    gradient, (g, argmax) = list(pooled(MaxPool(3, 2), (1, 20, 7, 7)).items())[1]
    g[0, 3, 1, 1], g[0, 5, 2, 0] = INF, NAN
    agree(gradient, [g, argmax])


# --- whole maps -------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("shape", [(2, 1, 1, 1), (1, 40, 5, 7), (2, 5, 3, 1), (1, 136, 9, 9)])
def test_the_mean_of_a_map(shape: tuple[int, ...], channels_last: bool) -> None:
    agree(GlobalAvgPool(), [normal(*shape)], channels_last=channels_last)
    agree(GlobalAvgPoolGrad(shape[2:]), [normal(*shape[:2])], channels_last=channels_last)


@BOTH
def test_a_large_mean_keeps_its_digits(channels_last: bool) -> None:
    x = 1000 + np.random.default_rng(5).random((1, 3, 112, 112))
    agree(GlobalAvgPool(), [x], channels_last=channels_last)
    agree(AvgPool(112), [x], channels_last=channels_last)


# --- behind -----------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("channels", [3, 32])
def test_masks_behind_gradients(channels: int, channels_last: bool) -> None:
    for kind, mask in ((MaxPool, ReluGrad()), (AvgPool, TanhGrad()), (L2Pool, ReluGrad())):
        gradient, operands = list(pooled(kind(3, 2, 1), (2, channels, 7, 5)).items())[1]
        agree(*masked(gradient, operands, mask), channels_last=channels_last)
    agree(*masked(GlobalAvgPoolGrad((2, 3)), [normal(2, channels)], ReluGrad()), channels_last=channels_last)


def test_an_op_behind_means() -> None:
    for op in (AvgPool(2), L2Pool(2), GlobalAvgPool()):
        agree(Fused("own", (Part(op, (0,)), Part(Relu(), (1,))), (2,)), [normal(2, 20, 4, 6)])


@pytest.mark.parametrize("shape", [(1, 96, 55, 55), (3, 256, 13, 13)])
def test_the_sizes_of_alexnet(shape: tuple[int, ...]) -> None:
    (forward, given_), (gradient, operands) = pooled(MaxPool(3, 2), shape).items()
    agree(forward, given_)
    agree(*masked(gradient, operands, ReluGrad()))


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
