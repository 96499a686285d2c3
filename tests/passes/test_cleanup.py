"""cleanup: what goes, what stays, and that nothing means anything else after it."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings

from alexnet_ir.compiler import inference_graph, read_model, training_graph
from alexnet_ir.ir.graph import Graph
from alexnet_ir.ir.initial import Constant
from alexnet_ir.ir.text import print_graph
from alexnet_ir.ir.types import TensorType, f32
from alexnet_ir.ops.dropout import Dropout
from alexnet_ir.ops.elementwise import Add, Identity, Relu, Scale, Tanh
from alexnet_ir.ops.table import parse
from alexnet_ir.passes.base import run_passes
from alexnet_ir.passes.cleanup import Cleanup

from .. import strategies

BEFORE = """\
graph net {
  input %x : f32[2, 3]
  input %unused : f32[]
  state %w : f32[2, 3] = constant(value = 1.0)
  state %dead : f32[4] = normal(std = 0.1)
  %a = identity(%x) : f32[2, 3]
  %b = relu(%a) : f32[2, 3]
  %c = relu(%x) : f32[2, 3]
  %d = tanh(%x) : f32[2, 3]
  %e = scale(%c) {factor = 1.0} : f32[2, 3]
  %f = add(%b, %e) : f32[2, 3]
  %g = add(%c, %b) : f32[2, 3]
  %h = identity(%g) : f32[2, 3]
  %i = add(%h, %w) : f32[2, 3]
  output y = %f
  output z = %h
  output c = %c
  update %w = %i
}
"""
AFTER = """\
graph net {
  input %x : f32[2, 3]
  state %w : f32[2, 3] = constant(value = 1.0)
  %b = relu(%x) : f32[2, 3]
  %f = add(%b, %b) : f32[2, 3]
  %i = add(%f, %w) : f32[2, 3]
  output y = %f
  output z = %f
  output c = %b
  update %w = %i
}
"""
RANDOM = """\
graph net {
  input %x : f32[64]
  input %train.seed : i64[] = 0
  input %train.step : i64[] = 0
  %a = dropout(%x, %train.seed, %train.step) {p = 0.5} : f32[64]
  %b = dropout(%x, %train.seed, %train.step) {p = 0.5, stream = 1} : f32[64]
  %c = dropout(%x, %train.seed, %train.step) {p = 0.5, stream = 1} : f32[64]
  %d = dropout(%x, %train.seed, %train.step) {p = 0.25, stream = 1} : f32[64]
  %e = dropout(%x, %train.seed, %train.seed) {p = 0.5} : f32[64]
  output a = %a
  output b = %b
  output c = %c
  output d = %d
  output e = %e
}
"""


def cleaned(graph: Graph) -> Graph:
    return run_passes(graph, [Cleanup()])


def test_before_and_after() -> None:
    assert print_graph(cleaned(parse(BEFORE))) == AFTER


def test_random_numbers_merge_only_where_they_are_the_same_numbers() -> None:
    after = cleaned(parse(RANDOM))
    found = {name: after.value_name(value) for name, value in after.outputs.items()}
    assert found == {"a": "a", "b": "b", "c": "b", "d": "d", "e": "e"}
    x = np.arange(1.0, 65.0)
    before, _ = strategies.run(parse(RANDOM), {}, {"x": x, "train.seed": 5, "train.step": 3})
    outputs, _ = strategies.run(after, {}, {"x": x, "train.seed": 5, "train.step": 3})
    for name in found:
        np.testing.assert_array_equal(outputs[name], before[name])


def test_says_whether_it_changed_anything() -> None:
    graph = parse(BEFORE)
    assert Cleanup().run(graph)
    assert not Cleanup().run(graph)


def test_a_chain_of_identities_goes_at_once() -> None:
    graph = Graph("net")
    value = graph.input("x", f32(2))
    for _ in range(4):
        value = graph.emit(Identity(), graph.emit(Scale(1.0), value, name="s"), name="i")
    graph.outputs["y"] = value
    assert print_graph(cleaned(graph)) == "graph net {\n  input %x : f32[2]\n  output y = %x\n}\n"


def test_towers_of_equal_ops_merge_all_the_way_up() -> None:
    graph = Graph("net")
    x = graph.input("x", f32(2))
    tops = [graph.emit(Tanh(), graph.emit(Relu(), x, name="r"), name="t") for _ in range(3)]
    graph.outputs["y"] = graph.emit(Add(), graph.emit(Add(), tops[0], tops[1], name="a"), tops[2], name="a")
    assert [node.op.name for node in cleaned(graph).topo()] == ["input", "relu", "tanh", "add", "add"]


def test_operands_in_another_order_are_another_op() -> None:
    graph = Graph("net")
    x, y = graph.input("x", f32(2)), graph.input("y", f32(2))
    graph.outputs |= {"a": graph.emit(Add(), x, y, name="a"), "b": graph.emit(Add(), y, x, name="b")}
    assert len(cleaned(graph)) == 4


def test_states_that_are_only_written_stay() -> None:
    graph = Graph("net")
    x = graph.input("x", f32(2))
    graph.state("seen", f32(2), Constant(0))
    graph.state("idle", f32(2), Constant(0))
    graph.set_update("seen", graph.emit(Relu(), x, name="r"))
    once = cleaned(graph)
    assert list(once.states) == ["seen"]
    assert print_graph(cleaned(once)) == print_graph(once)


def test_merged_values_of_an_update_are_followed() -> None:
    graph = Graph("net")
    w = graph.state("w", f32(2), Constant(1))
    graph.outputs["y"] = graph.emit(Relu(), w, name="a")
    graph.set_update("w", graph.emit(Relu(), w, name="b"))
    after = cleaned(graph)
    assert after.states["w"].update == after.outputs["y"]


def test_only_equal_types_of_input_are_left_alone() -> None:
    """Two inputs of one type are two values, and so are two states."""
    graph = Graph("net")
    a, b = graph.input("a", TensorType("i64", ()), default=0), graph.input("b", TensorType("i64", ()), default=0)
    x = graph.input("x", f32(4))
    for name, seed in (("y", a), ("z", b)):
        graph.outputs[name] = graph.emit(Dropout(0.5), x, seed, seed, name=name)
    assert len(cleaned(graph)) == 5


@settings(max_examples=60, deadline=None)
@given(strategies.nets())
def test_nothing_changes_its_meaning(grown: strategies.Grown) -> None:
    """Bit for bit: cleanup takes work away and reorders none."""
    model = read_model(grown.text)
    *others, last = strategies.training_passes(model)
    assert last == Cleanup()
    before = run_passes(model.graph, others)
    after = cleaned(before)
    states = strategies.initial(before)
    assert after.states.keys() <= before.states.keys()
    feeds = grown.feeds(step=2)
    expected, expected_states = strategies.run(before, states, feeds)
    found, found_states = strategies.run(after, states, feeds)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)
    for name, value in found_states.items():
        np.testing.assert_array_equal(value, expected_states[name])
    gone = expected_states.keys() - found_states.keys()
    for name in gone:
        np.testing.assert_array_equal(expected_states[name], states[name])


@settings(max_examples=40, deadline=None)
@given(strategies.nets())
def test_twice_is_once(grown: strategies.Grown) -> None:
    model = read_model(grown.text)
    for graph in (training_graph(model), inference_graph(model)):
        again = graph.copy()
        assert not Cleanup().run(again)
        assert print_graph(again) == print_graph(graph)


@settings(max_examples=40, deadline=None)
@given(strategies.nets())
def test_everything_left_is_needed(grown: strategies.Grown) -> None:
    model = read_model(grown.text)
    for graph in (training_graph(model), inference_graph(model)):
        roots = {value.node for value in graph.roots()}
        for node in graph.topo():
            read = any(graph.users(value) for value in node.results)
            assert read or node.id in roots or graph.states[node.name].update is not None
