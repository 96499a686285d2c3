"""Mistakes that a partition can make, put in one at a time: the checks must find each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from alexnet_ir.compiler import read_model
from alexnet_ir.ir.op import Op, Strategy, TypeRuleError
from alexnet_ir.ir.types import PARTIAL, REPLICATED, Placement, TensorType
from alexnet_ir.ir.verify import VerificationError
from alexnet_ir.ops.batchnorm import BatchNorm, BatchNormGrad
from alexnet_ir.ops.dense import BiasAdd, BiasGrad
from alexnet_ir.ops.dropout import Dropout
from alexnet_ir.ops.elementwise import Relu
from alexnet_ir.ops.loss import LossGrad, LossOp, SoftmaxCrossEntropyGrad
from alexnet_ir.ops.normalize import Lrn, LrnGrad
from alexnet_ir.passes import backward, collectives
from alexnet_ir.passes.collectives import Collectives, Shares
from alexnet_ir.passes.exchanging import EXCHANGING
from alexnet_ir.passes.placements import Mode, follow

from ..ops.test_strategies import test_sharing_out_changes_no_result as check_shares
from ..ops.wide_table import WIDE
from .checks import check_placed
from .placed import forward_of

MODEL = read_model("""\
alx 1
net N {
  image = input(2, 6, 6)
  return image -> conv1: conv(8, 3, pad = 1, bias = 1) -> relu -> lrn(3, 2, 0.5, 0.75) -> maxpool(2)
    -> conv2: conv(8, 3, pad = 1) -> batchnorm -> relu -> flatten
    -> fc3: fc(8, bias = 1) -> relu -> dropout(0.5) -> fc4: fc(4)
}
train t { batch: 4 stop: steps(2) loss: softmax_cross_entropy() optimizer: sgd(lr = 0.1) }
""")
LAYERS = ("conv1", "conv2", "fc3", "fc4")
WRONG = (AssertionError, TypeRuleError, VerificationError)


def check(mode: Mode) -> None:
    """The net with all its layers in one mode."""
    random = np.random.default_rng(0)
    feeds = {
        "image": random.standard_normal((4, 2, 6, 6)), "train.label": np.arange(4, dtype="i4"), "train.seed": 5,
        "train.step": 2, "train.lr": 0.1, "train.momentum": 0.9, "train.weight_decay": 0.01,
    }  # fmt: skip
    check_placed(MODEL, 2, follow(forward_of(MODEL), 2, dict.fromkeys(LAYERS, mode)), feeds)


def check_row(op: type[Op]) -> None:
    """The wide rows of an op."""
    for row in WIDE:
        if type(row.op) is op:
            check_shares(row)


def by_itself(write: Collectives, op: Op, types: Sequence[TensorType], shares: Sequence[Shares]) -> tuple[Shares, ...]:
    """Each device does the op on its share, and asks nobody."""
    made = {d: write.graph.emit_all(op, *(s[d] for s in shares), name=f"{write.name}@{d}") for d in shares[0]}
    return tuple({d: made[d][i] for d in made} for i in range(len(op.results)))


@pytest.mark.parametrize("mode", ["batch", "channels", "inputs"])
def test_without_a_fault_all_is_well(mode: Mode) -> None:
    check(mode)
    for op in (Relu, Dropout, BiasAdd, BiasGrad, SoftmaxCrossEntropyGrad):
        check_row(op)


@pytest.mark.parametrize("op", [Lrn, LrnGrad])
def test_a_dropped_halo(op: type[Op], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXCHANGING, op, by_itself)  # type: ignore[misc]
    with pytest.raises(AssertionError):
        check("channels")


@pytest.mark.parametrize("op", [BatchNorm, BatchNormGrad])
def test_a_normalisation_by_each_devices_own_statistics(op: type[Op], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXCHANGING, op, by_itself)  # type: ignore[misc]
    with pytest.raises(AssertionError):
        check("batch")


@pytest.mark.parametrize("mode", ["batch", "channels", "inputs"])
def test_gradients_that_lie_as_their_values_do(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    """The double count: a replicated weight's gradient is taken for whole on every device."""
    monkeypatch.setattr(backward, "dual", lambda placement: placement)
    with pytest.raises(WRONG):
        check(mode)


def test_a_sum_through_relu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Relu, "linear", True)
    with pytest.raises(AssertionError):
        check_row(Relu)
    with pytest.raises(WRONG):
        check("inputs")


@pytest.mark.parametrize("mode", ["batch", "inputs"])
def test_masks_by_each_devices_own_index(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dropout, "shard", Op.shard)
    with pytest.raises(AssertionError):
        check_row(Dropout)
    with pytest.raises(AssertionError):
        check(mode)


@pytest.mark.parametrize("op", [LossOp, LossGrad])
def test_a_mean_over_each_devices_own_images(op: type[Op], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(op, "shard", Op.shard)
    with pytest.raises(AssertionError):
        check("batch")


def test_a_bias_on_every_part_of_a_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    def splits(self: Op, *types: object) -> Iterator[Strategy]:
        yield Strategy((PARTIAL, REPLICATED), (PARTIAL,))

    monkeypatch.setattr(BiasAdd, "splits", splits)
    with pytest.raises(AssertionError):
        check_row(BiasAdd)
    with pytest.raises(AssertionError):
        check("inputs")


def test_a_sum_that_is_taken_for_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reshard that moves nothing."""
    monkeypatch.setattr(Collectives, "_reshard", lambda self, shares, type_, want: shares)
    with pytest.raises(WRONG):
        check("batch")


def test_an_exchange_that_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gather by way of one device moves more than one from each to each."""

    def all_gather(self: Collectives, shares: Shares, axis: int) -> Shares:
        whole = self.concat(0, [self.copy(shares[s], 0) for s in sorted(shares)], axis)
        return {d: self.copy(whole, d) for d in shares}

    monkeypatch.setattr(Collectives, "all_gather", all_gather)
    with pytest.raises(AssertionError):
        check("channels")


def test_a_wrong_share_of_a_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each device gets its neighbour's."""
    piece = Collectives.piece

    def shifted(self: Collectives, value: object, axis: int, index: int) -> object:
        return piece(self, value, axis, (index + 1) % self.devices)  # type: ignore[arg-type]

    monkeypatch.setattr(collectives.Collectives, "piece", shifted)
    with pytest.raises(AssertionError):
        check("inputs")


def test_the_faults_are_of_placements_that_are_taken() -> None:
    """Each fault's op is shared out in the net where its check looks for it."""
    forward = forward_of(MODEL)

    def where(mode: Mode, name: str) -> Placement:
        return follow(forward, 2, dict.fromkeys(LAYERS, mode))[name].results[0]

    assert [str(where("channels", "lrn1")), str(where("batch", "batchnorm1"))] == ["split(1)", "split(0)"]
    assert [str(where("inputs", "dropout1")), str(where("inputs", "fc3.bias_add"))] == ["split(1)", "partial"]
