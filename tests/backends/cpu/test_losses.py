"""Losses and their gradients in emitted C, alone and in one: large scores, shares of a batch and of the classes."""

from __future__ import annotations

import numpy as np
import pytest

from alexnet_ir.backends.cpu.isa import AVX2, SSE, Isa
from alexnet_ir.ir.op import Array
from alexnet_ir.ops.fused import Fused, Part
from alexnet_ir.ops.loss import (
    Hinge,
    HingeGrad,
    LossGrad,
    LossOp,
    RowExpSum,
    RowMax,
    SoftmaxCrossEntropy,
    SoftmaxCrossEntropyGrad,
    SoftmaxCrossEntropyShare,
)
from alexnet_ir.ops.shape import Fill

from ...ops.helpers import rng
from .running import expected, needs_cc, run
from .test_reductions import agrees

pytestmark = needs_cc

SHAPES = [(1, 1), (3, 10), (5, 33), (2, 1000), (300, 2)]
"""Images and classes: fewer than a vector, and more that do not fill the last one."""


def batch(n: int, classes: int, scale: float = 3.0) -> list[Array]:
    """Scores and labels."""
    random = rng(n + classes)
    scores = (scale * random.standard_normal((n, classes))).astype("f4")
    return [scores, random.integers(classes, size=n).astype("i4")]


def in_one(loss: LossOp, grad: LossGrad, start: float | None) -> Fused:
    """A loss with its gradient, from a number or an operand after scores and labels."""
    count = 2 if start is not None else 3
    fill = (Part(Fill(start or 0.0), ()),) if start is not None else ()
    from_number = count + 2 if start is not None else 2
    kept = (count + 1, 1) if isinstance(grad, SoftmaxCrossEntropyGrad) else (count + 1,)
    parts = (Part(loss, (0, 1)), *fill, Part(grad, (from_number, *kept)))
    return Fused("loss_grad", parts, (count, count + len(parts)), ("grad_input",))


PAIRS = [(SoftmaxCrossEntropy, SoftmaxCrossEntropyGrad), (Hinge, HingeGrad)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("loss", "grad"), PAIRS)
def test_losses(shape: tuple[int, int], loss: type[LossOp], grad: type[LossGrad]) -> None:
    scores, label = batch(*shape)
    agrees(loss(), [scores, label])
    agrees(in_one(loss(), grad(), 0.25), [scores, label])


@pytest.mark.parametrize(("loss", "grad"), PAIRS)
@pytest.mark.parametrize("isa", [AVX2, SSE], ids=lambda isa: isa.name)
@pytest.mark.parametrize("threads", [1, 3])
def test_in_one_from_an_operand_and_of_a_share(
    loss: type[LossOp], grad: type[LossGrad], isa: Isa, threads: int
) -> None:
    operands = [*batch(5, 33), np.array(-0.5, "f4")]
    agrees(in_one(loss(12), grad(24), None), operands, isa=isa, threads=threads)


@pytest.mark.parametrize("shape", [(5, 33), (4, 16)])
def test_gradients_alone(shape: tuple[int, int]) -> None:
    kept, label = batch(*shape)
    grad = np.array(0.5, "f4")
    for over in ({}, {0: 1}):
        agrees(SoftmaxCrossEntropyGrad(7, first=2), [grad, kept, label + 2], over=over)
        agrees(HingeGrad(), [grad, kept], over=over)


def test_softmax_over_its_scores() -> None:
    agrees(SoftmaxCrossEntropy(), batch(5, 33), over={1: 0})


def test_shares_of_the_classes_make_the_whole() -> None:
    """As two devices do it."""
    scores, label = batch(6, 50)
    halves = [np.ascontiguousarray(half) for half in np.split(scores, 2, axis=1)]
    largest = np.maximum(*(agrees(RowMax(), [half])[0] for half in halves))
    total = np.add(*(agrees(RowExpSum(), [half, largest])[0] for half in halves))
    losses, softmaxes = [], []
    for first, half in zip((0, 25), halves, strict=True):
        loss, softmax = agrees(SoftmaxCrossEntropyShare(first), [half, label, largest, total])
        losses.append(loss)
        softmaxes.append(softmax)
    loss, softmax = expected(SoftmaxCrossEntropy(), [scores, label])
    np.testing.assert_allclose(sum(losses), loss, rtol=1e-5)
    np.testing.assert_allclose(np.concatenate(softmaxes, axis=1), softmax, atol=1e-6)


def test_large_scores_do_not_overflow() -> None:
    scores, label = batch(5, 33, 3e4)
    loss, grad = run(in_one(SoftmaxCrossEntropy(), SoftmaxCrossEntropyGrad(), 1.0), [scores, label])
    np.testing.assert_allclose(loss, expected(SoftmaxCrossEntropy(), [scores, label])[0], rtol=1e-6)
    assert np.isfinite(grad).all()
    np.testing.assert_allclose(grad.sum(axis=1), 0, atol=1e-6)


@pytest.mark.parametrize("column", [3, 35])
def test_a_score_that_is_no_number_spoils_its_row_alone(column: int) -> None:
    scores, label = batch(3, 40)
    scores[1, column] = np.nan
    loss, softmax = run(SoftmaxCrossEntropy(), [scores, label])
    assert np.isnan(loss)
    assert np.isnan(softmax[1]).all()
    assert np.isfinite(softmax[[0, 2]]).all()
    (largest,) = run(RowMax(), [scores])
    np.testing.assert_array_equal(np.isnan(largest), [False, True, False])


@pytest.mark.parametrize("loss", [SoftmaxCrossEntropy(), Hinge()], ids=str)
@pytest.mark.parametrize("label", [-1, 40, 2**31 - 1])
def test_a_label_that_is_no_class_makes_the_loss_no_number(loss: LossOp, label: int) -> None:
    scores, labels = batch(3, 40)
    labels[1] = label
    assert np.isnan(run(loss, [scores, labels])[0])
