"""Convolution and its input gradient on tensor cores against what the ops mean, for every way that they become a
product."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet_ir.backends.cuda import cache
from alexnet_ir.backends.cuda.emitters import tiles
from alexnet_ir.backends.cuda.gpu import GPUS, Precision
from alexnet_ir.backends.cuda.host.machine import HostMachine
from alexnet_ir.backends.emission.commands import Emission, Launch
from alexnet_ir.backends.emission.encode import round_stored
from alexnet_ir.ir.layout import Layout, Stored
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ir.types import TensorType, f32
from alexnet_ir.ops.conv import Conv, ConvAttributes, ConvGradInput
from alexnet_ir.ops.dense import BiasAdd
from alexnet_ir.ops.elementwise import Relu, ReluGrad
from alexnet_ir.ops.fused import Fused, Part

from .running import emitted, expected, needs_gxx, run
from .test_nvrtc import needs_nvrtc

STORED: dict[Precision, Stored] = {"fp32": "f32", "tf32": "tf32", "bf16": "bf16"}
TOLERANCE: dict[Precision, float] = {"fp32": 1e-6, "tf32": 1e-5, "bf16": 1e-5}
"""Of the largest element; operands are rounded before, the reference's too."""
PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32", "bf16")


@dataclass(frozen=True)
class Case:
    """A convolution, or its input gradient, with the shapes of its operands."""

    op: ConvAttributes
    shapes: tuple[tuple[int, ...], tuple[int, ...]]

    def operands(self) -> list[Array]:
        """Drawn from the normal distribution."""
        rng = np.random.default_rng(3)
        return [rng.standard_normal(shape).astype(np.float32) for shape in self.shapes]

    @property
    def types(self) -> list[TensorType]:
        """Of the operands."""
        return [f32(*shape) for shape in self.shapes]

    def emission(self, precision: Precision, gpu: str = "sm_90", stored: Stored | None = None) -> Emission:
        """What is emitted for it, all channels last."""
        layout = Layout(stored or STORED[precision], channels_last=True)
        (result,) = self.op.infer(self.types)
        assert isinstance(result, TensorType)
        return emitted(self.op, self.types, [result], [layout] * 2, [layout], GPUS[gpu], precision)


def case(
    input: tuple[int, int, int, int],
    kernels: int,
    size: Any,
    stride: Any = 1,
    pad: Any = 0,
    groups: int = 1,
    **more: Any,
) -> tuple[Case, Case]:
    """A convolution of such an input, with `kernels` of this size; and the gradient of that input."""
    attributes = (stride, pad, groups, more.get("dilation", 1), more.get("round", "down"))
    op, weight = Conv(*attributes), (kernels, input[1] // groups, *size)
    (output,) = op.infer([f32(*input), f32(*weight)])
    assert isinstance(output, TensorType)
    gradient = ConvGradInput(*attributes, input_size=(input[2], input[3]))
    return Case(op, (input, weight)), Case(gradient, (output.shape, weight))


GEOMETRIES = {
    "one cell": case((1, 1, 1, 1), 1, (1, 1)),
    "one image, odd": case((1, 8, 7, 5), 13, (3, 3), pad=1),
    "several tiles": case((3, 8, 9, 11), 72, (2, 2)),
    "1 x 1": case((2, 24, 5, 3), 40, (1, 1)),
    "1 x 1, stride": case((2, 8, 6, 7), 16, (1, 1), stride=2),
    "groups": case((2, 32, 5, 4), 48, (3, 2), pad=((1, 0), (0, 2)), groups=2),
    "stride": case((2, 8, 9, 7), 16, (3, 3), stride=2, pad=1),
    "stride, groups": case((1, 16, 8, 9), 32, (3, 2), stride=(2, 1), pad=1, groups=2),
    "uneven stride": case((1, 8, 13, 8), 8, (4, 3), stride=(3, 1), pad=((2, 0), (0, 1))),
    "stride beyond the kernel": case((1, 8, 9, 10), 8, (2, 3), stride=4),
    "dilation": case((2, 8, 9, 8), 8, (3, 2), pad=1, dilation=(2, 3)),
    "dilation of one tap": case((1, 8, 9, 8), 8, (1, 2), stride=(2, 1), dilation=(3, 2)),
    "round up": case((1, 8, 6, 6), 8, (3, 3), stride=2, round="up"),
    "round up, padded": case((1, 8, 6, 7), 8, (2, 3), stride=3, pad=((0, 1), (1, 0)), round="up"),
    "all of it": case((2, 8, 4, 3), 8, (4, 3)),
    "3 channels": case((2, 3, 9, 8), 6, (3, 3), pad=1),
    "3 channels, stride 4": case((1, 3, 23, 27), 8, (11, 11), stride=4),
    "3 channels, padded": case((2, 3, 12, 12), 10, (5, 5), stride=2, pad=2),
    "5 channels, uneven stride": case((1, 5, 13, 8), 7, (4, 3), stride=(3, 1)),
    "5 channels, stride, dilation": case((1, 5, 13, 13), 7, (3, 3), stride=2, pad=1, dilation=2),
    "alexnet conv1": case((1, 3, 27, 23), 96, (11, 11), stride=4),
    "alexnet conv2": case((1, 96, 5, 4), 256, (5, 5), pad=2, groups=2),
    "alexnet conv3": case((1, 256, 3, 4), 384, (3, 3), pad=1),
    "alexnet conv4": case((1, 384, 3, 4), 384, (3, 3), pad=1, groups=2),
    "alexnet conv5": case((1, 384, 4, 3), 256, (3, 3), pad=1, groups=2),
}
CASES = {
    f"{case.op.name}, {name}": case
    for name, both in GEOMETRIES.items()
    for case in (both if name != "alexnet conv1" else both[:1])
}
PLAIN = {
    "depthwise": (case((1, 4, 5, 5), 4, (3, 3), groups=4)[0], "1 channels a group are no multiple of 4"),
    "17 taps": (case((1, 4, 3, 20), 4, (1, 17))[0], "more than 16 taps along an axis"),
    "both": (case((1, 4, 9, 9), 4, (3, 3), stride=2, dilation=2)[1], "stride and dilation at once"),
}
"""What is left to the plain kernel, and why."""


def check(found: Array, op: Op, operands: Sequence[Array], precision: Precision, stored: Any = None) -> None:
    """As near to what the op means as sums in float32 are."""
    (exact,) = expected(op, operands, stored or STORED[precision])
    error = np.abs(found - exact).max() / np.abs(exact).max()
    assert error < TOLERANCE[precision], error


@needs_gxx
@pytest.mark.parametrize("name", CASES)
def test_it_is_what_the_op_means(name: str) -> None:
    case = CASES[name]
    (found,) = run(case.op, case.operands(), precision="tf32", stored="tf32")
    check(found, case.op, case.operands(), "tf32")
    if name != "conv_grad_input, 5 channels, stride, dilation":
        assert case.emission("tf32").reason.startswith("implicit GEMM on tensor cores, tf32")


@needs_gxx
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["several tiles", "groups", "stride", "3 channels", "3 channels, stride 4"])
def test_in_every_precision(name: str, precision: Precision) -> None:
    for case in GEOMETRIES[name]:
        (found,) = run(case.op, case.operands(), precision=precision, stored=STORED[precision])
        check(found, case.op, case.operands(), precision)


@needs_gxx
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["3 channels", "3 channels, padded", "groups"])
def test_channels_may_come_first(name: str, precision: Precision) -> None:
    for case in GEOMETRIES[name]:
        (found,) = run(case.op, case.operands(), precision=precision, stored=STORED[precision], channels_last=False)
        check(found, case.op, case.operands(), precision)


@needs_gxx
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("stored", [("f32", "f32"), ("tf32", "f32"), ("bf16", "tf32")])
def test_operands_of_any_stored_type_are_rounded_on_the_way(
    stored: tuple[Stored, Stored], precision: Precision
) -> None:
    case = GEOMETRIES["groups"][0]
    (found,) = run(case.op, case.operands(), precision=precision, stored=stored)
    check(found, case.op, [round_stored(a, s) for a, s in zip(case.operands(), stored, strict=True)], precision)


@needs_gxx
@pytest.mark.parametrize("result", ["tf32", "bf16"])
def test_results_are_rounded_when_stored(result: Stored) -> None:
    for case in GEOMETRIES["one image, odd"]:
        (found,) = run(case.op, case.operands(), precision="tf32", stored="tf32", result_stored=result)
        (exact,) = expected(case.op, case.operands(), "tf32")
        np.testing.assert_allclose(found, exact, rtol=2.0 ** {"tf32": -10, "bf16": -8}[result], atol=1e-5)


@needs_gxx
@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("name", ["one image, odd", "groups", "3 channels, stride 4"])
def test_bias_and_relu_on_the_way_out(name: str, channels_last: bool) -> None:
    case = GEOMETRIES[name][0]
    op = Fused("relu", (Part(case.op, (0, 1)), Part(BiasAdd(), (3, 2)), Part(Relu(), (4,))), (5,))
    operands = [*case.operands(), np.random.default_rng(1).standard_normal(case.shapes[1][0]).astype(np.float32)]
    stored: list[Stored] = ["tf32", "tf32", "f32"]
    (found,) = run(op, operands, precision="tf32", stored=stored, channels_last=channels_last)
    check(found, op, operands, "tf32", stored)


@needs_gxx
@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("name", ["one image, odd", "groups", "1 x 1, stride"])
def test_a_mask_on_the_gradient(name: str, channels_last: bool) -> None:
    forward, case = GEOMETRIES[name]
    op = Fused("relu_grad", (Part(case.op, (0, 1)), Part(ReluGrad(), (3, 2))), (4,))
    mask = np.maximum(np.random.default_rng(1).standard_normal(forward.shapes[0]), 0).astype(np.float32)
    operands = [*case.operands(), mask]
    (found,) = run(op, operands, precision="tf32", stored="tf32", channels_last=channels_last)
    check(found, op, operands, "tf32")


@needs_gxx
def test_what_is_not_a_number_stays_so() -> None:
    case = GEOMETRIES["one image, odd"][0]
    operands = case.operands()
    operands[0][0, 3, 0, 0] = np.nan
    for precision in PRECISIONS:
        (found,) = run(case.op, operands, precision=precision, stored=STORED[precision])
        (exact,) = expected(case.op, operands, STORED[precision])
        np.testing.assert_array_equal(np.isnan(found), np.isnan(exact))


@needs_gxx
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["one image, odd", "stride", "3 channels, stride 4"])
def test_no_access_is_out_of_bounds_or_in_a_race(name: str, precision: Precision) -> None:
    case = GEOMETRIES[name][name == "stride"]
    machine = HostMachine(check=True, order="shuffled")
    (found,) = run(case.op, case.operands(), precision=precision, stored=STORED[precision], machine=machine)
    check(found, case.op, case.operands(), precision)


@needs_gxx
def test_the_order_of_threads_does_not_matter() -> None:
    case = GEOMETRIES["stride"][1]
    machines = [HostMachine(), HostMachine(order="reverse"), HostMachine(order="shuffled", seed=5)]
    found = [run(case.op, case.operands(), precision="fp32", machine=machine)[0] for machine in machines]
    assert all((found[0].view(np.uint32) == other.view(np.uint32)).all() for other in found[1:])


@needs_gxx
@settings(max_examples=15)
@given(data=st.data(), precision=st.sampled_from(PRECISIONS), gradient=st.booleans())
def test_any_geometry(data: st.DataObject, precision: Precision, gradient: bool) -> None:
    def draw(least: int, most: int) -> int:
        return data.draw(st.integers(least, most))

    groups, vector = draw(1, 2), 8
    channels, kernels = (groups * (vector * draw(1, 2) if groups > 1 else draw(1, 18)) for _ in range(2))
    size, stride = (draw(1, 4), draw(1, 4)), (draw(1, 3), draw(1, 3))
    dilation = (1, 1) if max(stride) > 1 else (draw(1, 2), draw(1, 2))
    pad = ((draw(0, 2), draw(0, 2)), (draw(0, 2), draw(0, 2)))
    maps = [d * (s - 1) + 1 + draw(0, 6) for d, s in zip(dilation, size, strict=True)]
    rounding = data.draw(st.sampled_from(["down", "up"]))
    both = case(
        (draw(1, 2), channels, maps[0], maps[1]), kernels, size, stride, pad, groups, dilation=dilation, round=rounding
    )
    one = both[gradient]
    assert "tensor cores" in one.emission(precision).reason
    (found,) = run(one.op, one.operands(), precision=precision, stored=STORED[precision])
    (exact,) = expected(one.op, one.operands(), STORED[precision])
    assert np.abs(found - exact).max() <= TOLERANCE[precision] * max(1.0, np.abs(exact).max())


# --- what is chosen ---------------------------------------------------------------------------------------------------


@needs_gxx
@pytest.mark.parametrize("name", PLAIN)
def test_the_plain_kernel_does_the_rest_and_the_plan_says_why(name: str) -> None:
    case, why = PLAIN[name]
    assert case.emission("tf32").reason == f"plain: {why}"
    (found,) = run(case.op, case.operands(), precision="tf32", stored="tf32")
    check(found, case.op, case.operands(), "tf32")


def test_old_gpus_have_the_plain_kernel_alone() -> None:
    for case in GEOMETRIES["stride"]:
        assert case.emission("fp32", "sm_75").reason == "plain: sm_75 has no tensor cores for these precisions"


def test_the_plan_says_how_a_first_layer_is_brought_to_a_product() -> None:
    assert "space-to-depth by 4" in GEOMETRIES["alexnet conv1"][0].emission("tf32").reason
    assert "channels padded to 4" in GEOMETRIES["3 channels"][0].emission("tf32").reason
    assert "6 residue classes" in case((1, 4, 9, 9), 4, (3, 3), stride=(3, 2))[1].emission("tf32").reason


def test_nothing_is_copied_that_lies_as_the_kernel_reads_it() -> None:
    for precision in PRECISIONS:
        (launch,) = GEOMETRIES["groups"][0].emission(precision).commands
        assert isinstance(launch, Launch)
        assert launch.kernel.name == "conv_mma"


@pytest.mark.parametrize("gpu", [gpu for gpu in GPUS.values() if gpu.tensor_cores], ids=lambda gpu: gpu.arch)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_tiles_fit_the_gpu(gpu: Any, precision: Precision) -> None:
    for rows, columns, depth in ((1, 1, 4), (169, 384, 2304), (128 * 55 * 55, 96, 432), (10**7, 48, 27)):
        choice = tiles.choose(rows, columns, depth, gpu, precision)
        assert choice.shared <= gpu.shared
        assert choice.resident * (choice.shared + tiles.RESERVED) <= gpu.shared + tiles.RESERVED
        assert choice.resident * choice.tile.threads <= 1024


@needs_nvrtc
@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_no_tile_spills(precision: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
    _, gradient = case((32, 96, 27, 27), 192, (3, 3), stride=2, pad=1, groups=2)  # takes the most registers
    kernels = []
    for tile in tiles.tiles(precision):
        monkeypatch.setattr(tiles, "tiles", lambda _, tile=tile: [tile])
        *_, launch = gradient.emission(precision, stored="f32").commands
        assert isinstance(launch, Launch)
        assert math.prod(launch.block) == tile.threads
        kernels.append(launch.kernel)
    for compiled in cache.cubins(kernels, "sm_90").values():
        assert compiled.usage.spill_stores == compiled.usage.spill_loads == compiled.usage.stack == 0
