"""Graphs: building, reading, changing, and copies that change on their own."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alexnet_ir.diagnostics import Source, Span
from alexnet_ir.ir.graph import Builder, Graph, Value
from alexnet_ir.ir.initial import Constant
from alexnet_ir.ir.op import TypeRuleError
from alexnet_ir.ir.text import print_graph
from alexnet_ir.ir.types import ErrorType, TensorType, f32
from alexnet_ir.ir.verify import verify
from alexnet_ir.ops.batchnorm import BatchNorm
from alexnet_ir.ops.dense import Fc
from alexnet_ir.ops.elementwise import Abs, Add, Relu, Tanh
from alexnet_ir.ops.pool import MaxPool

from .grow import graphs, table_rows

VECTOR = f32(2, 3)
SPAN = Span(Source("model.alx"), 4, 2, 4, 9)


def chain() -> tuple[Graph, Value, Value, Value]:
    """x -> relu -> add(relu, relu), which is an output."""
    graph = Graph("chain")
    x = graph.input("x", VECTOR)
    relu = graph.emit(Relu(), x, name="relu", span=SPAN)
    twice = graph.emit(Add(), relu, relu, name="twice")
    graph.outputs["out"] = twice
    return graph, x, relu, twice


def names(graph: Graph) -> list[str]:
    """The names of all nodes, in order."""
    return [node.name for node in graph.topo()]


# --- building and reading -----------------------------------------------------------------------------------------


def test_types_are_inferred() -> None:
    graph, x, _, twice = chain()
    assert graph.type(twice) == graph.tensor(x) == VECTOR
    w = graph.state("w", f32(5, 3), Constant(0))
    assert graph.type(graph.emit(Fc(), x, w, name="fc")) == f32(2, 5)


def test_a_refused_op_leaves_no_trace() -> None:
    graph, x, *_ = chain()
    before = print_graph(graph)
    with pytest.raises(TypeRuleError):
        graph.emit(MaxPool(2), x, name="pool")
    assert print_graph(graph) == before
    assert "pool" not in graph


def test_names_of_sources_are_claimed_and_those_of_nodes_numbered() -> None:
    graph, x, *_ = chain()
    with pytest.raises(ValueError, match="has a `x` already"):
        graph.input("x", VECTOR)
    with pytest.raises(ValueError, match="has a `relu` already"):
        graph.state("relu", VECTOR, Constant(0))
    for number in (2, 3):
        assert graph.value_name(graph.emit(Relu(), x, name="relu")) == f"relu.{number}"
    graph.erase(graph.node(graph.named("relu.2")))
    assert graph.value_name(graph.emit(Relu(), x, name="relu")) == "relu.2"


def test_further_results_are_named_after_the_first() -> None:
    graph = Graph("g")
    x, c = graph.input("x", VECTOR), graph.input("c", f32(3))
    results = graph.emit_all(BatchNorm(), x, c, c, name="bn")
    assert [graph.value_name(v) for v in results] == ["bn", "bn.mean", "bn.variance"]
    assert graph.node(results[2]) is graph.node(results[0])
    assert graph.named("bn") == results[0]
    with pytest.raises(KeyError):
        graph.named("bn.mean")


def test_users_are_each_named_once_and_only_for_their_result() -> None:
    graph, x, relu, twice = chain()
    assert [n.name for n in graph.users(relu)] == ["twice"]
    assert [n.name for n in graph.users(x)] == ["relu"]
    assert graph.users(twice) == []
    image = graph.input("image", f32(1, 1, 4, 4))
    pooled, argmax = graph.emit_all(MaxPool(2), image, name="pool")
    graph.emit(Abs(), pooled, name="abs")
    assert [n.name for n in graph.users(pooled)] == ["abs"]
    assert graph.users(argmax) == []


def test_both_edges_of_x_plus_x_are_kept() -> None:
    graph, _, relu, twice = chain()
    assert graph.node(twice).operands == (relu, relu)
    assert sorted(graph._nx.edges(relu.node, keys=True)) == [(relu.node, twice.node, 0), (relu.node, twice.node, 1)]


def test_ties_in_order_go_to_the_older_node() -> None:
    graph = Graph("g")
    x = graph.input("x", VECTOR)
    first = graph.emit(Relu(), x, name="first")
    second = graph.emit(Tanh(), x, name="second")
    graph.emit(Add(), second, second, name="of_second")
    graph.emit(Add(), first, first, name="of_first")
    assert names(graph) == ["x", "first", "second", "of_second", "of_first"]
    late = graph.emit(Abs(), x, name="late")
    graph.replace(first, late)
    assert names(graph) == ["x", "first", "second", "of_second", "late", "of_first"]


def test_builders_hand_on_name_and_place() -> None:
    graph, x, relu, _ = chain()
    node = graph.node(relu)
    build = Builder(graph, node)
    made = graph.node(build.emit(Relu(), x, name="grad_input"))
    assert (made.name, made.span) == ("relu.grad_input", SPAN)
    assert build.type(relu) == VECTOR


def test_errors_spread_in_silence() -> None:
    graph, x, *_ = chain()
    bad = graph.poison(MaxPool(2), x, name="pool", span=SPAN, types=(ErrorType(), ErrorType()))
    after = graph.emit(Add(), bad, x, name="sum")
    assert graph.type(after) == ErrorType()
    with pytest.raises(AssertionError, match="%sum has no type"):
        graph.tensor(after)


def test_roots_are_outputs_and_updates() -> None:
    graph, x, relu, twice = chain()
    graph.state("still", VECTOR, Constant(0))
    graph.state("moving", VECTOR, Constant(0))
    graph.set_update("moving", relu)
    assert list(graph.roots()) == [twice, relu]
    assert x not in graph.roots()


# --- changing -----------------------------------------------------------------------------------------------------


def test_replace_reaches_every_reader() -> None:
    graph, x, relu, twice = chain()
    graph.state("s", VECTOR, Constant(0))
    graph.set_update("s", relu)
    graph.outputs["also"] = relu
    other = graph.emit(Tanh(), x, name="tanh")
    graph.replace(relu, other)
    assert graph.node(twice).operands == (other, other)
    assert graph.outputs == {"out": twice, "also": other}
    assert graph.states["s"].update == other
    assert graph.users(relu) == []
    verify(graph)


def test_replace_touches_only_that_result() -> None:
    graph = Graph("g")
    image = graph.input("image", f32(1, 1, 4, 4))
    pooled, argmax = graph.emit_all(MaxPool(2), image, name="pool")
    both = graph.emit(Add(), pooled, pooled, name="both")
    graph.outputs["where"] = argmax
    graph.replace(pooled, graph.emit(Relu(), pooled, name="relu"))
    assert graph.outputs["where"] == argmax
    assert graph.node(both).operands == (graph.named("relu"),) * 2


def test_erase_refuses_and_names_the_users() -> None:
    graph, x, relu, twice = chain()
    graph.state("s", VECTOR, Constant(0))
    graph.set_update("s", twice)
    with pytest.raises(ValueError, match=r"%relu is still read by twice$"):
        graph.erase(graph.node(relu))
    with pytest.raises(ValueError, match=r"%twice is still read by output out, update of s$"):
        graph.erase(graph.node(twice))
    graph.outputs.clear()
    graph.set_update("s", None)
    for value in (twice, relu, x):
        graph.erase(graph.node(value))
    assert names(graph) == ["s"]
    assert graph.inputs == {}
    verify(graph)


def test_erasing_what_is_read_of_a_state_takes_the_state() -> None:
    graph = Graph("g")
    graph.state("s", VECTOR, Constant(0))
    graph.erase(graph.node(graph.named("s")))
    assert (len(graph), graph.states) == (0, {})


def test_copies_change_on_their_own() -> None:
    graph, x, relu, twice = chain()
    graph.state("s", VECTOR, Constant(0))
    before = print_graph(graph)
    twin = graph.copy()
    twin.replace(relu, x)
    twin.erase(twin.node(relu))
    twin.set_update("s", twice)
    twin.outputs["more"] = x
    twin.input("y", TensorType("i32", ()))
    assert print_graph(graph) == before
    verify(graph)
    verify(twin)
    assert names(twin) == ["x", "twice", "s", "y"]


def test_a_copy_never_gives_an_id_twice() -> None:
    graph, x, *_ = chain()
    twin = graph.copy()
    assert graph.emit(Abs(), x, name="a") == twin.emit(Abs(), x, name="b")
    assert twin.emit(Abs(), x, name="c") not in [v for node in graph.topo() for v in node.results]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graphs(table_rows()), st.randoms(use_true_random=False))
def test_whatever_is_replaced_and_erased_the_graph_holds(graph: Graph, random: object) -> None:
    """Replace values by older ones of their type, then erase what nothing reads, until nothing changes."""
    choice = random.choice  # type: ignore[attr-defined]
    for node in graph.topo():
        older = [v for n in graph.topo() if n.id < node.id for v in n.results]
        for value in node.results:
            fitting = [v for v in older if graph.type(v) == graph.type(value)]
            if fitting:
                graph.replace(value, choice(fitting))
                assert graph.users(value) == []
    verify(graph)
    roots = {value.node for value in graph.roots()}
    for node in reversed(graph.topo()):
        if node.id not in roots and not any(graph.users(v) for v in node.results):
            graph.erase(node)
    verify(graph)
    assert all(n.id in roots or any(graph.users(v) for v in n.results) for n in graph.topo())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graphs(table_rows()))
def test_operands_stand_before_what_reads_them(graph: Graph) -> None:
    seen: set[Value] = set()
    for node in graph.topo():
        assert seen.issuperset(node.operands)
        seen.update(node.results)
    assert len(seen) >= len(graph)


def test_renumbering_keeps_everything_but_the_ids() -> None:
    graph = Graph("g")
    x = graph.input("x", f32(2))
    w = graph.state("w", f32(2), Constant(0))
    late = graph.emit(Relu(), x, name="late")
    early = graph.emit(Relu(), w, name="early")
    graph.outputs = {"late": late, "early": early}
    graph.set_update("w", graph.emit(Add(), late, early, name="both"))
    text, ages = print_graph(graph), {node.id: position for position, node in enumerate(graph.topo())}
    ages[late.node] = 9
    graph.renumber(ages)
    verify(graph)
    assert [node.name for node in sorted(graph.topo(), key=lambda node: node.id)] == ["x", "w", "early", "late", "both"]
    assert sorted(print_graph(graph).splitlines()) == sorted(text.splitlines())
    assert graph.emit(Relu(), graph.outputs["late"], name="late") not in (late, early)


def test_another_name() -> None:
    graph = Graph("g")
    value = graph.emit(Relu(), graph.input("x", f32(2)), name="a")
    graph.rename(graph.node(value), "b")
    assert (graph.value_name(value), graph.named("b"), "a" in graph) == ("b", value, False)
    with pytest.raises(ValueError, match="the graph has a `x` already"):
        graph.rename(graph.node(value), "x")
    verify(graph)
