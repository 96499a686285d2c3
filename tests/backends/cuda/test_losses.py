"""Losses and their gradients, alone and in one: rows longer than a block, large scores, shares of a batch."""

from __future__ import annotations

import numpy as np
import pytest

from alexnet_ir.backends.cuda.host.machine import HostMachine
from alexnet_ir.ir.op import Array, Op
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
from .running import expected, needs_gxx, run

pytestmark = needs_gxx

SHAPES = [(1, 1), (3, 10), (5, 33), (2, 1000), (300, 2)]
"""Images and classes: fewer than a warp, more than a block; more images than the threads that add them up."""


def batch(n: int, classes: int, scale: float = 3.0) -> list[Array]:
    """Scores and labels."""
    random = rng(n + classes)
    scores = (scale * random.standard_normal((n, classes))).astype("f4")
    return [scores, random.integers(classes, size=n).astype("i4")]


def agrees(op: Op, operands: list[Array], machine: HostMachine | None = None) -> None:
    """What is emitted makes what the op means."""
    for one, wanted in zip(run(op, operands, machine=machine), expected(op, operands), strict=True):
        np.testing.assert_allclose(one, wanted, rtol=0, atol=1e-5 * max(np.abs(wanted).max(), 1e-3))


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
def test_in_one_from_an_operand_and_of_a_share(loss: type[LossOp], grad: type[LossGrad]) -> None:
    agrees(in_one(loss(12), grad(24), None), [*batch(5, 33), np.array(-0.5, "f4")])


def test_large_scores_do_not_overflow() -> None:
    scores, label = batch(5, 33, 3e4)
    loss, grad = run(in_one(SoftmaxCrossEntropy(), SoftmaxCrossEntropyGrad(), 1.0), [scores, label])
    np.testing.assert_allclose(loss, expected(SoftmaxCrossEntropy(), [scores, label])[0], rtol=1e-6)
    assert np.isfinite(grad).all()
    np.testing.assert_allclose(grad.sum(axis=1), 0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_score_that_is_no_number_spoils_its_row_alone() -> None:
    scores, label = batch(3, 40)
    scores[1, 35] = np.nan
    loss, softmax = run(SoftmaxCrossEntropy(), [scores, label])
    assert np.isnan(loss)
    np.testing.assert_array_equal(np.isnan(softmax).any(axis=1), [False, True, False])
    np.testing.assert_array_equal(run(RowMax(), [scores])[0], scores.max(axis=1))


@pytest.mark.parametrize("loss", [SoftmaxCrossEntropy(), Hinge()], ids=str)
def test_a_label_that_is_no_class_makes_the_loss_nan(loss: LossOp) -> None:
    scores, label = batch(3, 40)
    for wrong in (40, -1):
        assert np.isnan(run(loss, [scores, np.where(label == label[1], wrong, label).astype("i4")])[0])


def test_shares_of_the_classes_make_the_whole() -> None:
    scores, label = batch(6, 70)
    (largest,) = run(RowMax(), [scores])
    left, right = (run(RowExpSum(), [part, largest])[0] for part in (scores[:, :35], scores[:, 35:]))
    sums = left + right
    whole, softmax = expected(SoftmaxCrossEntropy(), [scores, label])
    shares = [
        run(
            SoftmaxCrossEntropyShare(first), [np.ascontiguousarray(scores[:, first : first + 35]), label, largest, sums]
        )
        for first in (0, 35)
    ]
    np.testing.assert_allclose(shares[0][0] + shares[1][0], whole, rtol=1e-5)
    np.testing.assert_allclose(np.hstack([shares[0][1], shares[1][1]]), softmax, atol=1e-6)


def test_the_gradient_may_lie_over_what_the_loss_kept() -> None:
    scores, label = batch(5, 33)
    (found,) = run(SoftmaxCrossEntropyGrad(), [np.array(2.0, "f4"), scores, label], over={0: 1})
    np.testing.assert_allclose(found, expected(SoftmaxCrossEntropyGrad(), [np.array(2.0), scores, label])[0], rtol=1e-5)
    _, softmax = run(SoftmaxCrossEntropy(), [scores, label], over={1: 0}, machine=HostMachine(order="shuffled"))
    np.testing.assert_allclose(softmax, expected(SoftmaxCrossEntropy(), [scores, label])[1], atol=1e-6)


@pytest.mark.parametrize(("loss", "grad"), PAIRS)
def test_the_order_of_threads_changes_nothing(loss: type[LossOp], grad: type[LossGrad]) -> None:
    machines = [HostMachine(), HostMachine(order="reverse"), HostMachine(order="shuffled", seed=3)]
    found = [run(in_one(loss(), grad(), 1.0), batch(2, 1000), machine=machine) for machine in machines]
    for other in found[1:]:
        np.testing.assert_array_equal(found[0][0], other[0])
        np.testing.assert_array_equal(found[0][1], other[1])


def test_every_access_is_right() -> None:
    machine, (scores, label) = HostMachine(check=True, order="shuffled"), batch(3, 40)
    agrees(in_one(SoftmaxCrossEntropy(), SoftmaxCrossEntropyGrad(), 1.0), [scores, label], machine)
    agrees(in_one(Hinge(), HingeGrad(), 1.0), [scores, label], machine)
    agrees(RowMax(), [scores], machine)
    agrees(RowExpSum(), [scores, scores.max(axis=1)], machine)
    agrees(SoftmaxCrossEntropyGrad(first=3), [np.array(1.0, "f4"), scores, label], machine)
