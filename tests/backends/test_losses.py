"""Losses and their gradients on every target, alone and in one: large scores, shares of a batch and of the classes."""

from __future__ import annotations

import numpy as np
import pytest

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

from ..ops.helpers import rng
from .emitted import expected
from .targets import TARGETS, Run
from .test_reductions import agrees

SHAPES = [(1, 1), (3, 10), (5, 33), (2, 1000), (300, 2)]
"""Images and classes: fewer than a vector or a warp, more that do not fill the last one, more than a block; more images
than the threads that add them up."""


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


@TARGETS
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("loss", "grad"), PAIRS)
def test_losses(run: Run, shape: tuple[int, int], loss: type[LossOp], grad: type[LossGrad]) -> None:
    scores, label = batch(*shape)
    agrees(run, loss(), [scores, label])
    agrees(run, in_one(loss(), grad(), 0.25), [scores, label])


@TARGETS
@pytest.mark.parametrize("shape", [(5, 33), (4, 16)])
def test_gradients_alone(run: Run, shape: tuple[int, int]) -> None:
    kept, label = batch(*shape)
    grad = np.array(0.5, "f4")
    for over in ({}, {0: 1}):
        agrees(run, SoftmaxCrossEntropyGrad(7, first=2), [grad, kept, label + 2], over=over)
        agrees(run, HingeGrad(), [grad, kept], over=over)


@TARGETS
def test_softmax_over_its_scores(run: Run) -> None:
    agrees(run, SoftmaxCrossEntropy(), batch(5, 33), over={1: 0})


@TARGETS
def test_shares_of_the_classes_make_the_whole(run: Run) -> None:
    """As two devices do it."""
    scores, label = batch(6, 70)
    halves = [np.ascontiguousarray(half) for half in np.split(scores, 2, axis=1)]
    largest = np.maximum(*(agrees(run, RowMax(), [half])[0] for half in halves))
    total = np.add(*(agrees(run, RowExpSum(), [half, largest])[0] for half in halves))
    losses, softmaxes = [], []
    for first, half in zip((0, 35), halves, strict=True):
        loss, softmax = agrees(run, SoftmaxCrossEntropyShare(first), [half, label, largest, total])
        losses.append(loss)
        softmaxes.append(softmax)
    loss, softmax = expected(SoftmaxCrossEntropy(), [scores, label])
    np.testing.assert_allclose(sum(losses), loss, rtol=1e-5)
    np.testing.assert_allclose(np.concatenate(softmaxes, axis=1), softmax, atol=1e-6)


@TARGETS
def test_large_scores_do_not_overflow(run: Run) -> None:
    scores, label = batch(5, 33, 3e4)
    loss, grad = run(in_one(SoftmaxCrossEntropy(), SoftmaxCrossEntropyGrad(), 1.0), [scores, label])
    np.testing.assert_allclose(loss, expected(SoftmaxCrossEntropy(), [scores, label])[0], rtol=1e-6)
    assert np.isfinite(grad).all()
    np.testing.assert_allclose(grad.sum(axis=1), 0, atol=1e-6)


@TARGETS
@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("column", [3, 35])
def test_a_score_that_is_no_number_spoils_its_row_alone(run: Run, column: int) -> None:
    scores, label = batch(3, 40)
    scores[1, column] = np.nan
    loss, softmax = run(SoftmaxCrossEntropy(), [scores, label])
    assert np.isnan(loss)
    assert np.isnan(softmax[1]).all()
    assert np.isfinite(softmax[[0, 2]]).all()
    np.testing.assert_array_equal(run(RowMax(), [scores])[0], scores.max(axis=1))


@TARGETS
@pytest.mark.parametrize("loss", [SoftmaxCrossEntropy(), Hinge()], ids=str)
@pytest.mark.parametrize("label", [-1, 40, 2**31 - 1])
def test_a_label_that_is_no_class_makes_the_loss_no_number(run: Run, loss: LossOp, label: int) -> None:
    scores, labels = batch(3, 40)
    labels[1] = label
    assert np.isnan(run(loss, [scores, labels])[0])
