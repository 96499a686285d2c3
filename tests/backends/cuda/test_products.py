"""Fully connected layers: operands brought to what the product takes, and what follows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from alexnet_ir.backends.cuda.emit import emit
from alexnet_ir.backends.cuda.gpu import GPUS, Precision
from alexnet_ir.backends.cuda.host.machine import HostMachine
from alexnet_ir.backends.cuda.site import site_of
from alexnet_ir.backends.emission.commands import Gemm, Launch
from alexnet_ir.backends.emission.encode import round_stored
from alexnet_ir.ir.layout import Layout, Stored
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ir.types import TensorType, f32
from alexnet_ir.ops.dense import BiasAdd, Fc, FcGradInput, FcGradWeight
from alexnet_ir.ops.dropout import Dropout
from alexnet_ir.ops.elementwise import Relu, ReluGrad
from alexnet_ir.ops.fused import Fused, Part

from ..test_kernels import random
from .running import expected, needs_gxx, run

pytestmark = needs_gxx

PRODUCTS: list[tuple[Op, tuple[int, int], tuple[int, int]]] = [
    (Fc(), (3, 21), (10, 21)),
    (Fc(), (1, 7), (1, 7)),
    (FcGradInput(), (3, 10), (10, 21)),
    (FcGradWeight(), (3, 10), (3, 21)),
]
SEED, STEP = np.array(5, "i8"), np.array(2, "i4")
NEAR: dict[Stored, float] = {"f32": 1e-6, "tf32": 1e-3, "bf16": 1e-2}


def agree(op: Op, operands: Sequence[Array], precision: Precision, stored: Stored, result: Stored, **rest: Any) -> None:
    """The result is the reference's, of operands stored so and rounded as the precision does."""
    found = run(op, operands, precision=precision, stored=stored, result_stored=result, **rest)
    wanted: Stored = {"fp32": stored, "tf32": "tf32", "bf16": "bf16"}[precision]  # type: ignore[assignment]
    multiplied = [round_stored(round_stored(np.float32(a), stored), wanted) for a in operands[:2]]
    for one, exact in zip(found, expected(op, [*multiplied, *operands[2:]], "f32"), strict=True):
        size = np.abs(exact).max(initial=1e-3)
        np.testing.assert_allclose(one, exact, rtol=NEAR[result], atol=NEAR[result] * size)


@pytest.mark.parametrize("result", NEAR)
@pytest.mark.parametrize("stored", NEAR)
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_products(precision: Precision, stored: Stored, result: Stored) -> None:
    for op, a, b in PRODUCTS:
        agree(op, [random(0, *a), random(1, *b)], precision, stored, result)


@pytest.mark.parametrize("result", NEAR)
@pytest.mark.parametrize("check", [False, True])
def test_bias_relu_dropout(result: Stored, check: bool) -> None:
    parts = (Part(Fc(), (0, 1)), Part(BiasAdd(), (5, 2)), Part(Relu(), (6,)), Part(Dropout(0.5), (7, 3, 4)))
    op = Fused("bias_relu_dropout", parts, (8,))
    operands = [random(0, 3, 21), random(1, 10, 21), random(2, 10), SEED, STEP]
    agree(op, operands, "fp32", "f32", result, machine=HostMachine(check=check))


@pytest.mark.parametrize("result", NEAR)
def test_mask_of_a_gradient(result: Stored) -> None:
    op = Fused("grad_relu", (Part(FcGradInput(), (0, 1)), Part(ReluGrad(), (3, 2))), (4,))
    agree(op, [random(0, 3, 10), random(1, 10, 21), random(2, 3, 21)], "bf16", "f32", result)


def _emitted(precision: Precision, op: Op, *lying: tuple[TensorType, Layout]) -> list[str]:
    """The commands by what they are."""
    *operands, result = lying
    emission = emit(site_of(op, operands, [result], GPUS["sm_90"], precision))
    names = {Launch: lambda c: c.kernel.name, Gemm: lambda c: f"{c.stored} -> {c.out_stored}"}
    return [names[type(command)](command) for command in emission.commands]  # type: ignore[index]


def test_nothing_is_copied_without_need() -> None:
    a, w, y = f32(4, 8), f32(16, 8), f32(4, 16)
    plain, tf32, bf16 = Layout("f32"), Layout("tf32"), Layout("bf16")
    assert _emitted("fp32", Fc(), (a, tf32), (w, plain), (y, plain)) == ["f32 -> f32"]
    assert _emitted("tf32", Fc(), (a, tf32), (w, plain), (y, plain)) == ["tf32 -> f32"]
    assert _emitted("bf16", Fc(), (a, bf16), (w, bf16), (y, bf16)) == ["bf16 -> bf16"]
    assert _emitted("bf16", Fc(), (a, bf16), (w, plain), (y, bf16)) == ["pointwise", "bf16 -> bf16"]
    assert _emitted("bf16", FcGradWeight(), (y, bf16), (a, bf16), (w, plain)) == ["bf16 -> f32"]
    assert _emitted("tf32", Fc(), (a, tf32), (w, plain), (y, tf32)) == ["tf32 -> f32", "pointwise"]
