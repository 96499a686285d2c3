"""Sums over a batch on every target: of many parts, in every layout, exact enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ops.dense import BiasGrad

from ..ops.helpers import rng
from .emitted import expected
from .targets import TARGETS, Run

SHAPES = [(2, 3, 5, 7), (5, 20, 9, 9), (1, 136, 6, 5), (1, 1100, 3, 2), (70, 6), (700, 6), (130, 12), (3, 1, 40, 40)]
"""Channels that fill a vector, do not, and are more than a block; fewer rows than parts, one part of them, and many."""


def normal(*shape: int, mean: float = 0.0) -> Array:
    """The same numbers every time."""
    return (mean + rng(sum(shape)).standard_normal(shape)).astype("f4")


def agrees(run: Run, op: Op, operands: Sequence[Array], tolerance: float = 1e-5, **how: Any) -> list[Array]:
    """What is emitted makes what the op means, within a share of each result's largest number; and what it makes."""
    found = run(op, operands, **how)
    for one, wanted in zip(found, expected(op, operands, how.get("stored", "f32")), strict=True):
        assert one.shape == wanted.shape
        np.testing.assert_allclose(one, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())
    return found


@TARGETS
@pytest.mark.parametrize("shape", [*SHAPES, (1, 33)])
@pytest.mark.parametrize("last", [True, False])
def test_gradients_of_biases(run: Run, shape: tuple[int, ...], last: bool) -> None:
    agrees(run, BiasGrad(), [normal(*shape)], channels_last=last)
    agrees(run, BiasGrad(False), [normal(*shape)], channels_last=last)


@TARGETS
@pytest.mark.filterwarnings("ignore:invalid value")
def test_special_values_come_through(run: Run) -> None:
    input = normal(40, 3)
    input[7, 0], input[9, 1] = np.nan, np.inf
    (sums,) = run(BiasGrad(), [input])
    assert np.isnan(sums[0])
    assert np.isinf(sums[1])
