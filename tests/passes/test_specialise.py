"""specialise: the graph that evaluates, against the formulas written out by hand."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings

from alexnet_ir.compiler import inference_graph, read_model, training_graph
from alexnet_ir.ir.graph import Graph, Value
from alexnet_ir.ir.op import Array, Input, Read
from alexnet_ir.ir.text import print_graph
from alexnet_ir.ops.batchnorm import BatchNorm, RunningAverage
from alexnet_ir.ops.dropout import Dropout
from alexnet_ir.ops.table import parse
from alexnet_ir.passes.base import run_passes
from alexnet_ir.passes.specialise import Specialise
from alexnet_ir.passes.table import pipeline

from .. import strategies

BEFORE = """\
graph net {
  input %x : f32[4, 3] loc(m.alx:1:1)
  input %train.seed : i64[] = 0
  input %train.step : i64[] = 0
  state %bn.weight : f32[3] = constant(value = 1.0)
  state %bn.bias : f32[3] = constant(value = 0.0)
  state %bn.running_mean : f32[3] = constant(value = 0.0) {role = "statistic"}
  state %bn.running_var : f32[3] = constant(value = 1.0) {role = "statistic"}
  %drop = dropout(%x, %train.seed, %train.step) {p = 0.25} : f32[4, 3] loc(m.alx:2:3)
  %bn, %bn.mean, %bn.variance = batchnorm(%drop, %bn.weight, %bn.bias) {eps = 0.1} : f32[4, 3], f32[3], f32[3] \
loc(m.alx:3:3)
  %bn.running_mean.next = running_average(%bn.running_mean, %bn.mean) : f32[3]
  %bn.running_var.next = running_average(%bn.running_var, %bn.variance) : f32[3]
  %scaled = dropout(%bn, %train.seed, %train.step) {p = 0.5, scale = "train", stream = 1} : f32[4, 3]
  %head = tanh(%bn) : f32[4, 3]
  output score = %scaled
  output score.2 = %head
  update %bn.running_mean = %bn.running_mean.next
  update %bn.running_var = %bn.running_var.next
}
"""
AFTER = """\
graph net {
  input %x : f32[4, 3] loc(m.alx:1:1)
  state %bn.weight : f32[3] = constant(value = 1.0)
  state %bn.bias : f32[3] = constant(value = 0.0)
  state %bn.running_mean : f32[3] = constant(value = 0.0) {role = "statistic"}
  state %bn.running_var : f32[3] = constant(value = 1.0) {role = "statistic"}
  %drop.scaled = scale(%x) {factor = 0.75} : f32[4, 3] loc(m.alx:2:3)
  %bn.inference = batchnorm_inference(%drop.scaled, %bn.weight, %bn.bias, %bn.running_mean, %bn.running_var) \
{eps = 0.1} : f32[4, 3] loc(m.alx:3:3)
  output score = %bn.inference
}
"""


def net(chain: str, ends: str = "") -> str:
    return f"alx 1 net N {{ image = input(3, 2, 2) return image -> {chain} -> flatten -> fc(3){ends} }}"


def test_before_and_after() -> None:
    assert print_graph(run_passes(parse(BEFORE), pipeline("infer", {}))) == AFTER


def test_alone_it_leaves_the_rest_to_cleanup() -> None:
    after = run_passes(parse(BEFORE), [Specialise()])
    assert list(after.outputs) == ["score"]
    assert all(state.update is None for state in after.states.values())
    assert "head" in after


@pytest.mark.parametrize(
    "chain",
    [
        "dropout(0.5) -> dropout(0.25)",
        "dropout(0.5) * 3",
        "batchnorm -> batchnorm",
        "batchnorm -> dropout(0.3)",
        "dropout(0.3) -> batchnorm",
        'dropout(0.3, scale = "train") -> dropout(0.25) -> batchnorm * 2 -> dropout(0.1)',
    ],
)
def test_one_after_the_other(chain: str) -> None:
    """Each must read what the one before it became."""
    graph = inference_graph(read_model(net(chain)))
    assert not any(isinstance(node.op, BatchNorm | Dropout | RunningAverage) for node in graph.topo())


def test_heads_of_training_vanish_with_their_weights() -> None:
    text = net("conv(2, 1) -> batchnorm", ", image -> flatten -> head: fc(3)")
    graph = inference_graph(read_model(text))
    assert list(graph.outputs) == ["score"]
    assert not [name for name in graph.states if name.startswith("head")]
    assert "head.weight" in training_graph(read_model(f"{text} {RECIPE}")).states


RECIPE = "train r { batch: 2 stop: steps(1) optimizer: sgd(0.1) }"


def test_the_net_without_dropout_needs_no_seed() -> None:
    assert list(inference_graph(read_model(net("dropout(0.5)"))).inputs) == ["image"]


def expected(graph: Graph, feed: Mapping[str, Array]) -> Array:
    """The score of a forward graph as it evaluates: a walk in which dropout is a factor and batch normalisation uses
    the running statistics. In float64, whatever the feed is in."""
    found: dict[Value, Array] = {}
    for node in graph.topo():
        if isinstance(node.op, Input | Read):
            exact = np.dtype("f8") if graph.tensor(node.results[0]).dtype == "f32" else None
            found[node.results[0]] = np.asarray(feed[node.name], exact)
            continue
        operands = [found[v] for v in node.operands]
        if isinstance(node.op, Dropout):
            results: tuple[Array, ...] = (operands[0] * (1 - node.op.p if node.op.scale == "test" else 1),)
        elif isinstance(node.op, BatchNorm):
            mean, variance = (feed[f"{node.name}.{what}"] for what in ("running_mean", "running_var"))
            shape = (1, -1) + (1,) * (operands[0].ndim - 2)
            unit = (operands[0] - mean.reshape(shape)) / np.sqrt(variance.reshape(shape) + node.op.eps)
            results = (unit * operands[1].reshape(shape) + operands[2].reshape(shape), mean, variance)
        else:
            results = node.op.evaluate(operands)
        found.update(zip(node.results, results, strict=True))
    return found[graph.outputs["score"]]


@settings(max_examples=60, deadline=None)
@given(strategies.nets())
def test_evaluates_as_the_formulas_say(grown: strategies.Grown) -> None:
    model = read_model(grown.text)
    states = strategies.initial(model.graph)
    feeds = grown.feeds()
    given = {"image": feeds["image"], "train.seed": np.array(0), "train.step": np.array(0)}
    score = expected(model.graph, states | given)
    after = inference_graph(model)
    outputs, left = strategies.run(after, states, {"image": feeds["image"]})
    np.testing.assert_allclose(outputs["score"], score, rtol=1e-9, atol=1e-9 * np.abs(score).max())
    for name, value in left.items():
        np.testing.assert_array_equal(value, states[name])
    assert list(after.outputs) == ["score"]
    assert list(after.inputs) == ["image"]
