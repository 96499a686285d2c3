"""Direct convolution and its gradients in emitted C against what the ops mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet_ir.backends.cpu.isa import AVX2, SSE, Isa
from alexnet_ir.backends.cpu.program import CEmitter
from alexnet_ir.backends.emission.commands import Call, Kernel
from alexnet_ir.backends.numpy.fused import type_of
from alexnet_ir.ir.layout import Layout
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ir.types import TensorType, f32
from alexnet_ir.ops.conv import Conv, ConvGradInput, ConvGradWeight
from alexnet_ir.ops.dense import BiasAdd
from alexnet_ir.ops.dropout import Dropout
from alexnet_ir.ops.elementwise import Relu, ReluGrad
from alexnet_ir.ops.fused import Fused, Part
from tests.ops.op_table import ROWS, Row

from .running import expected, needs_cc, run

pytestmark = needs_cc
OPS = (Conv, ConvGradInput, ConvGradWeight)
Case = tuple[Op, list[Array]]


def cases(
    input: tuple[int, ...], kernels: int, size: Any, stride: Any = 1, pad: Any = 0, groups: int = 1, *more: Any
) -> list[Case]:
    """A convolution of such an input, and both its gradients, on numbers from the normal distribution."""
    rng = np.random.default_rng(3)
    attributes: Any = (stride, pad, groups, *(more or (1, "down")))
    x, weight = rng.standard_normal(input), rng.standard_normal((kernels, input[1] // groups, *size))
    conv = Conv(*attributes)
    (output,) = conv.infer([f32(*x.shape), f32(*weight.shape)])
    assert isinstance(output, TensorType)
    grad = rng.standard_normal(output.shape)
    return [
        (conv, [x, weight]),
        (ConvGradInput(*attributes, input_size=(input[2], input[3])), [grad, weight]),
        (ConvGradWeight(*attributes, size=size), [grad, x]),
    ]


GEOMETRIES = {
    "blocks and tails": cases((2, 5, 9, 31), 70, (3, 3), pad=1),
    "whole blocks": cases((2, 32, 5, 29), 64, (3, 2), pad=((1, 0), (0, 2)), groups=2),
    "three vectors": cases((1, 7, 4, 12), 48, (2, 3)),
    "first layer": cases((2, 3, 27, 23), 96, (7, 7), stride=2),
    "few channels": cases((3, 3, 12, 12), 20, (5, 5), pad=2),
    "1 x 1": cases((3, 24, 7, 7), 40, (1, 1)),
    "1 x 1, stride": cases((2, 8, 6, 7), 32, (1, 1), stride=2),
    "stride, groups": cases((1, 16, 8, 9), 64, (3, 2), stride=(2, 1), pad=1, groups=2),
    "stride beyond the kernel": cases((1, 8, 9, 10), 8, (2, 3), stride=4),
    "stride and dilation": cases((1, 5, 15, 13), 7, (3, 3), 2, 2, 1, (2, 3), "down"),
    "dilation": cases((2, 8, 9, 8), 36, (3, 2), 1, 1, 1, (2, 3), "down"),
    "over the edge": cases((1, 8, 6, 7), 33, (2, 3), 3, ((0, 1), (1, 0)), 1, 1, "up"),
    "padding beyond the kernel": cases((1, 2, 2, 3), 5, (2, 2), pad=4),
    "one channel a group": cases((2, 6, 5, 5), 12, (3, 3), pad=1, groups=6),
}
EACH = {f"{op.name}, {what}": (op, arrays) for what, each in GEOMETRIES.items() for op, arrays in each}


def check(op: Op, arrays: Sequence[Array], tolerance: float = 3e-6, **how: Any) -> Array:
    """As near to what the op means as sums in float32 are."""
    (found,), (exact,) = run(op, arrays, exact=True, **how), expected(op, arrays)
    assert np.abs(found - exact).max() <= tolerance * max(1.0, np.abs(exact).max())
    return found


@pytest.mark.parametrize("name", EACH)
def test_it_is_what_the_op_means(name: str) -> None:
    op, arrays = EACH[name]
    check(op, arrays)


@pytest.mark.parametrize("isa", [AVX2, SSE], ids=lambda isa: isa.name)
@pytest.mark.parametrize("what", ["blocks and tails", "whole blocks", "first layer", "1 x 1", "stride and dilation"])
def test_on_narrower_vectors(what: str, isa: Isa) -> None:
    for op, arrays in GEOMETRIES[what]:
        check(op, arrays, isa=isa)


@pytest.mark.parametrize("row", [row for row in ROWS if isinstance(row.op, OPS)], ids=lambda row: row.id)
def test_the_table_of_ops(row: Row) -> None:
    check(row.op, row.arrays())


@pytest.mark.parametrize("what", ["whole blocks", "first layer", "1 x 1", "stride, groups"])
def test_any_operand_may_have_its_channels_first(what: str) -> None:
    for op, arrays in GEOMETRIES[what]:
        for last in ([False, True, True], [True, False, False], [False, False, False]):
            check(op, arrays, channels_last=last)


@pytest.mark.parametrize("what", ["whole blocks", "few channels", "1 x 1", "stride, groups"])
def test_threads_share_the_work_of_one_image_too(what: str) -> None:
    for op, arrays in GEOMETRIES[what]:
        both = arrays[1] if isinstance(op, ConvGradWeight) else None
        alone = [arrays[0][:1], arrays[1] if both is None else both[:1]]
        for operands in (arrays, alone):
            once, again = (check(op, operands, threads=3) for _ in range(2))
            assert (once == again).all()
            check(op, operands, threads=1)


def test_any_batch_takes_the_same_kernel() -> None:
    few, many = (cases((images, 32, 5, 9), 64, (3, 3), pad=1) for images in (1, 9))
    for one, other in zip(few, many, strict=True):
        assert _kernels(*one) == _kernels(*other) != ()


def _kernels(op: Op, arrays: Sequence[Array]) -> tuple[Kernel, ...]:
    operands = [type_of(array.astype(np.float32)) for array in arrays]
    results = [each for each in op.infer(operands) if isinstance(each, TensorType)]
    emission = CEmitter(AVX2, 2, exact=True).emission(op, operands, results, [Layout("f32", channels_last=True)] * 3)
    return tuple(command.kernel for command in emission.all if isinstance(command, Call))


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("what", ["blocks and tails", "whole blocks", "1 x 1", "stride, groups"])
def test_bias_relu_and_dropout_on_the_way_out(what: str, channels_last: bool) -> None:
    (conv, arrays), *_ = GEOMETRIES[what]
    bias = np.random.default_rng(1).standard_normal((arrays[1].shape[0],))
    seed, step = np.array(5), np.array(2)
    drop = Dropout(p=0.5, stream=3)
    op = Fused("bias_relu_dropout", (
        Part(conv, (0, 1)), Part(BiasAdd(), (5, 2)), Part(Relu(), (6,)), Part(drop, (7, 3, 4)),
    ), (8,))  # fmt: skip
    check(op, [*arrays, bias, seed, step], channels_last=channels_last)


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("what", ["blocks and tails", "1 x 1", "1 x 1, stride", "stride, groups"])
def test_a_mask_on_the_gradient(what: str, channels_last: bool) -> None:
    (_, forward), (grad, arrays), _ = GEOMETRIES[what]
    op = Fused("grad_relu", (Part(grad, (0, 1)), Part(ReluGrad(), (3, 2))), (4,))
    check(op, [*arrays, np.maximum(forward[0], 0)], channels_last=channels_last)


def test_what_is_not_a_number_stays_so() -> None:
    for op, arrays in GEOMETRIES[
        "three vectors"
    ]:  # no padding: its rows are skipped, whatever they are multiplied with
        spoilt = [arrays[0].copy(), arrays[1]]
        spoilt[0][0, 3, 0, 0] = np.nan
        (found,), (exact,) = run(op, spoilt, exact=True), expected(op, spoilt)
        np.testing.assert_array_equal(np.isnan(found), np.isnan(exact))


@settings(max_examples=8)
@given(data=st.data())
def test_any_geometry(data: st.DataObject) -> None:
    def draw(least: int, most: int) -> int:
        return data.draw(st.integers(least, most))

    groups, size, dilation = draw(1, 3), (draw(1, 4), draw(1, 4)), (draw(1, 2), draw(1, 3))
    pad = ((draw(0, 2), draw(0, 2)), (draw(0, 2), draw(0, 2)))
    maps = [d * (s - 1) + 1 + draw(0, 6) for d, s in zip(dilation, size, strict=True)]
    shape = (draw(1, 2), groups * draw(1, 18), maps[0], maps[1])
    rounding = data.draw(st.sampled_from(["down", "up"]))
    three = cases(shape, groups * draw(1, 40), size, (draw(1, 3), draw(1, 3)), pad, groups, dilation, rounding)
    op, arrays = data.draw(st.sampled_from(three))
    last = [data.draw(st.booleans()) for _ in range(3)]
    check(op, arrays, isa=data.draw(st.sampled_from([None, AVX2, SSE])), threads=draw(1, 3), channels_last=last)
