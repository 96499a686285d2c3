"""Convolution by 1 x 1 windows as one product, in emitted C."""

from __future__ import annotations

import numpy as np
import pytest

from alexnet_ir.backends.cpu.isa import AVX2, SSE, Isa
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ops.conv import Conv, ConvGradInput
from alexnet_ir.ops.dense import BiasAdd
from alexnet_ir.ops.elementwise import Relu, ReluGrad
from alexnet_ir.ops.fused import Fused, Part

from .running import expected, kernels, needs_cc, run

pytestmark = needs_cc
RNG = np.random.default_rng(0)
FORWARD = Conv()
BACKWARD = ConvGradInput(input_size=(5, 3))
WITH_BIAS = Fused("conv_bias_relu", (Part(FORWARD, (0, 1)), Part(BiasAdd(), (3, 2)), Part(Relu(), (4,))), (5,), ())
MASKED = Fused("grad_relu", (Part(BACKWARD, (0, 1)), Part(ReluGrad(), (3, 2))), (4,), ())


def operands(op: Op, images: int, channels: int, count: int) -> list[Array]:
    weight = RNG.standard_normal((count, channels, 1, 1))
    x, dy = (RNG.standard_normal((images, length, 5, 3)) for length in (channels, count))
    bias = RNG.standard_normal(count)
    return {FORWARD: [x, weight], BACKWARD: [dy, weight], WITH_BIAS: [x, weight, bias], MASKED: [dy, weight, x]}[op]


@pytest.mark.parametrize("op", [FORWARD, BACKWARD, WITH_BIAS, MASKED], ids=["conv", "grad", "bias", "masked"])
@pytest.mark.parametrize(("images", "channels", "count"), [(1, 1, 1), (2, 40, 33), (9, 600, 64), (3, 31, 130)])
def test_against_the_meaning(op: Op, images: int, channels: int, count: int) -> None:
    given = operands(op, images, channels, count)
    (want,) = expected(op, given)
    for threads in (1, 3):
        np.testing.assert_allclose(run(op, given, threads=threads)[0], want, rtol=1e-5, atol=1e-6 * np.abs(want).max())
    assert kernels(op, given) == ["panels", "conv_1x1"]


@pytest.mark.parametrize("isa", [AVX2, SSE], ids=lambda isa: isa.name)
def test_narrower_vectors(isa: Isa) -> None:
    given = operands(WITH_BIAS, 3, 50, 21)
    (want,) = expected(WITH_BIAS, given)
    np.testing.assert_allclose(run(WITH_BIAS, given, isa=isa)[0], want, rtol=1e-5, atol=1e-5)


def test_what_is_no_product() -> None:
    """Strides, and channels that do not lie side by side."""
    given = operands(FORWARD, 2, 8, 9)
    assert "conv_1x1" not in kernels(Conv(stride=(2, 2), round="down"), given)
    channels_first = run(FORWARD, given, channels_last=[False, True, True])
    np.testing.assert_allclose(channels_first[0], expected(FORWARD, given)[0], rtol=1e-5, atol=1e-5)
