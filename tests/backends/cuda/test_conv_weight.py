"""The filter gradient on tensor cores against what the op means, for every way that its operands can lie."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet_ir.backends.cuda import nvrtc
from alexnet_ir.backends.cuda.emitters import conv_weight
from alexnet_ir.backends.cuda.emitters.tiles import Choice, occupancy
from alexnet_ir.backends.cuda.gpu import GPUS, Precision
from alexnet_ir.backends.cuda.host.machine import HostMachine
from alexnet_ir.backends.emission.commands import Emission, Launch
from alexnet_ir.ir.layout import Layout, Stored
from alexnet_ir.ir.op import Array
from alexnet_ir.ir.types import f32
from alexnet_ir.ops.conv import ConvGradWeight

from .running import emitted, expected, needs_gxx, run
from .test_nvrtc import needs_nvrtc

STORED: dict[Precision, Stored] = {"fp32": "f32", "tf32": "tf32", "bf16": "bf16"}
TOLERANCE: dict[Precision, float] = {"fp32": 2e-6, "tf32": 1e-5, "bf16": 1e-5}
"""Of the largest element; operands are rounded before, the reference's too."""
PRECISIONS = pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])


@dataclass(frozen=True)
class Case:
    """A gradient of `kernels` of this size over an input [n, c, h, w]."""

    op: ConvGradWeight
    input: tuple[int, int, int, int]
    kernels: int

    @property
    def grad(self) -> tuple[int, int, int, int]:
        """The shape of the output's gradient."""
        return (self.input[0], self.kernels, *self.op.windows(self.input[2:], self.op.size).output)

    def operands(self, seed: int = 0) -> list[Array]:
        """Drawn from the normal distribution."""
        rng = np.random.default_rng(seed)
        return [rng.standard_normal(shape).astype(np.float32) for shape in (self.grad, self.input)]

    def emission(self, precision: Precision, gpu: str = "sm_90", last: bool = True) -> Emission:
        """What is emitted for it."""
        types = [f32(*self.grad), f32(*self.input)]
        result = f32(self.kernels, self.input[1] // self.op.groups, *self.op.size)
        lying = [Layout(STORED[precision], last)] * 2
        return emitted(self.op, types, [result], lying, [Layout("f32", last)], GPUS[gpu], precision)


def case(input: Any, kernels: int, size: Any, stride: Any = 1, pad: Any = 0, groups: int = 1, **more: Any) -> Case:
    """By attributes as they are written."""
    return Case(ConvGradWeight(stride, pad, groups, more.pop("dilation", 1), size=size, **more), input, kernels)


CASES = {
    "one cell": case((1, 1, 1, 1), 1, (1, 1)),
    "one image, odd": case((1, 8, 7, 5), 8, (3, 3), pad=1),
    "1 x 1": case((3, 24, 5, 3), 40, (1, 1)),
    "1 x 1, stride": case((2, 8, 5, 7), 8, (1, 1), stride=2),
    "groups": case((2, 32, 5, 4), 48, (3, 2), pad=((1, 0), (0, 2)), groups=2),
    "stride": case((2, 8, 9, 7), 16, (3, 3), stride=2, pad=1),
    "dilation": case((2, 8, 9, 8), 8, (3, 2), dilation=(2, 3)),
    "round up": case((1, 8, 6, 6), 8, (3, 3), stride=2, round="up"),
    "round up, padded": case((1, 8, 6, 7), 8, (2, 3), stride=3, pad=((0, 1), (1, 0)), round="up"),
    "3 channels": case((2, 3, 9, 8), 6, (3, 3), pad=1),
    "3 channels, stride 4": case((1, 3, 23, 27), 8, (11, 11), stride=4),
    "3 channels, padded": case((2, 3, 12, 12), 10, (5, 5), stride=2, pad=2, round="down"),
    "3 channels, stride, dilation": case((1, 3, 13, 13), 5, (3, 3), stride=2, dilation=2),
    "5 channels, uneven stride": case((1, 5, 13, 8), 7, (4, 3), stride=(3, 1)),
    "alexnet conv1": case((1, 3, 35, 35), 96, (11, 11), stride=4),
    "alexnet conv2": case((1, 96, 7, 6), 256, (5, 5), pad=2, groups=2),
    "alexnet conv3": case((1, 256, 4, 5), 384, (3, 3), pad=1),
    "alexnet conv4": case((1, 384, 4, 5), 384, (3, 3), pad=1, groups=2),
    "alexnet conv5": case((1, 384, 5, 4), 256, (3, 3), pad=1, groups=2),
}
SMALL = [name for name in CASES if not name.startswith("alexnet")]
SPLIT = "groups"
"""A case of several slices and blocks."""


def error(found: Array, case: Case, precision: Precision) -> float:
    """The largest, as a part of the largest element."""
    (exact,) = expected(case.op, case.operands(), STORED[precision])
    return float(np.abs(found - exact).max() / np.abs(exact).max())


@needs_gxx
@PRECISIONS
@pytest.mark.parametrize("name", CASES)
def test_it_is_the_filter_gradient(name: str, precision: Precision) -> None:
    case = CASES[name]
    (found,) = run(case.op, case.operands(), precision=precision, stored=STORED[precision])
    assert error(found, case, precision) < TOLERANCE[precision]
    assert "tensor cores" in case.emission(precision).reason


@needs_gxx
@PRECISIONS
@pytest.mark.parametrize("name", ["groups", "3 channels", "3 channels, stride 4"])
def test_channels_may_come_first(name: str, precision: Precision) -> None:
    case = CASES[name]
    (found,) = run(case.op, case.operands(), precision=precision, stored=STORED[precision], channels_last=False)
    assert error(found, case, precision) < TOLERANCE[precision]


@needs_gxx
@pytest.mark.parametrize("stored", [("f32", "f32"), ("tf32", "f32"), ("bf16", "tf32")])
def test_operands_of_any_stored_type_are_rounded_on_the_way(stored: tuple[Stored, Stored]) -> None:
    case = CASES["stride"]
    as_used: list[Stored] = ["bf16" if s == "bf16" else "tf32" for s in stored]
    (exact,) = expected(case.op, case.operands(), as_used)
    (found,) = run(case.op, case.operands(), precision="tf32", stored=stored)
    assert np.abs(found - exact).max() / np.abs(exact).max() < 1e-5


@needs_gxx
@pytest.mark.parametrize("stored", ["bf16", "tf32"])
def test_the_result_may_be_stored_in_fewer_bits(stored: Stored) -> None:
    case = CASES["stride"]
    (found,) = run(case.op, case.operands(), precision="tf32", stored="tf32", result_stored=stored)
    assert error(found, case, "tf32") < 2**-8


@needs_gxx
@PRECISIONS
def test_threads_in_any_order_make_the_same_bits(precision: Precision) -> None:
    case = CASES[SPLIT]
    found = [
        run(case.op, case.operands(), precision=precision, stored=STORED[precision], machine=HostMachine(order=order))
        for order in ("forward", "reverse", "shuffled")
    ]
    assert all((one[0] == found[0][0]).all() for one in found)


@needs_gxx
@PRECISIONS
@pytest.mark.parametrize("name", ["one image, odd", "groups", "3 channels, stride 4"])
def test_no_access_is_out_of_bounds_or_races(name: str, precision: Precision) -> None:
    case = CASES[name]
    machine = HostMachine(check=True, order="shuffled")
    (found,) = run(case.op, case.operands(), precision=precision, stored=STORED[precision], machine=machine)
    assert error(found, case, precision) < TOLERANCE[precision]


@needs_gxx
def test_three_products_stay_exact_over_a_long_sum() -> None:
    case = Case(ConvGradWeight(size=(1, 1)), (1, 8, 40, 50), 8)
    (found,) = run(case.op, case.operands(), precision="fp32", gpu=replace(GPUS["sm_90"], multiprocessors=1))
    assert error(found, case, "fp32") < 2e-6


LENGTHS = st.integers(1, 3)


@needs_gxx
@settings(max_examples=12, deadline=None)
@given(
    size=st.tuples(LENGTHS, LENGTHS),
    stride=st.tuples(LENGTHS, LENGTHS),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    pads=st.tuples(*[st.integers(0, 2)] * 4),
    groups=st.integers(1, 2),
    channels=st.integers(1, 20),
    kernels=st.integers(1, 20),
    batch=st.integers(1, 2),
    maps=st.tuples(st.integers(5, 9), st.integers(5, 9)),
    round=st.sampled_from(["down", "up"]),
    precision=st.sampled_from(["fp32", "tf32", "bf16"]),
    last=st.booleans(),
)
def test_any_geometry(
    size: Any,
    stride: Any,
    dilation: Any,
    pads: Any,
    groups: int,
    channels: int,
    kernels: int,
    batch: int,
    maps: Any,
    round: str,
    precision: Precision,
    last: bool,
) -> None:
    scale = 8 if groups > 1 else 1
    input = (batch, channels * groups * scale, *maps)
    shape = case(
        input, kernels * groups * scale, size, stride, (pads[:2], pads[2:]), groups, dilation=dilation, round=round
    )
    (found,) = run(shape.op, shape.operands(), precision=precision, stored=STORED[precision], channels_last=last)
    assert error(found, shape, precision) < TOLERANCE[precision]


# --- tiles ------------------------------------------------------------------------------------------------------------


def tiled(monkeypatch: pytest.MonkeyPatch, tile: conv_weight.WeightTile, splits: int = 1) -> None:
    """Have this tile chosen."""

    def chosen(product: Any, site: Any) -> Choice:
        stages, resident = occupancy(tile, site.gpu, site.precision) or (2, 1)
        return Choice(tile, stages, resident, splits, site.precision)

    monkeypatch.setattr(conv_weight, "chosen", chosen)


TILES = [(precision, tile) for precision in STORED for tile in conv_weight.tiles(precision)]
EACH_TILE = pytest.mark.parametrize(("precision", "tile"), TILES, ids=[f"{p}-{t}-{t.warp}" for p, t in TILES])


@needs_gxx
@EACH_TILE
def test_each_tile_multiplies(
    monkeypatch: pytest.MonkeyPatch, precision: Precision, tile: conv_weight.WeightTile
) -> None:
    tiled(monkeypatch, tile)
    shape = case((1, 16, 6, 6), 264, (3, 3), pad=1)
    (found,) = run(shape.op, shape.operands(), precision=precision, stored=STORED[precision])
    assert error(found, shape, precision) < TOLERANCE[precision]


@needs_nvrtc
@EACH_TILE
def test_each_tile_keeps_its_sums_in_registers(
    monkeypatch: pytest.MonkeyPatch, precision: Precision, tile: conv_weight.WeightTile
) -> None:
    gpu = ("sm_80", "sm_90", "sm_120")[TILES.index((precision, tile)) % 3]
    tiled(monkeypatch, tile, splits=2)
    shape = case((8, 96, 27, 27), 256, (5, 5), pad=2, groups=2)
    launch = multiplying(shape.emission(precision, gpu))
    usage = nvrtc.compile(launch.kernel.source, launch.kernel.name, gpu).usage
    assert usage.stack == usage.spill_stores == usage.spill_loads == 0
    assert usage.registers * launch.block[0] <= 65536


# --- what is chosen ---------------------------------------------------------------------------------------------------


def multiplying(emission: Emission) -> Launch:
    """The launch of the product."""
    (launch,) = (c for c in emission.commands if isinstance(c, Launch) and c.kernel.name == "conv_mma_weight")
    return launch


def test_the_reason_says_what_was_chosen() -> None:
    conv2 = case((128, 96, 27, 27), 256, (5, 5), pad=2, groups=2).emission("tf32")
    assert conv2.reason.startswith("filter gradient on tensor cores, tf32, tile ")
    assert "slices" in conv2.reason
    conv1 = case((128, 3, 227, 227), 96, (11, 11), stride=4).emission("tf32")
    assert conv1.reason.endswith("input folded by 4 x 4")
    assert "3 channels filled up to 4" in case((128, 3, 32, 32), 32, (5, 5)).emission("tf32").reason


@pytest.mark.parametrize("name", ["alexnet conv1", "alexnet conv2", "alexnet conv3"])
def test_the_grid_fills_the_gpu(name: str) -> None:
    small = CASES[name]
    launch = multiplying(replace(small, input=(128, small.input[1], 67, 67)).emission("tf32"))
    assert np.prod(launch.grid) > 100


def test_what_tensor_cores_do_not_take_is_left_to_the_plain_kernel() -> None:
    assert CASES["groups"].emission("fp32", "sm_75").reason.startswith("plain: sm_75 has no tensor cores")
    depthwise = case((2, 6, 5, 5), 6, (3, 3), groups=6)
    assert depthwise.emission("tf32").reason == "plain: kernels or channels of a group are no multiple of 4"
