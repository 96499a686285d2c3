"""Poolings mean what their ops mean, whatever the windows, the layout and the stored types."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alexnet_ir.backends.cuda.emitters import pooling, units
from alexnet_ir.backends.cuda.host.machine import HostMachine
from alexnet_ir.ir.layout import Stored
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ops.elementwise import ReluGrad
from alexnet_ir.ops.pool import AvgPool, GlobalAvgPool, GlobalAvgPoolGrad, L2Pool, MaxPool

from ..test_pooling import BOTH, agree, masked, normal, pooled, poolings
from .running import needs_gxx, run

pytestmark = needs_gxx


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
@given(poolings(), st.booleans())
def test_windows_that_vary(cases: dict[Op, list[Array]], channels_last: bool) -> None:
    for op, operands in cases.items():
        agree(run, op, operands, channels_last=channels_last)


@pytest.mark.parametrize(("channels", "stored"), [(16, "bf16"), (12, "bf16"), (6, "bf16"), (12, "tf32"), (7, "bf16")])
def test_channels_side_by_side(channels: int, stored: Stored) -> None:
    """8, 4, 2 and 1 of them to a thread."""
    for kind in (MaxPool, AvgPool, L2Pool):
        for op, operands in pooled(kind(3, 2, 1, "up"), (2, channels, 6, 7)).items():
            agree(run, op, operands, stored=stored, result_stored=stored)


def test_bytes_and_floats_of_two_sizes() -> None:
    """The narrower says how many channels a thread moves."""
    for op, operands in pooled(MaxPool(3, 2), (1, 16, 7, 7)).items():
        agree(run, op, operands, stored="bf16", result_stored="f32")
        agree(run, op, operands, stored="f32", result_stored="bf16")


@BOTH
def test_images_taken_in_turns(channels_last: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a grid had no more than two blocks in its second dimension."""
    monkeypatch.setattr(units, "IMAGES", 2)
    monkeypatch.setattr(pooling, "IMAGES", 2)
    machine = HostMachine(check=True, order="shuffled", seed=3)
    for kind in (MaxPool, AvgPool, L2Pool):
        for op, operands in pooled(kind(2), (5, 3, 4, 4)).items():
            agree(run, op, operands, channels_last=channels_last)
    agree(run, GlobalAvgPool(), [normal(5, 3, 4, 4)], channels_last=channels_last, machine=machine)
    agree(run, GlobalAvgPoolGrad((3, 2)), [normal(5, 3)], channels_last=channels_last)


def test_the_first_of_equals() -> None:
    x = np.random.default_rng(4).integers(0, 3, (1, 8, 11, 11)).astype("f8")
    agree(run, MaxPool(3, 2), [x], stored="bf16", result_stored="bf16")


@BOTH
@pytest.mark.parametrize("shape", [(2, 1, 1, 1), (1, 40, 5, 7), (2, 5, 3, 1), (1, 136, 9, 9)])
def test_the_mean_of_a_map(shape: tuple[int, ...], channels_last: bool) -> None:
    agree(run, GlobalAvgPool(), [normal(*shape)], stored="bf16", channels_last=channels_last)
    agree(run, GlobalAvgPoolGrad(shape[2:]), [normal(*shape[:2])], result_stored="bf16", channels_last=channels_last)


@BOTH
def test_every_access_is_looked_at(channels_last: bool) -> None:
    """Of one small case of each kernel, threads in another order."""
    machine = HostMachine(check=True, order="shuffled", seed=7)
    for kind in (MaxPool, AvgPool, L2Pool):
        for op, operands in pooled(kind(3, 2, 1, "up"), (1, 4, 6, 4)).items():
            agree(run, op, operands, channels_last=channels_last, machine=machine)
    agree(run, GlobalAvgPool(), [normal(2, 4, 3, 5)], channels_last=channels_last, machine=machine)
    agree(run, GlobalAvgPoolGrad((3, 2)), [normal(2, 4)], channels_last=channels_last, machine=machine)


@pytest.mark.parametrize("shape", [(1, 96, 55, 55), (1, 256, 27, 27), (1, 256, 13, 13)])
def test_the_sizes_of_alexnet(shape: tuple[int, ...]) -> None:
    (forward, x), (backward, operands) = pooled(MaxPool(3, 2), shape).items()
    agree(run, forward, x, stored="bf16", result_stored="bf16")
    op, given_ = masked(backward, operands, ReluGrad())
    agree(run, op, given_, stored="bf16", result_stored="bf16")
