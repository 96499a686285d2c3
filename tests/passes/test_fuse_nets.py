"""fuse on nets that grow: nothing changes its meaning, bit for bit, and each fused node keeps the rules. And faults: a
fusion that breaks one of them is found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from alexnet_ir.compiler import inference_graph, read_model, training_graph
from alexnet_ir.ir.graph import Graph, Node, Value
from alexnet_ir.ir.op import Array, Input, Op, Source, TypeRuleError
from alexnet_ir.ir.target import Target
from alexnet_ir.ir.text import print_graph
from alexnet_ir.ir.types import WHOLE_DTYPES, On, Replicated
from alexnet_ir.ir.verify import VerificationError, verify
from alexnet_ir.ops.dropout import Dropout
from alexnet_ir.ops.fused import Fused
from alexnet_ir.ops.placing import Reshard
from alexnet_ir.ops.shape import Copy
from alexnet_ir.ops.table import parse
from alexnet_ir.passes.base import run_passes
from alexnet_ir.passes.distribute import Distribute
from alexnet_ir.passes.fuse import FUSIONS, DroppedMask, Fuse, FusionRule, fusions
from alexnet_ir.passes.partition import Partition
from alexnet_ir.passes.placements import built_in, follow
from alexnet_ir.passes.rewrite import Piece

from .. import strategies
from ..ops.helpers import evaluate
from .fuse_texts import BIAS_RELU_DROPOUT, CONV_BIAS_RELU, DEVICES, LOSS_GRAD
from .test_fuse import ALL

# --- what must hold -----------------------------------------------------------------------------------------------


def fed(graph: Graph, feeds: Mapping[str, Any], states: Mapping[str, Array]) -> dict[str, Array]:
    """Arrays for all sources; ones and normal numbers, where nothing is said."""
    found, random = dict(states), np.random.default_rng(1)
    for name, value in graph.inputs.items():
        type_, op = graph.tensor(value), graph.node(value).op
        assert isinstance(op, Input)
        usual = random.standard_normal(type_.shape) if len(type_.shape) > 1 else 1.0
        given = feeds.get(name, usual if op.default is None else op.default)
        found[name] = np.broadcast_to(np.asarray(given, WHOLE_DTYPES.get(type_.dtype, "f8")), type_.shape)
    return found


def roots(graph: Graph, feed: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs, and what the states become."""
    values = evaluate(graph, feed)
    found = {f"output {name}": values[value] for name, value in graph.outputs.items()}
    return found | {f"state {s.name}": values[s.update] for s in graph.states.values() if s.update is not None}


def check_meaning(before: Graph, after: Graph, feed: Mapping[str, Array]) -> None:
    """The same results, bit for bit."""
    expected, found = roots(before, feed), roots(after, feed)
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def flat(op: Op) -> Iterator[Op]:
    """The op, or its parts."""
    if isinstance(op, Fused):
        yield from (part.op for part in op.parts)
    elif not isinstance(op, Source):
        yield op


def read_anew(graph: Graph, node: Node, op: Fused) -> int:
    """Bytes that the parts by themselves would read again, of operands and of what leaves."""
    types = op.types([graph.tensor(v) for v in node.operands])
    reads = Counter(number for part in op.parts for number in part.operands)
    operands = sum((reads[n] - 1) * types[n].nbytes for n in range(len(node.operands)))
    return operands + sum(reads[n] * types[n].nbytes for n in op.yields)


def traffic(graph: Graph) -> int:
    """Bytes that all steps read and write."""
    values = [v for n in graph.topo() if not isinstance(n.op, Source) for v in (*n.operands, *n.results)]
    return sum(graph.tensor(value).nbytes for value in values)


def check_fused(graph: Graph, node: Node, op: Fused) -> None:
    """One device; no transfers; no numbers drawn twice; what leaves is read, the first result aside; nothing hidden
    has a name any more."""
    places = {graph.tensor(v).placement for v in (*node.operands, *node.results)}
    assert len(places) == 1
    assert isinstance(places.pop(), On | Replicated)
    assert not any(isinstance(part.op, Copy | Reshard | Source | Fused) for part in op.parts)
    assert sum(isinstance(part.op, Dropout) for part in op.parts) <= 1
    assert len(op.parts) > 1
    read = {*graph.roots(), *(v for user in graph.topo() for v in user.operands)}
    assert read.issuperset(node.results[1:])
    assert op.hidden([graph.tensor(v) for v in node.operands]).keys().isdisjoint(op.yields)


def check(before: Graph, after: Graph) -> None:
    """All that holds whatever the graph."""
    verify(after)
    text = print_graph(after)
    assert print_graph(parse(text)) == text
    assert (after.name, after.devices, after.wholes) == (before.name, before.devices, before.wholes)
    for one, other in ((after.inputs, before.inputs), (after.outputs, before.outputs), (after.states, before.states)):
        assert list(one) == list(other)
    order = [node.id for node in after.topo()]
    assert order == sorted(order)
    work = [Counter(op for node in graph.topo() for op in flat(node.op)) for graph in (before, after)]
    assert work[0] == work[1], "an op was lost or done twice"
    made = [(node, node.op) for node in after.topo() if isinstance(node.op, Fused)]
    for node, op in made:
        check_fused(after, node, op)
        was = before.node(before.named(node.name))
        assert (str(was.span), was.types[0]) == (str(node.span), node.types[0])
    report = fusions(before, ALL)
    assert len(report.fusions) == len(made)
    assert Counter(f.rule for f in report.fusions) == Counter(op.rule for _, op in made)
    assert report.steps_after == report.steps_before - sum(len(op.parts) - 1 for _, op in made)
    assert traffic(before) - traffic(after) == report.saved_bytes + sum(read_anew(after, n, op) for n, op in made)


@settings(max_examples=80, deadline=None)
@given(strategies.nets())
def test_nothing_changes_its_meaning(grown: strategies.Grown) -> None:
    model = read_model(grown.text)
    for graph in (training_graph(model), inference_graph(model)):
        after = run_passes(graph, [Fuse(ALL)])
        check(graph, after)
        check_meaning(graph, after, fed(graph, grown.feeds(step=2), strategies.initial(graph)))


@settings(max_examples=40, deadline=None)
@given(strategies.nets())
def test_twice_is_once(grown: strategies.Grown) -> None:
    model = read_model(grown.text)
    for graph in (training_graph(model), inference_graph(model)):
        after = run_passes(graph, [Fuse(ALL)])
        text = print_graph(after)
        assert not Fuse(ALL).run(after)
        assert print_graph(after) == text


@pytest.mark.parametrize("rule", FUSIONS)
def test_each_rule_alone(rule: str) -> None:
    graph = training_graph(read_model(RESIDUAL if rule == "batchnorm_relu" else ALEXNET))
    alone = Target("one", fusions=frozenset([rule]))
    after = run_passes(graph, [Fuse(alone)])
    verify(after)
    assert {node.op.rule for node in after.topo() if isinstance(node.op, Fused)} == {rule}
    check_meaning(graph, after, fed(graph, {"train.label": [1, 2]}, strategies.initial(graph)))


ALEXNET = """\
alx 1
net Small {
  image = input(2, 9, 9)
  return image -> conv(4, 3) -> relu -> lrn(5, 2, 0.1, 0.75, groups = 2) -> maxpool(3, stride = 2)
    -> conv(4, 3, pad = 1) -> tanh -> flatten -> fc(6) -> relu -> dropout(0.5) -> fc(5) -> relu -> dropout(0.5) -> fc(3)
}
train t { batch: 2 stop: steps(2) optimizer: sgd(lr = 0.1, momentum = 0.9) }
"""


RESIDUAL = """\
alx 1
net Residual {
  image = input(2, 6, 6)
  x = image -> conv(4, 3, pad = 1, bias = none) -> batchnorm -> relu
  y = x -> conv(4, 3, pad = 1, bias = none) -> batchnorm
  return add(y, x) -> relu -> flatten -> fc(3)
}
train t { batch: 2 stop: steps(2) optimizer: sgd(lr = 0.1, momentum = 0.9) }
"""


def test_a_residual_net() -> None:
    """No step does nothing but add, or put a mask on, what another one made."""
    report = fusions(training_graph(read_model(RESIDUAL)), ALL)
    assert {str(fusion) for fusion in report.fusions if fusion.rule in ("batchnorm_relu", "grad_relu")} == {
        "batchnorm1 + relu1",
        "batchnorm2 + add1 + relu2",
        "relu1.grad + relu1.grad_input",
        "flatten1.grad_input + relu2.grad_input",
    }
    assert not report.refusals


def test_a_net_like_alexnet() -> None:
    graph = training_graph(read_model(ALEXNET))
    report = fusions(graph, ALL)
    assert Counter(f.rule for f in report.fusions) == {
        "conv_bias_relu": 3, "bias_relu_dropout": 2, "lrn_maxpool": 1, "loss_grad": 1, "maxpool_lrn_grad": 1,
        "grad_relu": 3, "updates": 1,
    }  # fmt: skip
    assert not report.refusals
    assert (report.steps_before, report.steps_after) == (55, 27)


@pytest.mark.parametrize("placement", ["columns", "data", "weird_trick"])
def test_on_two_devices(placement: str) -> None:
    """After `distribute`: each device's own steps are put together, and nothing else."""
    model = read_model(ALEXNET)
    loss, backward, *others = strategies.training_passes(model)
    forward = run_passes(model.graph, [loss])
    modes, _ = built_in(placement, forward, 2)
    places = Partition(2, follow(forward, 2, modes))
    graph = run_passes(forward, [places, backward, *others, Distribute()])
    after = run_passes(graph, [Fuse(ALL)])
    check(graph, after)
    check_meaning(graph, after, fed(graph, {}, strategies.initial(graph)))
    rules = Counter(node.op.rule for node in after.topo() if isinstance(node.op, Fused))
    assert rules["updates"] == 2
    assert rules["bias_relu_dropout"] >= 2


# --- faults -------------------------------------------------------------------------------------------------------


class Careless(FusionRule):
    """Takes these nodes, and all that they make may leave, or else only what the last one makes; refuses nothing."""

    name = "careless"

    def __init__(self, hides: bool, *members: str) -> None:
        self.hides, self.members = hides, members

    def candidates(self, graph: Graph) -> Iterator[Piece]:
        yield tuple(graph.node(graph.named(name)) for name in self.members)

    def leaving(self, piece: Piece) -> tuple[Value, ...]:
        return piece[-1].results if self.hides else tuple(v for node in piece for v in node.results)


def test_a_fusion_across_devices_is_found() -> None:
    graph = parse(DEVICES)
    rule = Careless(False, "a.next", "b.next")
    (piece,) = rule.candidates(graph)
    reason = rule.refusal(graph, piece)
    assert reason == "not on one device: a is on(0), lr is replicated and b is on(1)"
    with pytest.raises(TypeRuleError, match="`fused` on 2 devices cannot take on"):
        rule.rewrite(graph, piece)


def test_a_hidden_value_that_is_read_is_found() -> None:
    graph = parse(CONV_BIAS_RELU)
    graph.outputs["before"] = graph.named("conv1.bias_add")
    rule = Careless(True, "conv1", "conv1.bias_add", "relu1")
    (piece,) = rule.candidates(graph)
    assert rule.refusal(graph, piece) == "conv1.bias_add is read by the output before too"
    with pytest.raises(ValueError, match=r"%conv1\.bias_add is still read by output before"):
        rule.rewrite(graph, piece)


def test_a_piece_with_a_way_back_in_is_found() -> None:
    text = LOSS_GRAD.replace("%loss.grad = fill() {value = 1.0}", "%loss.grad = scale(%loss) {factor = 0.5}")
    graph = parse(text)
    rule = Careless(False, "loss", "loss.grad_input")
    (piece,) = rule.candidates(graph)
    assert rule.refusal(graph, piece) == "loss.grad depends on it, and it on loss.grad"
    rule.rewrite(graph, piece)
    with pytest.raises(VerificationError, match="there is a cycle"):
        verify(graph)


def test_a_mask_of_another_dropout_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    own, other = "dropout(%g, %train.seed, %train.step) {p = 0.5", "dropout(%g, %train.seed, %train.step) {p = 0.3"
    graph = parse(BIAS_RELU_DROPOUT.replace(own, other))
    feed = fed(graph, {"x": np.linspace(-1, 2, 24).reshape(4, 6)}, strategies.initial(graph))
    check_meaning(graph, run_passes(graph, [Fuse(ALL)]), feed)
    monkeypatch.setattr(DroppedMask, "_same", lambda self, graph, piece: self._dropped(graph, piece[1])[0])
    merged = run_passes(graph, [Fuse(ALL)])
    assert "bias_relu_dropout" in print_graph(merged)
    with pytest.raises(AssertionError, match="output grad"):
        check_meaning(graph, merged, feed)


def test_a_fusion_of_two_dropouts_is_found() -> None:
    graph = parse(BIAS_RELU_DROPOUT)
    rule = Careless(False, "drop6", "drop6.grad_input")
    (piece,) = rule.candidates(graph)
    after = graph.copy()
    node = rule.rewrite(after, piece)
    assert isinstance(node.op, Fused)
    with pytest.raises(AssertionError):
        check_fused(after, node, node.op)
