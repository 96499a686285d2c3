"""Every way that an op says it can be shared out, by its definition: cut the operands, run each device's op on its
share, put the results together, and there is what the op makes of the whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from alexnet_ir.ir.graph import Builder, Graph
from alexnet_ir.ir.op import Array, Op, Strategy, TypeRuleError
from alexnet_ir.ir.types import PARTIAL, REPLICATED, On, Partial, Placement, Split, TensorType, dual
from alexnet_ir.ops.dropout import Dropout
from alexnet_ir.ops.fused import Fused
from alexnet_ir.ops.loss import LossGrad, LossOp
from alexnet_ir.ops.placing import Reshard
from alexnet_ir.ops.shape import Fill
from alexnet_ir.ops.table import OPS

from ..meaning import assembled, share_of
from .helpers import rng, type_of
from .op_table import CROSSING, ROWS, Row
from .test_gradients import DIFFERENTIABLE
from .wide_table import WIDE

DEVICES = (2, 3, 4)
LINEAR = {
    "conv_grad_input", "conv_grad_weight", "local_grad_input", "local_grad_weight", "fc_grad_input", "fc_grad_weight",
    "bias_add", "bias_grad", "identity", "relu_grad", "leaky_relu_grad", "tanh_grad", "sigmoid_grad", "abs_grad",
    "scale", "add", "lrn_grad", "local_norm_grad", "maxpool_grad", "avgpool_grad", "l2pool_grad", "global_avgpool",
    "global_avgpool_grad", "batchnorm_grad", "dropout", "flatten", "unflatten", "concat", "slice",
    "softmax_cross_entropy_grad", "hinge_grad",
}  # fmt: skip
"""Ops that can be done of each part of a sum: all gradients, linear in what comes back, among them."""

wide_rows = pytest.mark.parametrize("row", WIDE, ids=lambda row: row.id)


def strategies_of(row: Row, devices: int) -> list[tuple[Strategy, list[TensorType], list[TensorType]]]:
    """A row's strategies, with the types of operands and results placed as they say."""
    operands = [type_of(a) for a in row.arrays()]
    results = [type_of(a) for a in row.op.evaluate(row.arrays())]
    return [
        (s, list(map(TensorType.at, operands, s.operands)), list(map(TensorType.at, results, s.results)))
        for s in row.op.strategies(operands, results, devices)
    ]


def parts_of(array: Array, placement: Placement, devices: int) -> dict[int, Array]:
    """What each device has of a value; a sum is in random parts."""
    where = [placement.device] if isinstance(placement, On) else range(devices)
    if isinstance(placement, Partial):
        parts = list(rng(5).standard_normal((devices - 1, *array.shape)))
        return dict(enumerate([*parts, array - sum(parts)]))
    return {device: share_of(array, placement, device, devices) for device in where}


def shared_out(
    row: Row, operands: Sequence[TensorType], device_types: Sequence[TensorType], devices: int
) -> list[Array]:
    """The results of a row's op, made on so many devices, put together again."""
    arrays = row.arrays()
    parts = [parts_of(a, t.placement, devices) for a, t in zip(arrays, operands, strict=True)]
    where = parts_of(np.zeros(device_types[0].shape), device_types[0].placement, devices)
    made: dict[int, tuple[Array, ...]] = {}
    for device in where:
        op, own = row.op.shard(operands, device, devices), [p[device] for p in parts]
        made[device] = op.evaluate(own)
        assert list(op.infer([type_of(a) for a in own])) == [type_of(a) for a in made[device]]
        assert [a.shape for a in made[device]] == [t.local(devices) for t in device_types]
    return [assembled({d: made[d][i] for d in made}, type_.placement) for i, type_ in enumerate(device_types)]


def is_share(op: Op) -> bool:
    """Whether an op is what one device runs already."""
    shares = isinstance(op, Dropout | LossOp | LossGrad)
    return shares and any(getattr(op, name, 0) for name in ("start", "period", "count", "first"))


@pytest.mark.parametrize("row", [row for row in (*WIDE, *ROWS) if not is_share(row.op)], ids=lambda row: row.id)
def test_sharing_out_changes_no_result(row: Row) -> None:
    whole = row.op.evaluate(row.arrays())
    for devices in DEVICES:
        for strategy, operands, results in strategies_of(row, devices):
            if not strategy.exchanged:
                for found, expected in zip(shared_out(row, operands, results, devices), whole, strict=True):
                    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9, err_msg=str(strategy))


def test_every_op_is_shared_out_in_every_way_that_it_knows() -> None:
    """No strategy of a wide row is left out because its sizes do not divide."""
    assert {type(row.op) for row in WIDE} == set(OPS.values()) - CROSSING - {Fused}
    for row in WIDE:
        types = [type_of(a) for a in row.arrays()], [type_of(a) for a in row.op.evaluate(row.arrays())]
        for devices in DEVICES:
            assert all(strategy.fits(*types, devices) for strategy in row.op.splits(*types, devices)), row.id


@wide_rows
def test_only_linear_ops_take_a_part_of_a_sum(row: Row) -> None:
    takes = [s for s, _, _ in strategies_of(row, 2) if PARTIAL in s.operands]
    assert bool(takes) == (row.op.name in LINEAR)
    assert all(set(s.results) == {PARTIAL} for s in takes)


@wide_rows
def test_what_no_strategy_takes_is_refused(row: Row) -> None:
    """The first operand placed alone in every way: the rule finds a strategy for it, or says S030."""
    types = [type_of(a) for a in row.arrays()]
    accepted = [s for s, _, _ in strategies_of(row, 2)]
    for placement in (Split(0), Split(1), PARTIAL, On(1), On(2)):
        if types and types[0].can_be(placement, 3):
            operands = [types[0].at(placement), *types[1:]]
            placements = [t.placement for t in operands]
            fitting = [s for s in accepted if s.accepts(placements)]
            if fitting:
                found = row.op.infer(operands, 2)
                assert tuple(t.placement for t in found if isinstance(t, TensorType)) == fitting[0].results
            else:
                with pytest.raises(TypeRuleError, match="on 2 devices cannot take") as caught:
                    row.op.infer(operands, 2)
                assert caught.value.code == "S030"


def test_a_replicated_operand_is_on_every_device() -> None:
    for row in WIDE:
        for strategy, operands, results in strategies_of(row, 2):
            for position, want in enumerate(strategy.operands):
                if isinstance(want, On) and len(operands) > 1:
                    mixed = [t.at(REPLICATED) if i == position else t for i, t in enumerate(operands)]
                    assert list(row.op.infer(mixed, 2)) == results


# --- gradients ----------------------------------------------------------------------------------------------------


def placed_operands(row: Row, devices: int) -> Iterator[list[TensorType]]:
    """The operands as every strategy wants them; where it wants one device, also with one that is on all."""
    for strategy, operands, _ in strategies_of(row, devices):
        yield operands
        if isinstance(strategy.operands[0], On) and len(operands) > 1:
            yield [operands[0], *(t.at(REPLICATED) for t in operands[1:])]


@pytest.mark.parametrize("devices", DEVICES)
@pytest.mark.parametrize("row", [row for row in WIDE if type(row.op) in DIFFERENTIABLE], ids=lambda row: row.id)
def test_gradients_take_the_duals_and_give_them(row: Row, devices: int) -> None:
    """A gradient's nodes can be placed whatever the strategy was, and what they give lies dually to its operand, or can
    be brought there."""
    for operands in placed_operands(row, devices):
        graph = Graph("g", devices)
        inputs = [graph.input(f"x{i}", type_) for i, type_ in enumerate(operands)]
        node = graph.node(graph.emit(row.op, *inputs, name="y"))
        made = graph.tensor(node.results[0])
        grad = graph.input("g", made.at(dual(made.placement)))
        for operand, found in zip(operands, row.op.gradient(Builder(graph, node), node, grad), strict=True):
            if found is None:
                continue
            want = dual(operand.placement)
            assert graph.tensor(found).shape == operand.shape
            assert graph.tensor(found).placement == want or brought(row, graph.tensor(found), operand)
            graph.emit(Reshard(str(want)), found, name="aligned")


def brought(row: Row, found: TensorType, operand: TensorType) -> bool:
    """Where a gradient does not lie dually by itself: a normalisation's sums are whole on every device, and what one
    device has of a value that all have is its part of the gradient."""
    from_one = isinstance(found.placement, On)
    return operand.placement == REPLICATED and (from_one or row.op.name == "batchnorm")


# --- constants ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("devices", DEVICES)
@pytest.mark.parametrize("placement", ["replicated", "split(0)", "split(1)", "partial", "on(1)"])
def test_shares_of_a_constant(placement: str, devices: int) -> None:
    fill = Fill(0.5, (12, 24), placement)
    (type_,) = fill.infer([], devices)
    assert isinstance(type_, TensorType)
    assert str(type_.placement) == placement
    where = [1] if placement == "on(1)" else range(devices)
    locals_ = {device: fill.local(device, devices) for device in where}
    assert all(str(local.infer([], devices)[0]).endswith(f"on({device})") for device, local in locals_.items())
    parts = {device: local.evaluate([])[0] for device, local in locals_.items()}
    np.testing.assert_array_equal(assembled(parts, type_.placement), np.full((12, 24), 0.5))
