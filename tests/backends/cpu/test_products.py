"""Fully connected layers and their gradients, in emitted C."""

from __future__ import annotations

import numpy as np
import pytest

from alexnet_ir.backends.cpu.isa import AVX2, SSE, Isa
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ops.dense import Fc, FcGradInput, FcGradWeight

from .running import expected, kernels, needs_cc, run

pytestmark = needs_cc
RNG = np.random.default_rng(0)
OPS: tuple[Op, ...] = (Fc(), FcGradInput(), FcGradWeight())


def operands(op: Op, images: int, channels: int, kernels: int) -> list[Array]:
    x, w, dy = (RNG.standard_normal(s) for s in ((images, channels), (kernels, channels), (images, kernels)))
    return {"fc": [x, w], "fc_grad_input": [dy, w], "fc_grad_weight": [dy, x]}[op.name]


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
@pytest.mark.parametrize(
    ("images", "channels", "count"),
    [(1, 1, 1), (1, 700, 33), (3, 65, 13), (4, 64, 64), (5, 300, 31), (33, 2100, 50), (70, 37, 600), (128, 96, 25)],
)
def test_against_the_meaning(op: Op, images: int, channels: int, count: int) -> None:
    given = operands(op, images, channels, count)
    (want,) = expected(op, given)
    for threads in (1, 3):
        np.testing.assert_allclose(run(op, given, threads=threads)[0], want, rtol=1e-5, atol=1e-6 * np.abs(want).max())


@pytest.mark.parametrize("isa", [AVX2, SSE], ids=lambda isa: isa.name)
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_narrower_vectors(op: Op, isa: Isa) -> None:
    given = operands(op, 19, 301, 41)
    (want,) = expected(op, given)
    np.testing.assert_allclose(run(op, given, isa=isa)[0], want, rtol=1e-5, atol=1e-6 * np.abs(want).max())


@pytest.mark.parametrize("images", [2, 9])
def test_nan_comes_through(images: int) -> None:
    x, w = operands(Fc(), images, 40, 20)
    x[1, 3] = np.nan
    found = run(Fc(), [x, w])[0]
    assert np.isnan(found[1]).all()
    assert not np.isnan(np.delete(found, 1, axis=0)).any()


def test_they_are_kernels() -> None:
    assert [kernels(op, operands(op, 9, 8, 7)) for op in OPS] == [["fc"], ["fc_grad_input"], ["fc_grad_weight"]]
