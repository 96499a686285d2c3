"""Poolings mean what their ops mean on every target, whatever the windows and the layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from alexnet_ir.ir.layout import Stored
from alexnet_ir.ir.op import Array, Op
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

from ..ops.op_table import ROWS, Row
from .emitted import expected
from .targets import TARGETS, Run

NEAR: dict[Stored, float] = {"f32": 2e-6, "tf32": 1e-3, "bf16": 8e-3}
BOTH = pytest.mark.parametrize("channels_last", [True, False], ids=["last", "first"])
KINDS = pytest.mark.parametrize("kind", [MaxPool, AvgPool, L2Pool])
NAN, INF = float("nan"), float("inf")


def agree(run: Run, op: Op, operands: Sequence[Array], **options: Any) -> None:
    """The results are the reference's, of operands as they are stored."""
    found = run(op, operands, **options)
    with np.errstate(all="ignore"):
        exact = expected(op, operands, options.get("stored", "f32"))
    for result, right in zip(found, exact, strict=True):
        said = f"{op} {options}"
        if right.dtype.kind != "f":
            np.testing.assert_array_equal(result, right, err_msg=said)
            continue
        near, size = NEAR[options.get("result_stored", "f32")], np.abs(right[np.isfinite(right)]).max(initial=1e-3)
        np.testing.assert_allclose(result, right, rtol=near, atol=near * size, err_msg=said)


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


@st.composite
def poolings(draw: st.DrawFn) -> dict[Op, list[Array]]:
    """A pooling and its gradient, with operands."""
    size = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    pad = tuple((draw(st.integers(0, k - 1)), draw(st.integers(0, k - 1))) for k in size)
    stride = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    options: dict[str, Any] = {"pad": pad, "round": draw(st.sampled_from(["down", "up"]))}
    kind = draw(st.sampled_from([MaxPool, AvgPool, L2Pool]))
    if kind is AvgPool:
        options["count_pad"] = draw(st.booleans())
    channels = draw(st.sampled_from([1, 3, 4, 6, 17]))
    shape = (draw(st.integers(1, 2)), channels, *(k + draw(st.integers(0, 5)) for k in size))
    return pooled(kind(size, stride, **options), shape)


def mixed(op: Op, operands: Sequence[Array], first: bool) -> list[bool]:
    """Which operands and results lie channels last: every other one."""
    return [(number % 2 == 0) == first for number in range(len(operands) + len(expected(op, operands)))]


# --- windows ----------------------------------------------------------------------------------------------------------


@TARGETS
@BOTH
@pytest.mark.parametrize("row", [row for row in ROWS if "pool" in row.op.name], ids=lambda row: row.id)
def test_the_table(run: Run, row: Row, channels_last: bool) -> None:
    agree(run, row.op, row.arrays(), channels_last=channels_last)


@TARGETS
@pytest.mark.parametrize("kind", [MaxPool, AvgPool])
def test_many_channels(run: Run, kind: type[Pool]) -> None:
    """More than are pooled at a time, or than a block has threads."""
    for op, operands in pooled(kind(2), (1, 1031, 2, 4)).items():
        agree(run, op, operands)


@TARGETS
@BOTH
@pytest.mark.parametrize("kind", [MaxPool, AvgPool])
def test_large_windows(run: Run, kind: type[Pool], channels_last: bool) -> None:
    """Of more cells than a byte counts."""
    for op, operands in pooled(kind(17, 3, 2, "up"), (1, 4, 19, 20)).items():
        agree(run, op, operands, channels_last=channels_last)


@TARGETS
@KINDS
@pytest.mark.parametrize("channels", [2, 4, 8, 16])
def test_channels_that_fill_a_vector(run: Run, kind: type[Pool], channels: int) -> None:
    """Where compilers look across windows."""
    for size, stride in ((3, 2), (2, 1), (3, 1)):
        for op, operands in pooled(kind(size, stride), (1, channels, 7, 5)).items():
            agree(run, op, operands)


@TARGETS
@KINDS
@pytest.mark.parametrize("first", [True, False])
def test_layouts_that_differ(run: Run, kind: type[Pool], first: bool) -> None:
    for op, operands in pooled(kind(3, 2, 1), (2, 18, 5, 7)).items():
        agree(run, op, operands, channels_last=mixed(op, operands, first))


# --- the largest ------------------------------------------------------------------------------------------------------


@TARGETS
@BOTH
@pytest.mark.parametrize("pad", [0, 1])
def test_the_largest_of_what_is_not_finite(run: Run, pad: int, channels_last: bool) -> None:
    """NaN comes through, the first of several; of equals the first; where all is -infinity, the first in the map."""
    values = [NAN, INF, -INF, 0.0, 1.0]
    x = np.random.default_rng(3).choice(values, (2, 20, 9, 9), p=[0.05, 0.1, 0.6, 0.15, 0.1])
    x[0, 1] = -INF
    x[1, 2] = NAN
    agree(run, MaxPool(3, 2, pad, "up"), [x], channels_last=channels_last)


@TARGETS
def test_the_first_of_equals(run: Run) -> None:
    x = np.random.default_rng(4).integers(0, 3, (1, 40, 11, 11)).astype("f8")
    agree(run, MaxPool(3, 2), [x])


# --- whole maps -------------------------------------------------------------------------------------------------------


@TARGETS
@BOTH
@pytest.mark.parametrize("shape", [(2, 1, 1, 1), (1, 40, 5, 7), (2, 5, 3, 1), (1, 136, 9, 9)])
def test_the_mean_of_a_map(run: Run, shape: tuple[int, ...], channels_last: bool) -> None:
    agree(run, GlobalAvgPool(), [normal(*shape)], channels_last=channels_last)
    agree(run, GlobalAvgPoolGrad(shape[2:]), [normal(*shape[:2])], channels_last=channels_last)


@TARGETS
@BOTH
def test_a_large_mean_keeps_its_digits(run: Run, channels_last: bool) -> None:
    x = 1000 + np.random.default_rng(5).random((1, 3, 112, 112))
    agree(run, GlobalAvgPool(), [x], channels_last=channels_last)
    agree(run, AvgPool(112), [x], channels_last=channels_last)


# --- behind -----------------------------------------------------------------------------------------------------------


@TARGETS
@BOTH
@pytest.mark.parametrize("channels", [3, 8, 32])
def test_masks_behind_gradients(run: Run, channels: int, channels_last: bool) -> None:
    for kind, mask in ((MaxPool, ReluGrad()), (AvgPool, TanhGrad()), (L2Pool, ReluGrad())):
        gradient, operands = list(pooled(kind(3, 2, 1), (2, channels, 7, 5)).items())[1]
        agree(run, *masked(gradient, operands, mask), channels_last=channels_last)
    agree(run, *masked(GlobalAvgPoolGrad((2, 3)), [normal(2, channels)], ReluGrad()), channels_last=channels_last)


@TARGETS
def test_an_op_behind_means(run: Run) -> None:
    for op in (AvgPool(2), L2Pool(2), GlobalAvgPool()):
        agree(run, Fused("own", (Part(op, (0,)), Part(Relu(), (1,))), (2,)), [normal(2, 20, 4, 6)])
