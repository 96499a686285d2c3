"""Losses and their gradients, alone and in one: rows longer than a block, large scores, shares of a batch."""

from __future__ import annotations

import numpy as np
import pytest

from alexnet_ir.backends.cuda.host.machine import HostMachine
from alexnet_ir.ops.loss import (
    Hinge,
    HingeGrad,
    LossGrad,
    LossOp,
    RowExpSum,
    RowMax,
    SoftmaxCrossEntropy,
    SoftmaxCrossEntropyGrad,
)

from ..test_losses import PAIRS, batch, in_one
from ..test_reductions import agrees
from .running import expected, needs_gxx, run

pytestmark = needs_gxx


@pytest.mark.parametrize(("loss", "grad"), PAIRS)
def test_in_one_from_an_operand_and_of_a_share(loss: type[LossOp], grad: type[LossGrad]) -> None:
    agrees(run, in_one(loss(12), grad(24), None), [*batch(5, 33), np.array(-0.5, "f4")])


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
    agrees(run, in_one(SoftmaxCrossEntropy(), SoftmaxCrossEntropyGrad(), 1.0), [scores, label], machine=machine)
    agrees(run, in_one(Hinge(), HingeGrad(), 1.0), [scores, label], machine=machine)
    agrees(run, RowMax(), [scores], machine=machine)
    agrees(run, RowExpSum(), [scores, scores.max(axis=1)], machine=machine)
    agrees(run, SoftmaxCrossEntropyGrad(first=3), [np.array(1.0, "f4"), scores, label], machine=machine)
