"""Costs, against the published counts of the paper's net."""

from __future__ import annotations

import pytest

from alexnet_ir.ir.types import f32
from alexnet_ir.ops.conv import Conv
from alexnet_ir.ops.dense import Fc
from alexnet_ir.ops.elementwise import Relu
from alexnet_ir.ops.local import Local
from alexnet_ir.ops.pool import MaxPool

from .helpers import type_of, with_gradient
from .op_table import ROWS, Row

# op, channels and size of the input, kernels, size of the kernels, multiply-accumulates an image
ALEXNET = [
    (Conv(4, (0, 3)), (3, 224), 96, 11, 105_415_200),
    (Conv(1, 2, 2), (96, 27), 256, 5, 223_948_800),
    (Conv(1, 1), (256, 13), 384, 3, 149_520_384),
    (Conv(1, 1, 2), (384, 13), 384, 3, 112_140_288),
    (Conv(1, 1, 2), (384, 13), 256, 3, 74_760_192),
]
FULLY_CONNECTED = [(9216, 4096), (4096, 4096), (4096, 1000)]


@pytest.mark.parametrize("batch", [1, 128])
def test_multiply_accumulates_of_alexnet(batch: int) -> None:
    convolutions = []
    for op, (channels, size), kernels, window, expected in ALEXNET:
        operands = [f32(batch, channels, size, size), f32(kernels, channels // op.groups, window, window)]
        convolutions.append(op.cost(operands, [op.type_rule(*operands)]).macs)
        assert convolutions[-1] == batch * expected
    dense = [Fc().cost([f32(batch, c), f32(u, c)], [f32(batch, u)]).macs for c, u in FULLY_CONNECTED]
    assert sum(convolutions) == batch * 665_784_864
    assert sum(dense) == batch * 58_621_952
    assert sum(convolutions) + sum(dense) == batch * 724_406_816


def test_untied_weights_cost_what_tied_ones_do() -> None:
    input, weight = f32(8, 6, 9, 9), f32(4, 3, 3, 3)
    tied = Conv(2, 1, 2).cost([input, weight], [f32(8, 4, 5, 5)])
    untied = Local(2, 1, 2).cost([input, f32(*weight.shape, 5, 5)], [f32(8, 4, 5, 5)])
    assert tied.macs == untied.macs
    assert untied.nbytes - tied.nbytes == 4 * weight.size * (5 * 5 - 1)


def test_floats_of_untied_weights() -> None:
    """conv1 of AlexNet untied: a weight and a bias for every position."""
    op, (channels, size), kernels, window, _ = ALEXNET[0]
    rows, columns = op.windows((size, size), (window, window)).output
    weight = f32(kernels, channels, window, window, rows, columns)
    assert weight.size + kernels * rows * columns == 105_705_600


products = [row for row in ROWS if row.op.name in ("conv", "local", "fc")]


@pytest.mark.parametrize("row", products, ids=lambda row: row.id)
def test_each_gradient_of_a_product_costs_as_much_as_the_product(row: Row) -> None:
    graph, node, _, grads = with_gradient(row.op, row.arrays())
    nodes = [node, *(graph.node(value) for value in grads if value is not None)]
    costs = [n.op.cost([graph.tensor(v) for v in n.operands], [graph.tensor(v) for v in n.results]) for n in nodes]
    assert len({cost.macs for cost in costs}) == 1
    assert all(cost.flops == 2 * cost.macs > 0 for cost in costs)


def test_bytes_are_those_read_and_written() -> None:
    assert Relu().cost([f32(2, 3)], [f32(2, 3)]).nbytes == 48
    op = MaxPool(2)
    pooled, argmax = op.infer([f32(1, 1, 4, 4)])
    assert op.cost([f32(1, 1, 4, 4)], [pooled, argmax]).nbytes == 4 * 16 + 4 * 4 + 4


def test_every_op_has_a_cost() -> None:
    """Moving elements costs bytes and no arithmetic; no op costs less than nothing."""
    for row in ROWS:
        arrays = row.arrays()
        operands = [type_of(a) for a in arrays]
        cost = row.op.cost(operands, row.op.infer(operands))
        assert cost.nbytes == sum(4 * a.size if a.dtype == "float64" else a.nbytes for a in arrays) + sum(
            4 * a.size if a.dtype == "float64" else a.nbytes for a in row.op.evaluate(arrays)
        )
        moves = {"identity", "flatten", "unflatten", "concat", "slice", "fill"}
        assert (cost.flops == 0) == (row.op.name in moves)
