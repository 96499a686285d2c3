"""Convolution and its gradients by Winograd's algorithm, in emitted C, and where it is chosen."""

from __future__ import annotations

import platform
import re
from collections import defaultdict
from dataclasses import replace
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet_ir.backends.cpu.emitters import conv as choice
from alexnet_ir.backends.cpu.emitters import winograd, winograd_weight
from alexnet_ir.backends.cpu.isa import AVX2, AVX512, SSE, Isa
from alexnet_ir.backends.cpu.program import CEmitter
from alexnet_ir.backends.cpu.winograd import Winograd, expected_error
from alexnet_ir.backends.emission.commands import Call, Emission, Kernel
from alexnet_ir.compiler import compile_step, read_model
from alexnet_ir.dsl.model import Model
from alexnet_ir.ir.layout import Layout
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ir.types import TensorType, f32
from alexnet_ir.ops.conv import Conv, ConvGradInput, ConvGradWeight
from alexnet_ir.ops.dense import BiasAdd
from alexnet_ir.ops.elementwise import Relu, ReluGrad
from alexnet_ir.ops.fused import Fused, Part
from alexnet_ir.setup import setup_of

from .running import expected, kernels, needs_cc, run
from .test_spills import Case, assembly, convolutions, products

EXAMPLES = Path(__file__).parents[3] / "examples"
ALGORITHMS = [Winograd(2, 3), Winograd(4, 3), Winograd(2, 5)]
by_name = pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda algorithm: algorithm.name)
reads_x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="what is read is x86 assembly")
RNG = np.random.default_rng(0)


def shared(pad: Any = 1, groups: int = 1, stride: Any = 1) -> tuple[Any, Any, Any]:
    """Of a convolution and its gradients."""
    return stride, pad, groups


def cases(
    input: tuple[int, int, int, int], count: int, taps: int, pad: Any, groups: int
) -> list[tuple[Op, list[Array]]]:
    """A convolution and both gradients on random numbers."""
    _, channels, h, w = input
    x, weight = RNG.standard_normal(input), RNG.standard_normal((count, channels // groups, taps, taps))
    conv = Conv(*shared(pad, groups))
    grad = RNG.standard_normal(conv.reference(x, weight).shape)
    to_input = ConvGradInput(*shared(pad, groups), input_size=(h, w))
    to_weight = ConvGradWeight(*shared(pad, groups), size=(taps, taps))
    return [(conv, [x, weight]), (to_input, [grad, weight]), (to_weight, [grad, x])]


def check(op: Op, arrays: list[Array], algorithm: Winograd, found: Array) -> None:
    """Within some standard deviations of the rounding that is expected, of the largest result."""
    exact = expected(op, arrays)[0]
    assert np.abs(found - exact).max() <= 12 * (expected_error(algorithm) + 1e-7) * np.abs(exact).max()


# --- matrices ---------------------------------------------------------------------------------------------------------


@by_name
def test_matrices_are_exact(algorithm: Winograd) -> None:
    """y_i = sum of d_(i + k) g_k for every pair of a cell and a tap, in fractions."""
    for cell, tap, result in product(range(algorithm.cells), range(algorithm.taps), range(algorithm.results)):
        found = sum(
            a * g[tap] * b[cell]
            for a, g, b in zip(algorithm.output[result], algorithm.filter, algorithm.data, strict=True)
        )
        assert found == Fraction(cell == result + tap)


def test_lavin_and_gray() -> None:
    """The published F(4, 3)."""
    known = [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0]]
    known += [[0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]]
    assert [list(row) for row in Winograd(4, 3).data] == known


def test_expected_error_grows_with_the_points() -> None:
    small, large, wide = (expected_error(a) for a in ALGORITHMS)
    assert 1e-8 < small < large < 1e-5
    assert small < wide < 1e-5


# --- results ----------------------------------------------------------------------------------------------------------

GEOMETRIES = {
    "one small image": ((1, 8, 5, 4), 8, 1, 1),
    "odd channels": ((3, 17, 9, 13), 41, 2, 1),
    "groups, uneven padding": ((2, 26, 6, 7), 48, ((1, 0), (0, 2)), 2),
    "no padding": ((2, 16, 12, 12), 24, 0, 1),
    "blocks of its own": ((40, 12, 13, 10), 20, 1, 1),
}


@needs_cc
@by_name
@pytest.mark.parametrize("isa", [None, AVX2, SSE], ids=["native", "avx2", "sse"])
def test_convolution(algorithm: Winograd, isa: Isa | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "algorithm", lambda site: algorithm)
    for threads, (input, count, pad, groups) in product((1, 3), GEOMETRIES.values()):
        for op, arrays in cases(input, count, algorithm.taps, pad, groups):
            assert all("winograd" in name for name in kernels(op, arrays, isa=isa))
            check(op, arrays, algorithm, run(op, arrays, isa=isa, threads=threads)[0])


@needs_cc
@settings(max_examples=15)
@given(st.data())
def test_any_shape(data: st.DataObject) -> None:
    algorithm, groups = data.draw(st.sampled_from(ALGORITHMS)), data.draw(st.integers(1, 3))
    n, each, count = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    h, w = data.draw(st.integers(algorithm.taps, 14)), data.draw(st.integers(algorithm.taps, 14))
    pads = data.draw(st.tuples(*[st.tuples(*[st.integers(0, algorithm.taps + 1)] * 2)] * 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choice, "algorithm", lambda site: algorithm)
        for op, arrays in cases((n, each * groups, h, w), count * groups, algorithm.taps, pads, groups):
            threads = data.draw(st.integers(1, 4))
            check(op, arrays, algorithm, run(op, arrays, threads=threads)[0])


@needs_cc
@pytest.mark.parametrize("many", [False, True], ids=["shared blocks", "blocks of its own"])
def test_filter_gradient_of_several_blocks(many: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums are added to block after block, and those of threads to one another."""
    monkeypatch.setattr(winograd, "FEWEST_TILES", 8)
    monkeypatch.setattr(winograd_weight, "MOST_BYTES", 1)
    monkeypatch.setattr(winograd_weight, "OWN_SUMS", 2**30 if many else 0)
    monkeypatch.setattr(winograd_weight, "FEWEST_TILES", 1)
    op, arrays = cases((5, 10, 11, 13), 36, 3, 1, 1)[2]
    monkeypatch.setattr(choice, "algorithm", lambda site: Winograd(4, 3))
    for threads in (1, 2, 5):
        found = run(op, arrays, threads=threads)[0]
        check(op, arrays, Winograd(4, 3), found)
        np.testing.assert_array_equal(found, run(op, arrays, threads=threads)[0])


@needs_cc
@pytest.mark.parametrize("last", list(product((False, True), repeat=3)))
def test_layouts(last: tuple[bool, ...]) -> None:
    for op, arrays in cases((2, 19, 8, 9), 33, 3, 1, 1):
        check(op, arrays, Winograd(4, 3), run(op, arrays, channels_last=last)[0])


@needs_cc
@pytest.mark.parametrize("last", [True, False], ids=["channels last", "channels first"])
def test_epilogues(last: bool) -> None:
    (conv, (x, weight)), (to_input, (grad, _)), (to_weight, _) = cases((2, 20, 9, 8), 35, 3, 1, 1)
    bias, mask = RNG.standard_normal(35), RNG.standard_normal(x.shape)
    forward = Fused("conv_bias_relu", (Part(conv, (0, 1)), Part(BiasAdd(), (3, 2)), Part(Relu(), (4,))), (5,))
    backward = Fused("conv_grad_input_relu_grad", (Part(to_input, (0, 1)), Part(ReluGrad(), (3, 2))), (4,))
    scaled = Fused("conv_grad_weight_relu", (Part(to_weight, (0, 1)), Part(Relu(), (2,))), (3,))
    for op, arrays in ((forward, [x, weight, bias]), (backward, [grad, weight, mask]), (scaled, [grad, x])):
        assert kernels(op, arrays)[-1] in ("winograd", "pointwise")
        check(op, arrays, Winograd(4, 3), run(op, arrays, channels_last=last)[0])


@needs_cc
def test_what_is_not_a_number_reaches_all_that_reads_it() -> None:
    """And, by Winograd, the rest of its tiles, but no other image."""
    (conv, (x, weight)), *_ = cases((2, 16, 12, 12), 16, 3, 1, 1)
    x[0, 3, 5, 6] = np.nan
    found = run(Fused("conv_relu", (Part(conv, (0, 1)), Part(Relu(), (2,))), (3,)), [x, weight])[0]
    assert np.isnan(found[0, :, 4:7, 5:8]).all()
    assert np.isfinite(found[1]).all()


@needs_cc
def test_same_bits() -> None:
    for op, arrays in cases((9, 33, 13, 13), 40, 3, 1, 1):
        first = run(op, arrays, threads=3)[0]
        for _ in range(3):
            np.testing.assert_array_equal(first, run(op, arrays, threads=3)[0])


@needs_cc
@reads_x86
@pytest.mark.parametrize("isa", [AVX512, AVX2], ids=lambda isa: isa.name)
@pytest.mark.parametrize(
    "case", convolutions("winograd", (2, 64, 28, 28), 96, 3, 1, 1, exact=False), ids=lambda c: c[1].name
)
def test_sums_stay_in_registers(case: Case, isa: Isa) -> None:
    """Six panels of products in two of the kernels."""
    loops = [loop for text in assembly(case, isa) for loop in products(text)]
    assert len(loops) >= 6
    assert not [line for lines, stack in loops for line in lines if re.search(stack, line)]


# --- the choice -------------------------------------------------------------------------------------------------------


def emission(op: Op, operands: list[TensorType], threads: int = 2, exact: bool = False, isa: Isa = AVX512) -> Emission:
    """Of maps that lie channels last."""
    results = [t for t in op.infer(operands) if isinstance(t, TensorType)]
    lying = [[(type_, Layout("f32", len(type_.shape) == 4)) for type_ in types] for types in (operands, results)]
    return CEmitter(isa, threads, exact).emit(op, *lying)


@pytest.mark.parametrize(
    ("input", "weight", "name"),
    [
        ((8, 64, 56, 56), (64, 64, 3, 3), "F(4x4, 3x3)"),
        ((1, 256, 13, 13), (384, 256, 3, 3), "F(4x4, 3x3)"),
        ((128, 512, 7, 7), (512, 512, 3, 3), "F(2x2, 3x3)"),
        ((128, 32, 16, 16), (32, 32, 5, 5), "F(2x2, 5x5)"),
        ((128, 3, 32, 32), (64, 3, 3, 3), None),
        ((128, 8, 32, 32), (8, 8, 3, 3), None),
        ((128, 64, 32, 32), (64, 64, 1, 1), None),
        ((128, 64, 32, 32), (64, 64, 7, 7), None),
    ],
)
def test_choice(input: tuple[int, ...], weight: tuple[int, ...], name: str | None) -> None:
    op, operands = Conv(*shared(weight[2] // 2)), [f32(*input), f32(*weight)]
    reason = emission(op, operands).reason
    assert (f"Winograd {name}" in reason) if name else ("Winograd" not in reason)
    if name:
        assert "rms error" in reason
    assert "Winograd" not in emission(op, operands, exact=True).reason
    assert "Winograd" not in emission(replace(op, stride=(2, 2), round="down"), operands).reason


def test_layers_share_kernels() -> None:
    """Of other sizes, with the epilogues that training has."""
    found: dict[str, set[Kernel]] = defaultdict(set)
    for channels, count, size in ((256, 384, 13), (128, 64, 28)):
        x, weight = f32(8, channels, size, size), f32(count, channels, 3, 3)
        y = f32(8, count, size, size)
        to_input = ConvGradInput(*shared(), input_size=(size, size))
        forward = Fused(
            "conv_bias_relu", (Part(Conv(*shared()), (0, 1)), Part(BiasAdd(), (3, 2)), Part(Relu(), (4,))), (5,)
        )
        backward = Fused("conv_grad_input_relu_grad", (Part(to_input, (0, 1)), Part(ReluGrad(), (3, 2))), (4,))
        sites: dict[str, tuple[Op, list[TensorType]]] = {
            "forward": (forward, [x, weight, f32(count)]),
            "backward": (backward, [y, weight, x]),
            "weight": (ConvGradWeight(*shared(), size=(3, 3)), [y, x]),
        }
        for phase, (op, operands) in sites.items():
            found[phase] |= {command.kernel for command in emission(op, operands).all if isinstance(command, Call)}
    assert {phase: len(kernels) for phase, kernels in found.items()} == {"forward": 2, "backward": 2, "weight": 1}


@pytest.mark.parametrize("threads", [1, 2, 64])
def test_workspace_is_bounded(threads: int) -> None:
    """By the filters' points and some megabytes a thread, whatever the batch."""
    x, weight, y = f32(2048, 512, 28, 28), f32(512, 512, 3, 3), f32(2048, 512, 28, 28)
    filters, slack = 36 * 4 * 512 * 512, 2**20
    assert emission(Conv(*shared()), [x, weight], threads).workspace < filters + threads * 14 * 2**20 + slack
    assert emission(ConvGradWeight(*shared(), size=(3, 3)), [y, x], threads).workspace < filters + 34 * 2**20 + slack


NETS = ["alexnet", "alexnet-2012", "alexnet-conv6", "alexnet-one-tower", "vgg16", "zfnet"]
NETS += ["cifar-11pct", "cifar-13pct", "cifar-18pct"]


def chosen(model: Model, devices: int, place: str) -> dict[tuple[str, str], set[str]]:
    """For each convolution and phase of a step how it is computed, over all devices."""
    plan = compile_step(model, setup_of(",".join(["cpu"] * devices), place=place)).plan
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for step in plan.steps:
        head = step.op.parts[0].op if isinstance(step.op, Fused) else step.op
        if isinstance(head, Conv | ConvGradInput | ConvGradWeight):
            named = step.results[0] if isinstance(head, ConvGradWeight) else step.operands[1]
            how = CEmitter(AVX512, 2).step(plan, step).reason
            found[head.name, named.split("@")[0]].add(how if how.startswith("Winograd") else "direct")
    return found


@pytest.mark.parametrize("net", NETS)
def test_placements_use_the_same_algorithms(net: str) -> None:
    """Each layer is computed by what computes it on one device: cut by kernels and channels into four, or anyhow."""
    model = read_model(str(EXAMPLES / f"{net}.alx"))
    single = chosen(model, 1, "single")
    assert any("Winograd" in name for names in single.values() for name in names)
    more = [(2, "columns"), (2, "data"), (4, "weird_trick")] if net in ("alexnet", "cifar-18pct") else []
    for devices, place in ((4, "columns"), *more):
        assert chosen(model, devices, place) == single
