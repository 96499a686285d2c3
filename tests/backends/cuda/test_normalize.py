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
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ir.types import f32
from alexnet_ir.ops.elementwise import Relu, ReluGrad, TanhGrad
from alexnet_ir.ops.fused import Fused, Part
from alexnet_ir.ops.normalize import LocalNorm, LocalNormGrad, Lrn, LrnGrad
from alexnet_ir.ops.pool import MaxPool, MaxPoolGrad

from ...ops.op_table import ROWS, Row
from .running import expected, needs_gxx, run
from .test_pooling import BOTH, INF, NAN, agree, floats, masked, mix_layouts, normal

pytestmark = needs_gxx

PAPER = Lrn(5, 2, 1e-4, 0.75)
STRONG = Lrn(5, 2, 0.3, 0.75)
"""Of which the neighbours matter."""
CRAMPED: Gpu = replace(GPUS["sm_75"], shared=2048)
"""A GPU that there is not, on which tiles are small."""


def gradient(op: Lrn | LocalNorm) -> LrnGrad | LocalNormGrad:
    """Of a normalisation."""
    if isinstance(op, Lrn):
        return LrnGrad(op.n, op.k, op.alpha, op.beta, op.groups)
    return LocalNormGrad(op.size, op.k, op.alpha, op.beta)


def both_ways(op: Lrn | LocalNorm, shape: tuple[int, ...], stored: Stored = "f32", **options: Any) -> None:
    """The normalisation and its gradient agree."""
    g, x = normal(*shape, seed=1), normal(*shape, seed=2)
    agree(op, [x], stored, **options)
    agree(gradient(op), [g, x], stored, **options)


# --- alone ------------------------------------------------------------------------------------------------------------

NORMALIZATIONS = [row for row in ROWS if type(row.op) in normalize.EMITTERS]


@BOTH
@pytest.mark.parametrize("row", NORMALIZATIONS, ids=lambda row: row.id)
def test_the_table(row: Row, channels_last: bool) -> None:
    agree(row.op, row.arrays(), channels_last=channels_last)


@BOTH
@pytest.mark.parametrize("stored", ["f32", "bf16"])
@pytest.mark.parametrize(("channels", "groups"), [(16, 1), (24, 2), (12, 2), (7, 1)])
def test_groups_and_channels_side_by_side(channels: int, groups: int, stored: Stored, channels_last: bool) -> None:
    op = replace(STRONG, groups=groups)
    both_ways(op, (2, channels, 3, 5), stored, result_stored=stored, channels_last=channels_last)


@BOTH
def test_more_channels_than_threads(channels_last: bool) -> None:
    both_ways(STRONG, (1, 1031, 2, 3), channels_last=channels_last)


@pytest.mark.parametrize("beta", [0.5, 0.6, 1.0, 2.0])
def test_exponents(beta: float) -> None:
    both_ways(replace(STRONG, beta=beta), (1, 8, 3, 3))
    both_ways(LocalNorm(3, 1, 0.5, beta), (1, 8, 3, 3))


@BOTH
def test_wide_windows(channels_last: bool) -> None:
    both_ways(replace(STRONG, n=25), (1, 40, 2, 3), channels_last=channels_last)
    both_ways(LocalNorm(9, 1, 0.1, 0.75), (1, 3, 7, 10), channels_last=channels_last)


@BOTH
@pytest.mark.parametrize("stored", ["f32", "bf16"])
@pytest.mark.parametrize("shape", [(2, 16, 18, 17), (1, 5, 9, 20)])
def test_within_maps(shape: tuple[int, ...], stored: Stored, channels_last: bool) -> None:
    both_ways(LocalNorm(3, 1, 0.3, 0.75), shape, stored, result_stored=stored, channels_last=channels_last)


@BOTH
@pytest.mark.filterwarnings("ignore:invalid value")
def test_what_is_not_finite(channels_last: bool) -> None:
    """Of squares too large for a float nothing is left, and NaN reaches its neighbours."""
    x = normal(1, 16, 2, 3)
    x[0, 3, 0, 0], x[0, 9, 1, 1], x[0, 13, 0, 2], x[0, 5, 1, 2] = 1e35, NAN, INF, -INF
    for op in (STRONG, replace(STRONG, beta=0.6), LocalNorm(3, 1, 0.3, 0.75)):
        (found,), (exact,) = run(op, [x], channels_last=channels_last), expected(op, [x])
        np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-5)


@BOTH
def test_images_taken_in_turns(channels_last: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a grid had no more than two blocks in its second dimension."""
    for module in (units, normalize, pooling):
        monkeypatch.setattr(module, "IMAGES", 2)
    machine = HostMachine(check=True, order="shuffled", seed=6)
    options: dict[str, Any] = {"channels_last": channels_last, "machine": machine}
    both_ways(STRONG, (5, 6, 3, 2), **options)
    both_ways(LocalNorm(3, 1, 0.3, 0.75), (5, 6, 3, 2), **options)
    for op, operands in together(STRONG, MaxPool(2, 1), (5, 6, 3, 2)):
        agree(op, operands, **options)


def test_layouts_that_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    mix_layouts(monkeypatch)
    both_ways(STRONG, (2, 8, 3, 5))
    both_ways(LocalNorm(3, 1, 0.3, 0.75), (2, 8, 3, 5))
    for op, operands in together(STRONG, MaxPool(3, 2), (1, 8, 5, 7)):
        agree(op, operands)


@BOTH
@pytest.mark.parametrize("op", [STRONG, LocalNorm(3, 1, 0.3, 0.75)], ids=str)
def test_ops_behind(op: Lrn | LocalNorm, channels_last: bool) -> None:
    g, x = normal(2, 8, 3, 5, seed=1), normal(2, 8, 3, 5, seed=2)
    for mask in (ReluGrad(), TanhGrad()):
        fused, operands = masked(gradient(op), [g, x], mask)
        agree(fused, operands, channels_last=channels_last)
    agree(Fused("own", (Part(op, (0,)), Part(Relu(), (1,))), (2,)), [x], channels_last=channels_last)


# --- with the pooling -------------------------------------------------------------------------------------------------

Case = tuple[Fused, list[Array]]


def together(norm: Lrn | LocalNorm, pool: MaxPool, shape: tuple[int, ...], mask: bool = True) -> tuple[Case, Case]:
    """The normalisation with the pooling, and their gradients, of a relu's output."""
    x = np.maximum(normal(*shape, seed=3), 0)
    forward = Fused("lrn_maxpool", (Part(norm, (0,)), Part(pool, (1,))), (2, 3), ("argmax",))
    y, argmax = expected(forward, [x])
    pool_grad = MaxPoolGrad(pool.size, pool.stride, pool.pad, pool.round, input_size=(shape[2], shape[3]))
    parts = [Part(pool_grad, (0, 1)), Part(gradient(norm), (3, 2)), *[Part(ReluGrad(), (4, 2))] * mask]
    backward = Fused("maxpool_lrn_grad", tuple(parts), (2 + len(parts),))
    return (forward, [x]), (backward, [normal(*y.shape, seed=4), argmax, x])


@BOTH
@pytest.mark.parametrize(
    ("pool", "shape", "groups"),
    [
        (MaxPool(3, 2), (2, 16, 9, 11), 2),
        (MaxPool(3, 2, 1, "up"), (1, 12, 8, 7), 1),
        (MaxPool(2), (1, 6, 6, 4), 1),
        (MaxPool(2, 3), (1, 1, 8, 5), 1),
        (MaxPool((3, 2), (2, 1), ((0, 2), (1, 0))), (1, 7, 5, 4), 1),
        (MaxPool(17, 2, 3, "up"), (1, 3, 18, 20), 1),
    ],
    ids=str,
)
def test_normalised_and_pooled(pool: MaxPool, shape: tuple[int, ...], groups: int, channels_last: bool) -> None:
    forward, backward = together(replace(STRONG, groups=groups), pool, shape)
    agree(*forward, channels_last=channels_last)
    agree(*backward, channels_last=channels_last)


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("channels", [16, 20])
def test_both_in_bf16(channels: int, mask: bool) -> None:
    for op, operands in together(STRONG, MaxPool(3, 2), (2, channels, 7, 9), mask):
        agree(op, operands, floats(operands, "bf16"), result_stored="bf16")


@BOTH
def test_small_tiles(channels_last: bool) -> None:
    """Several tiles along each axis, and chunks of channels that do not come out even."""
    options: dict[str, Any] = {"gpu": CRAMPED, "channels_last": channels_last, "machine": HostMachine(check=True)}
    forward, _ = together(STRONG, MaxPool(3, 2), (1, 36, 7, 11))
    agree(*forward, **options)
    options["gpu"] = replace(CRAMPED, shared=8192)
    both_ways(LocalNorm(3, 1, 0.3, 0.75), (1, 36, 5, 10), **options)


def test_where_nobody_reads_the_argmax() -> None:
    (op, operands), _ = together(STRONG, MaxPool(3, 2), (1, 8, 7, 7))
    agree(replace(op, yields=(2,), names=()), operands)
    (op, operands), _ = together(LocalNorm(3, 1, 0.3, 0.75), MaxPool(3, 2), (1, 8, 7, 7))
    agree(replace(op, yields=(2,), names=()), operands)


@BOTH
def test_one_kernel_after_the_other(channels_last: bool) -> None:
    """Within maps; and where no tile fits into shared memory."""
    forward, _ = together(LocalNorm(3, 1, 0.3, 0.75), MaxPool(3, 2), (1, 8, 7, 7))
    agree(*forward, channels_last=channels_last)
    forward, _ = together(STRONG, MaxPool(3, 2), (1, 8, 7, 7))
    agree(*forward, gpu=replace(CRAMPED, shared=128), channels_last=channels_last)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_not_finite_and_pooled() -> None:
    """NaN wins; of -infinity, which becomes NaN, too; squares too large for a float leave zeros."""
    (op, (x,)), _ = together(STRONG, MaxPool(3, 2), (1, 8, 7, 7))
    x[0, 3, 2, 2], x[0, 6, 4, 4], x[0, 1, 6, 6], x[0, 0, 0, 0] = NAN, INF, -INF, 1e35
    agree(op, [x])


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
        agree(op, operands, gpu=gpu, channels_last=channels_last)


# --- checks -----------------------------------------------------------------------------------------------------------


@BOTH
def test_every_access_is_looked_at(channels_last: bool) -> None:
    """Of one small case of each kernel, threads in another order."""
    machine = HostMachine(check=True, order="shuffled", seed=5)
    options: dict[str, Any] = {"channels_last": channels_last, "machine": machine}
    both_ways(STRONG, (1, 8, 3, 5), **options)
    both_ways(LocalNorm(3, 1, 0.3, 0.75), (1, 4, 3, 5), gpu=CRAMPED, **options)
    for op, operands in together(STRONG, MaxPool(3, 2, 1, "up"), (1, 8, 6, 7)):
        agree(op, operands, gpu=CRAMPED, **options)


@pytest.mark.parametrize(("shape", "groups"), [((1, 96, 55, 55), 2), ((1, 256, 27, 27), 2)])
def test_the_sizes_of_alexnet(shape: tuple[int, ...], groups: int) -> None:
    for op, operands in together(replace(PAPER, groups=groups), MaxPool(3, 2), shape):
        agree(op, operands)


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
        (op, _), _ = together(PAPER, MaxPool(3, 2), shape)
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
