"""Local response normalisation means what its ops mean, alone and with the max pooling behind it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alexnet_ir.backends.cuda.emit import emit
from alexnet_ir.backends.cuda.emitters import normalize, pooling, units
from alexnet_ir.backends.cuda.emitters.map_tiles import Tiling
from alexnet_ir.backends.cuda.emitters.units import Units
from alexnet_ir.backends.cuda.gpu import GPUS, Gpu
from alexnet_ir.backends.cuda.host.machine import HostMachine
from alexnet_ir.backends.cuda.site import site_of
from alexnet_ir.backends.emission.commands import Emission
from alexnet_ir.ir.layout import Layout, Stored
from alexnet_ir.ir.op import Op
from alexnet_ir.ir.types import f32
from alexnet_ir.ops.elementwise import ReluGrad
from alexnet_ir.ops.normalize import Lrn
from alexnet_ir.ops.pool import MaxPool

from ..test_normalize import LOCAL, PAPER, POOLED, STRONG, backward, both_ways, forward, together
from ..test_pooling import BOTH, agree
from .running import needs_gxx, run

pytestmark = needs_gxx

CRAMPED: Gpu = replace(GPUS["sm_75"], shared=2048)
"""A GPU that there is not, on which tiles are small."""


# --- alone ------------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(("channels", "groups"), [(16, 1), (24, 2), (12, 2), (7, 1)])
def test_groups_and_channels_side_by_side_in_bf16(channels: int, groups: int, channels_last: bool) -> None:
    op = replace(STRONG, groups=groups)
    both_ways(run, op, (2, channels, 3, 5), stored="bf16", result_stored="bf16", channels_last=channels_last)


@BOTH
@pytest.mark.parametrize("stored", ["f32", "bf16"])
@pytest.mark.parametrize("shape", [(2, 16, 18, 17), (1, 5, 9, 20)])
def test_within_maps(shape: tuple[int, ...], stored: Stored, channels_last: bool) -> None:
    both_ways(run, LOCAL, shape, stored=stored, result_stored=stored, channels_last=channels_last)


@BOTH
def test_images_taken_in_turns(channels_last: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a grid had no more than two blocks in its second dimension."""
    for module in (units, normalize, pooling):
        monkeypatch.setattr(module, "IMAGES", 2)
    machine = HostMachine(check=True, order="shuffled", seed=6)
    options: dict[str, Any] = {"channels_last": channels_last, "machine": machine}
    both_ways(run, STRONG, (5, 6, 3, 2), **options)
    both_ways(run, LOCAL, (5, 6, 3, 2), **options)
    for op, operands in together(STRONG, MaxPool(2, 1), (5, 6, 3, 2)):
        agree(run, op, operands, **options)


# --- with the pooling -------------------------------------------------------------------------------------------------


@BOTH
@POOLED
def test_normalised_and_pooled(pool: MaxPool, shape: tuple[int, ...], groups: int, channels_last: bool) -> None:
    norm = replace(STRONG, groups=groups)
    agree(run, *forward(norm, pool, shape), channels_last=channels_last)
    agree(run, *backward(norm, pool, shape, ReluGrad()), channels_last=channels_last)
    agree(run, *backward(norm, pool, shape), channels_last=channels_last)


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("channels", [16, 20])
def test_both_in_bf16(channels: int, mask: bool) -> None:
    norm, pool, shape = STRONG, MaxPool(3, 2), (2, channels, 7, 9)
    for op, operands in (forward(norm, pool, shape), backward(norm, pool, shape, *[ReluGrad()] * mask)):
        agree(run, op, operands, stored="bf16", result_stored="bf16")


@BOTH
def test_small_tiles(channels_last: bool) -> None:
    """Several tiles along each axis, and chunks of channels that do not come out even."""
    options: dict[str, Any] = {"gpu": CRAMPED, "channels_last": channels_last, "machine": HostMachine(check=True)}
    case = forward(STRONG, MaxPool(3, 2), (1, 36, 7, 11))
    agree(run, *case, **options)
    options["gpu"] = replace(CRAMPED, shared=8192)
    both_ways(run, LOCAL, (1, 36, 5, 10), **options)


@BOTH
def test_one_kernel_after_the_other(channels_last: bool) -> None:
    """Within maps; and where no tile fits into shared memory."""
    case = forward(LOCAL, MaxPool(3, 2), (1, 8, 7, 7))
    agree(run, *case, channels_last=channels_last)
    case = forward(STRONG, MaxPool(3, 2), (1, 8, 7, 7))
    agree(run, *case, gpu=replace(CRAMPED, shared=128), channels_last=channels_last)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
@given(st.data())
def test_shapes_that_vary(data: st.DataObject) -> None:
    draw = data.draw
    groups, per_group = draw(st.integers(1, 3)), draw(st.integers(1, 6))
    norm = Lrn(draw(st.sampled_from([1, 3, 5, 7])), 2, 0.3, 0.75, groups)
    size, stride = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    pool = MaxPool(size, stride, draw(st.integers(0, size - 1)), draw(st.sampled_from(["down", "up"])))
    shape = (
        draw(st.integers(1, 2)),
        groups * per_group,
        size + draw(st.integers(0, 6)),
        size + draw(st.integers(0, 6)),
    )
    channels_last, gpu = draw(st.booleans()), draw(st.sampled_from([CRAMPED, GPUS["sm_90"]]))
    for op, operands in together(norm, pool, shape):
        agree(run, op, operands, gpu=gpu, channels_last=channels_last)


# --- checks -----------------------------------------------------------------------------------------------------------


@BOTH
def test_every_access_is_looked_at(channels_last: bool) -> None:
    """Of one small case of each kernel, threads in another order."""
    machine = HostMachine(check=True, order="shuffled", seed=5)
    options: dict[str, Any] = {"channels_last": channels_last, "machine": machine}
    both_ways(run, STRONG, (1, 8, 3, 5), **options)
    both_ways(run, LOCAL, (1, 4, 3, 5), gpu=CRAMPED, **options)
    for op, operands in together(STRONG, MaxPool(3, 2, 1, "up"), (1, 8, 6, 7)):
        agree(run, op, operands, gpu=CRAMPED, **options)


# --- tiles ------------------------------------------------------------------------------------------------------------


def emitted(op: Op, shape: tuple[int, ...], gpu: Gpu) -> Emission:
    """Of maps channels last in f32."""
    types = [f32(*shape)]
    results = [t for t in op.infer(types) if not isinstance(t, str)]
    layouts = [Layout("f32" if t.dtype == "f32" else "u8", True) for t in (*types, *results)]  # type: ignore[union-attr]
    return emit(site_of(op, [(types[0], layouts[0])], list(zip(results, layouts[1:], strict=True)), gpu, "fp32"))  # type: ignore[arg-type]


@pytest.mark.parametrize("arch", GPUS)
def test_alexnets_maps_are_read_little_more_than_once(arch: str) -> None:
    for shape in ((1, 96, 55, 55), (1, 256, 27, 27)):
        op, _ = forward(PAPER, MaxPool(3, 2), shape)
        (launch,) = emitted(op, shape, GPUS[arch]).commands
        assert launch.shared <= GPUS[arch].shared // 2, "two blocks fit side by side"
        over = Units(4, True)
        tiling = Tiling(over, shape[1], ((shape[2] - 1) // 2, (shape[3] - 1) // 2), (3, 3), (2, 2), 2)
        tile = tiling.best(GPUS[arch].shared)
        assert tile is not None
        assert tiling.blocks(tile) * tile.nbytes <= 1.6 * 4 * np.prod(shape)


def test_tiles_fit_and_are_whole_units() -> None:
    for width, channels, size, stride in itertools.product([1, 4, 8], [8, 24, 40], [2, 5], [1, 3]):
        tiling = Tiling(Units(width, True), channels, (9, 4), (size, size), (stride, stride))
        for shared in (1024, 16384):
            tile = tiling.best(shared)
            if tile is None:
                assert 4 * width * size * size > shared
                continue
            assert tile.nbytes <= shared
            assert tile.channels % width == 0
