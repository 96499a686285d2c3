"""The ops that exchange something while they run, each by itself: the result is that of the whole, and the copies are
the bytes that its strategy says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from alexnet_ir.ir.graph import Graph
from alexnet_ir.ir.op import Array, Op, Strategy
from alexnet_ir.ir.types import BATCH, CHANNELS, REPLICATED, TensorType, f32
from alexnet_ir.ops.batchnorm import BatchNorm, BatchNormGrad
from alexnet_ir.ops.loss import SoftmaxCrossEntropy
from alexnet_ir.ops.normalize import Lrn, LrnGrad
from alexnet_ir.ops.table import OPS
from alexnet_ir.passes.base import run_passes
from alexnet_ir.passes.distribute import Distribute
from alexnet_ir.passes.exchanging import EXCHANGING

from .. import meaning
from ..ops.helpers import rng, type_of
from ..ops.wide_table import WIDE
from .placed import kinds


def exchanging(op: Op, operands: Sequence[TensorType], devices: int) -> Strategy:
    """The one strategy that exchanges something."""
    results = [t for t in op.infer(operands) if isinstance(t, TensorType)]
    (found,) = (s for s in op.strategies(operands, results, devices) if s.exchanged)
    return found


def check(op: Op, arrays: Sequence[Array], devices: int) -> dict[str, int]:
    """An op on several devices against the whole; the bytes exchanged, by kind."""
    types = [type_of(a) for a in arrays]
    strategy = exchanging(op, types, devices)
    graph, names = Graph("g", devices), [f"x{i}" for i in range(len(arrays))]
    placed = map(TensorType.at, types, strategy.operands)
    values = graph.emit_all(op, *map(graph.input, names, placed), name="y")
    graph.outputs = {f"y{i}": value for i, value in enumerate(values)}
    assert tuple(graph.tensor(v).placement for v in values) == strategy.results
    program = run_passes(graph, [Distribute()])
    found = meaning.results(program, dict(zip(names, arrays, strict=True)))
    for value, expected in zip(found.values(), op.evaluate(arrays), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-9)
    moved = kinds(program)
    assert sum(moved.values()) == strategy.exchanged
    return moved


def test_every_op_that_exchanges_is_written() -> None:
    exchange = {
        type(row.op)
        for row in WIDE
        for s in row.op.strategies(
            [type_of(a) for a in row.arrays()], [type_of(a) for a in row.op.evaluate(row.arrays())], 2
        )
        if s.exchanged
    }
    assert exchange == set(EXCHANGING) <= set(OPS.values())


@pytest.mark.parametrize("devices", [2, 3, 4])
@pytest.mark.parametrize("n", [1, 3, 5, 7])
def test_lrn_reads_across_borders(n: int, devices: int) -> None:
    """Each border is crossed by n // 2 maps in both directions; the gradient's inputs reach twice as far."""
    reach, channels = n // 2, devices * max(2 * (n // 2), 3)
    maps = rng().standard_normal((2, 2, channels, 2, 3))
    if not reach:
        assert not any(s.exchanged for s in Lrn(1, 2, 0.5, 0.75).splits([f32(2, 6, 1, 1)], [f32(2, 6, 1, 1)], 2))
        return
    a_map = 2 * 2 * 3 * 4
    crossed = 2 * (devices - 1) * a_map
    assert check(Lrn(n, 2, 0.5, 0.75), [maps[0]], devices) == {"halo": crossed * reach}
    assert check(LrnGrad(n, 2, 0.5, 0.75), [maps[0], maps[1]], devices) == {"halo": crossed * 3 * reach}


@pytest.mark.parametrize(("channels", "groups"), [(6, 1), (12, 3), (9, 1)])
def test_lrn_that_would_reach_too_far_is_not_split_over_maps(channels: int, groups: int) -> None:
    """A share must hold what its neighbour's gradient reads, and groups must not be cut while others meet."""
    types = [f32(2, channels, 2, 2)]
    for op, operands in ((Lrn(5, 2, 0.5, 0.75, groups), types), (LrnGrad(5, 2, 0.5, 0.75, groups), types * 2)):
        found = [s.operands[0] for s in op.strategies(operands, types, 2)]
        assert (BATCH in found, CHANNELS in found) == (True, False)


def test_lrn_by_groups_moves_nothing() -> None:
    types = [f32(2, 16, 2, 2)]
    for devices in (2, 4):
        (found,) = (s for s in Lrn(5, 2, 0.5, 0.75, 4).splits(types, types, devices) if s.operands == (CHANNELS,))
        assert found.exchanged == 0


@pytest.mark.parametrize("devices", [2, 3, 4])
@pytest.mark.parametrize("shape", [(12, 5, 2, 3), (12, 4), (12, 12, 1, 1)])
def test_batchnorm_is_over_the_whole_batch(shape: tuple[int, ...], devices: int) -> None:
    """Two sums for each channel, forward and backward."""
    random, c = rng(2), shape[1]
    input = 3 + 2 * random.standard_normal(shape)  # a mean that matters
    weight, bias = random.standard_normal((2, c))
    _, mean, variance = BatchNorm(0.1).evaluate([input, weight, bias])
    reduced = {"all_reduce": 2 * 2 * (devices - 1) * 4 * c}
    assert check(BatchNorm(0.1), [input, weight, bias], devices) == reduced
    grad = random.standard_normal(shape)
    assert check(BatchNormGrad(0.1), [grad, input, weight, mean, variance], devices) == reduced


@pytest.mark.parametrize("devices", [2, 3, 4])
@pytest.mark.parametrize("scale", [1.0, 900.0])
def test_softmax_over_classes_that_are_shared_out(scale: float, devices: int) -> None:
    """The largest score of each row, and a sum; scores that overflow by themselves, and labels on every device."""
    scores, label = scale * rng(3).standard_normal((12, 12)), np.arange(12).astype("i4")
    moved = check(SoftmaxCrossEntropy(), [scores, label], devices)
    assert moved == {"all_reduce": 2 * 2 * (devices - 1) * 4 * 12}


def test_nan_reaches_a_loss_that_is_shared_out() -> None:
    scores, label = rng().standard_normal((3, 4)), np.array([0, 1, 2], "i4")
    scores[1, 3] = np.nan
    graph = Graph("g", 2)
    placed = [graph.input("x", f32(3, 4).at(CHANNELS)), graph.input("label", TensorType("i32", (3,), REPLICATED))]
    graph.outputs["loss"] = graph.emit(SoftmaxCrossEntropy(), *placed, name="loss")
    assert np.isnan(meaning.results(run_passes(graph, [Distribute()]), {"x": scores, "label": label})["loss"])
