"""Poolings mean what their ops mean, whatever the windows, the layout and the stored types."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alexnet_ir.backends.cuda.emitters import pooling, units
from alexnet_ir.backends.cuda.host.machine import HostMachine
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

from ...ops.op_table import ROWS, Row
from . import running
from .running import expected, needs_gxx, run

pytestmark = needs_gxx

NEAR: dict[Stored, float] = {"f32": 2e-6, "tf32": 1e-3, "bf16": 8e-3}
BOTH = pytest.mark.parametrize("channels_last", [True, False], ids=["last", "first"])
NAN, INF = float("nan"), float("inf")


def agree(op: Op, operands: Sequence[Array], stored: Stored | Sequence[Stored] = "f32", **options: Any) -> None:
    """The results are the reference's, of operands so stored."""
    found = run(op, operands, stored=stored, **options)
    for result, exact in zip(found, expected(op, operands, stored), strict=True):
        said = f"{op} {stored} {options}"
        if exact.dtype.kind != "f":
            np.testing.assert_array_equal(result, exact, err_msg=said)
            continue
        near, size = NEAR[options.get("result_stored", "f32")], np.abs(exact[np.isfinite(exact)]).max(initial=1e-3)
        np.testing.assert_allclose(result, exact, rtol=near, atol=near * size, err_msg=said)


def normal(*shape: int, seed: int = 0) -> Array:
    """The same numbers every time."""
    return np.random.default_rng(seed).standard_normal(shape)


def pooled(op: Pool, shape: tuple[int, ...], seed: int = 0) -> dict[Op, list[Array]]:
    """A pooling of maps of this shape and its gradient, with operands."""
    x = normal(*shape, seed=seed)
    found = expected(op, [x])
    g = normal(*found[0].shape, seed=seed + 1)
    options: dict[str, Any] = {"input_size": shape[2:]}
    if isinstance(op, MaxPool):
        return {op: [x], MaxPoolGrad(op.size, op.stride, op.pad, op.round, **options): [g, found[1]]}
    if isinstance(op, L2Pool):
        return {op: [x], L2PoolGrad(op.size, op.stride, op.pad, op.round, **options): [g, x, found[0]]}
    assert isinstance(op, AvgPool)
    options["count_pad"] = op.count_pad
    return {op: [x], AvgPoolGrad(op.size, op.stride, op.pad, op.round, **options): [g]}


def mix_layouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on every other tensor that an op meets lies channels first."""
    count, usual = itertools.count(), running.layouts
    monkeypatch.setattr(running, "layouts", lambda types, stored, _: usual(types, stored, next(count) % 2 == 0))


def floats(operands: Sequence[Array], stored: Stored) -> list[Stored]:
    """What operands are stored as, if floats are stored so."""
    kept: dict[str, Stored] = {"uint8": "u8", "int32": "i32"}
    return [kept.get(operand.dtype.name, stored) for operand in operands]


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
    shape = (draw(st.integers(1, 2)), draw(st.sampled_from([1, 3, 4, 6])), *(k + draw(st.integers(0, 5)) for k in size))
    for op, operands in pooled(kind(size, stride, **options), shape).items():
        agree(op, operands, channels_last=draw(st.booleans()))


@pytest.mark.parametrize(("channels", "stored"), [(16, "bf16"), (12, "bf16"), (6, "bf16"), (12, "tf32"), (7, "bf16")])
def test_channels_side_by_side(channels: int, stored: Stored) -> None:
    """8, 4, 2 and 1 of them to a thread."""
    for kind in (MaxPool, AvgPool, L2Pool):
        for op, operands in pooled(kind(3, 2, 1, "up"), (2, channels, 6, 7)).items():
            agree(op, operands, floats(operands, stored), result_stored=stored)


def test_bytes_and_floats_of_two_sizes() -> None:
    """The narrower says how many channels a thread moves."""
    for op, operands in pooled(MaxPool(3, 2), (1, 16, 7, 7)).items():
        agree(op, operands, floats(operands, "bf16"), result_stored="f32")
        agree(op, operands, floats(operands, "f32"), result_stored="bf16")


def test_more_channels_than_threads() -> None:
    for op, operands in pooled(MaxPool(2), (1, 1031, 2, 4)).items():
        agree(op, operands)


@BOTH
def test_windows_of_more_cells_than_a_byte_counts(channels_last: bool) -> None:
    for op, operands in pooled(MaxPool(17, 3, 2, "up"), (1, 4, 19, 20)).items():
        agree(op, operands, floats(operands, "f32"), channels_last=channels_last)


@BOTH
def test_images_taken_in_turns(channels_last: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a grid had no more than two blocks in its second dimension."""
    monkeypatch.setattr(units, "IMAGES", 2)
    monkeypatch.setattr(pooling, "IMAGES", 2)
    machine = HostMachine(check=True, order="shuffled", seed=3)
    for kind in (MaxPool, AvgPool, L2Pool):
        for op, operands in pooled(kind(2), (5, 3, 4, 4)).items():
            agree(op, operands, channels_last=channels_last)
    agree(GlobalAvgPool(), [normal(5, 3, 4, 4)], channels_last=channels_last, machine=machine)
    agree(GlobalAvgPoolGrad((3, 2)), [normal(5, 3)], channels_last=channels_last)


def test_layouts_that_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    mix_layouts(monkeypatch)
    for kind in (MaxPool, AvgPool, L2Pool):
        for op, operands in pooled(kind(3, 2, 1), (2, 8, 5, 7)).items():
            agree(op, operands)


# --- the largest ------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("pad", [0, 1])
def test_the_largest_of_what_is_not_finite(pad: int, channels_last: bool) -> None:
    """NaN comes through, the first of several; of equals the first; where all is -infinity, the first in the map."""
    x = np.random.default_rng(3).choice(
        [NAN, INF, -INF, -INF, 0.0, 1.0], (2, 4, 9, 9), p=[0.05, 0.1, 0.3, 0.3, 0.15, 0.1]
    )
    x[0, 1] = -INF
    x[1, 2] = NAN
    agree(MaxPool(3, 2, pad, "up"), [x], channels_last=channels_last)


def test_the_first_of_equals() -> None:
    x = np.random.default_rng(4).integers(0, 3, (1, 8, 11, 11)).astype("f8")
    agree(MaxPool(3, 2), [x], "bf16", result_stored="bf16")


# --- whole maps -------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("shape", [(2, 1, 1, 1), (1, 40, 5, 7), (2, 5, 3, 1), (1, 136, 9, 9)])
def test_the_mean_of_a_map(shape: tuple[int, ...], channels_last: bool) -> None:
    agree(GlobalAvgPool(), [normal(*shape)], channels_last=channels_last)
    agree(GlobalAvgPool(), [normal(*shape)], "bf16", channels_last=channels_last)
    agree(GlobalAvgPoolGrad(shape[2:]), [normal(*shape[:2])], result_stored="bf16", channels_last=channels_last)


@BOTH
def test_a_large_mean_keeps_its_digits(channels_last: bool) -> None:
    x = 1000 + np.random.default_rng(5).random((1, 3, 112, 112))
    agree(GlobalAvgPool(), [x], channels_last=channels_last)
    agree(AvgPool(112), [x], channels_last=channels_last)


# --- behind and around ------------------------------------------------------------------------------------------------


def masked(op: Op, operands: Sequence[Array], mask: Op) -> tuple[Fused, list[Array]]:
    """A gradient with a mask behind it."""
    count = len(operands)
    (shape,) = (found.shape for found in expected(op, operands))
    parts = (Part(op, tuple(range(count))), Part(mask, (count + 1, count)))
    return Fused("grad_relu", parts, (count + 2,)), [*operands, normal(*shape, seed=9)]


@BOTH
@pytest.mark.parametrize("channels", [3, 8])
def test_masks_behind_gradients(channels: int, channels_last: bool) -> None:
    for kind, mask in ((MaxPool, ReluGrad()), (AvgPool, TanhGrad()), (L2Pool, ReluGrad())):
        gradient, operands = list(pooled(kind(3, 2, 1), (2, channels, 7, 5)).items())[1]
        op, given_ = masked(gradient, operands, mask)
        agree(op, given_, channels_last=channels_last)
    op, given_ = masked(GlobalAvgPoolGrad((2, 3)), [normal(2, channels)], ReluGrad())
    agree(op, given_, channels_last=channels_last)


def test_an_op_behind_means() -> None:
    for op in (AvgPool(2), L2Pool(2), GlobalAvgPool()):
        agree(Fused("own", (Part(op, (0,)), Part(Relu(), (1,))), (2,)), [normal(2, 4, 4, 6)])


@BOTH
def test_every_access_is_looked_at(channels_last: bool) -> None:
    """Of one small case of each kernel, threads in another order."""
    machine = HostMachine(check=True, order="shuffled", seed=7)
    for kind in (MaxPool, AvgPool, L2Pool):
        for op, operands in pooled(kind(3, 2, 1, "up"), (1, 4, 6, 4)).items():
            agree(op, operands, channels_last=channels_last, machine=machine)
    agree(GlobalAvgPool(), [normal(2, 4, 3, 5)], channels_last=channels_last, machine=machine)
    agree(GlobalAvgPoolGrad((3, 2)), [normal(2, 4)], channels_last=channels_last, machine=machine)


@pytest.mark.parametrize("shape", [(1, 96, 55, 55), (1, 256, 27, 27), (1, 256, 13, 13)])
def test_the_sizes_of_alexnet(shape: tuple[int, ...]) -> None:
    (forward, x), (backward, operands) = pooled(MaxPool(3, 2), shape).items()
    agree(forward, x, "bf16", result_stored="bf16")
    op, given_ = masked(backward, operands, ReluGrad())
    agree(op, given_, floats(given_, "bf16"), result_stored="bf16")
