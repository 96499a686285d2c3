"""Convolutions in plain arithmetic and locally connected layers mean what their ops mean, whatever the geometry, the
layout and the stored types."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alexnet_ir.backends.cuda import emit
from alexnet_ir.backends.cuda.emitters import simt
from alexnet_ir.backends.cuda.emitters.relayout import relayout
from alexnet_ir.backends.cuda.gpu import GPUS, Gpu
from alexnet_ir.backends.cuda.host.machine import HostMachine
from alexnet_ir.backends.emission.commands import Place, Tensor
from alexnet_ir.backends.emission.encode import decode, encode
from alexnet_ir.ir.layout import Layout, Stored
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ops.conv import Conv, ConvGradInput, ConvGradWeight
from alexnet_ir.ops.dense import BiasAdd
from alexnet_ir.ops.dropout import Dropout
from alexnet_ir.ops.elementwise import Relu, ReluGrad
from alexnet_ir.ops.fused import Fused, Part
from alexnet_ir.ops.local import Local, LocalGradInput, LocalGradWeight

from ...ops.op_table import ROWS, Row
from ..test_kernels import geometries, random
from .running import Guarded, expected, needs_gxx, run

pytestmark = needs_gxx

OPS = (Conv, ConvGradInput, ConvGradWeight, Local, LocalGradInput, LocalGradWeight)
SMALL: Gpu = replace(GPUS["sm_90"], multiprocessors=1)
"""On which the largest tiles pay, and one slice is enough."""
GPU = GPUS["sm_90"]


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions that tensor cores would take are plain too."""
    monkeypatch.setattr(emit, "EMITTERS", {**emit.EMITTERS, **simt.EMITTERS})


def agree(op: Op, operands: Sequence[Array], stored: Stored | Sequence[Stored] = "f32", **options: Any) -> None:
    """The result is the reference's, of operands so stored, to the digits that fp32 sums leave."""
    found = run(op, operands, stored=stored, **options)
    for result, exact in zip(found, expected(op, operands, stored), strict=True):
        size = np.abs(exact).max(initial=1e-3)
        near = {"f32": 1e-6, "tf32": 1e-3, "bf16": 1e-2}[options.get("result_stored", "f32")]
        np.testing.assert_allclose(result, exact, rtol=near, atol=near * size, err_msg=f"{op} {stored} {options}")


# --- geometries -------------------------------------------------------------------------------------------------------


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(geometries(), st.booleans(), st.sampled_from(["f32", "tf32", "bf16"]))
def test_convolutions(geometry: Any, channels_last: bool, stored: Stored) -> None:
    attributes, input, weight, output = geometry
    options = {"channels_last": channels_last}
    agree(Conv(**attributes), [random(0, *input), random(1, *weight)], stored, **options)
    agree(
        ConvGradInput(**attributes, input_size=input[2:]), [random(2, *output), random(1, *weight)], stored, **options
    )
    agree(ConvGradWeight(**attributes, size=weight[2:]), [random(2, *output), random(0, *input)], stored, **options)


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(geometries(), st.booleans(), st.sampled_from(["f32", "bf16"]))
def test_untied_weights(geometry: Any, channels_last: bool, stored: Stored) -> None:
    attributes, input, weight, output = geometry
    options = {"channels_last": channels_last}
    untied = (*weight, *output[2:])
    agree(Local(**attributes), [random(0, *input), random(1, *untied)], stored, **options)
    agree(
        LocalGradInput(**attributes, input_size=input[2:]), [random(2, *output), random(1, *untied)], stored, **options
    )
    agree(LocalGradWeight(**attributes, size=weight[2:]), [random(2, *output), random(0, *input)], stored, **options)


AWKWARD = ("over-the-edge-padded", "last-window-dropped", "dilated", "depthwise", "alexnet-conv1")


@pytest.mark.parametrize(
    "row", [row for row in ROWS if type(row.op) in OPS and row.what in AWKWARD], ids=lambda row: row.id
)
def test_rows_of_the_table(row: Row) -> None:
    agree(row.op, row.arrays("float32"))


STRIDED = ({"stride": 3, "pad": ((1, 2), (0, 3)), "dilation": (2, 3), "groups": 2, "round": "up"}, (2, 6, 13, 12))
SHAPES = {"strided": STRIDED, "same": ({"pad": 1}, (3, 20, 6, 7))}


@pytest.mark.parametrize("gpu", [GPU, SMALL], ids=["many blocks", "large tiles"])
@pytest.mark.parametrize("shape", SHAPES)
def test_sizes_that_are_no_multiple_of_a_tile(gpu: Gpu, shape: str) -> None:
    attributes, input = SHAPES[shape]
    weight = (70, input[1] // attributes.get("groups", 1), 3, 3)
    (output,) = Conv(**attributes).evaluate([random(0, *input), random(1, *weight)])
    agree(Conv(**attributes), [random(0, *input), random(1, *weight)], gpu=gpu)
    grad = random(2, *output.shape)
    agree(ConvGradInput(**attributes, input_size=input[2:]), [grad, random(1, *weight)], gpu=gpu)
    agree(ConvGradWeight(**attributes, size=(3, 3)), [grad, random(0, *input)], gpu=gpu)


def test_every_tile_is_chosen_somewhere() -> None:
    found = {simt.choose_tile(m, n, 1, gpu) for m in (20, 60, 1000) for n in (20, 60, 1000) for gpu in (GPU, SMALL)}
    assert {simt.Tile(32, 32), simt.Tile(64, 64), simt.Tile(128, 128), simt.Tile(128, 32)} <= found
    assert {tile.threads for tile in simt.TILES} == {64, 128, 256}


def test_pixels_are_shared_out_in_slices() -> None:
    for pixels, blocks, nbytes in [(1, 1, 4), (387200, 3, 139392), (21632, 54, 3538944), (10**6, 500, 1 << 28)]:
        slices, depth = simt._slices(pixels, blocks, nbytes, GPU)
        assert (slices - 1) * depth < pixels <= slices * depth
        assert depth % simt.DEPTH == 0
        assert slices == 1 or slices * blocks <= 2 * GPU.multiprocessors or slices * nbytes <= simt.PARTIAL_BYTES


# --- what follows -----------------------------------------------------------------------------------------------------


def _masked(head: Op, operands: int) -> Fused:
    return Fused("grad_relu", (Part(head, (0, 1)), Part(ReluGrad(), (operands, 2))), (operands + 1,))


def _biased(head: Op) -> Fused:
    parts = (Part(head, (0, 1)), Part(BiasAdd(), (5, 2)), Part(Relu(), (6,)), Part(Dropout(0.5), (7, 3, 4)))
    return Fused("bias_relu_dropout", parts, (8,))


SEED, STEP = np.array(5, "i8"), np.array(2, "i4")
STORED: tuple[Stored, ...] = ("f32", "tf32", "bf16")


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("head", [Conv, Local])
def test_bias_relu_dropout(head: type[Op], channels_last: bool) -> None:
    input, untied = random(0, 2, 5, 6, 5), (6, 5) if head is Local else ()
    op = head(pad=1)
    agree(
        _biased(op),
        [input, random(1, 6, 5, 3, 3, *untied), random(2, 6), SEED, STEP],
        ["bf16", "f32", "f32", "f32", "f32"],
        result_stored="bf16",
        channels_last=channels_last,
    )


@pytest.mark.parametrize("result_stored", STORED)
@pytest.mark.parametrize("head", [ConvGradInput, LocalGradInput])
def test_mask_of_a_gradient(head: Any, result_stored: Stored) -> None:
    untied = (3, 2) if head is LocalGradInput else ()
    op = _masked(head(stride=2, input_size=(7, 5)), 3)
    operands = [random(0, 2, 6, 3, 2), random(1, 6, 5, 3, 3, *untied), random(2, 2, 5, 7, 5)]
    agree(op, operands, result_stored, result_stored=result_stored)


# --- every access looked at -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row", [row for row in ROWS if type(row.op) in OPS and row.what == "grouped"], ids=lambda row: row.id
)
def test_every_access(row: Row) -> None:
    agree(row.op, row.arrays("float32"), machine=HostMachine(check=True, order="shuffled", seed=3))


# --- copies -----------------------------------------------------------------------------------------------------------


def _copied(array: Array, source: Layout, target: Layout, shape: tuple[int, ...], check: bool = False) -> Array:
    given, made = Guarded(encode(array, source)), Guarded(target.nbytes(shape))
    places = {"operand": given, "result": made}
    tensors = [
        Tensor(array.shape, source, Place("operand", 0, source.nbytes(array.shape))),
        Tensor(shape, target, Place("result", 0, target.nbytes(shape))),
    ]
    HostMachine(check=check).run([relayout(*tensors)], lambda place: int(places[place.kind].inside.ctypes.data))
    made.check("the copy")
    return decode(made.inside, target, shape)


FIRST, LAST, BF16, BF16_LAST = Layout("f32"), Layout("f32", True), Layout("bf16"), Layout("bf16", True)
COPIES: list[tuple[Layout, Layout, tuple[int, ...], tuple[int, ...]]] = [
    (FIRST, LAST, (2, 37, 5, 9), (2, 37, 5, 9)),
    (LAST, BF16, (2, 37, 5, 9), (2, 37, 5, 9)),
    (BF16, LAST, (1, 40, 33, 1), (2, 48, 33, 1)),
    (FIRST, BF16_LAST, (2, 3, 7, 5), (2, 8, 7, 5)),
    (LAST, LAST, (3, 5, 2, 3), (4, 8, 4, 3)),
    (FIRST, LAST, (2, 3, 7, 5), (2, 3, 7, 5)),
    (FIRST, BF16, (1031,), (1031,)),
    (BF16, FIRST, (3, 7), (3, 7)),
]


@pytest.mark.parametrize(("source", "target", "shape", "wanted"), COPIES, ids=str)
def test_copies_between_layouts(
    source: Layout, target: Layout, shape: tuple[int, ...], wanted: tuple[int, ...]
) -> None:
    array = np.arange(1, 1 + math.prod(shape), dtype="f4").reshape(shape) % 251  # whole numbers that bf16 holds
    found = _copied(array, source, target, wanted, check=wanted[0] == 4)
    exact = np.zeros(wanted, "f4")
    exact[tuple(slice(length) for length in shape)] = array
    np.testing.assert_array_equal(found, exact)
