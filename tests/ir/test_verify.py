"""The verifier: every way to break a graph, and that what is grown is whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from alexnet_ir.diagnostics import Source, Span
from alexnet_ir.ir.graph import Graph, Value
from alexnet_ir.ir.initial import Constant
from alexnet_ir.ir.types import ErrorType, Split, TensorType, f32
from alexnet_ir.ir.verify import VerificationError, verify
from alexnet_ir.ops.conv import Conv
from alexnet_ir.ops.dense import Fc
from alexnet_ir.ops.elementwise import Relu
from alexnet_ir.ops.pool import MaxPool

from .grow import graphs, table_rows

GONE = Value(99)


def small() -> Graph:
    """image -> conv -> relu -> pool, an output; a state with an update."""
    graph = Graph("small")
    image = graph.input("image", f32(2, 3, 6, 6))
    w = graph.state("w", f32(4, 3, 3, 3), Constant(0))
    span = Span(Source("model.alx"), 7, 3, 7, 9)
    out = graph.emit(Conv(), image, w, name="conv", span=span)
    out = graph.emit(Relu(), out, name="relu")
    graph.outputs["out"], _ = graph.emit_all(MaxPool(2), out, name="pool")
    graph.set_update("w", graph.emit(Relu(), w, name="w.next"))
    return graph


def retype(graph: Graph, name: str, *types: TensorType | ErrorType) -> None:
    """Give a node other types."""
    node = graph.node(graph.named(name))
    graph._nodes[node.id] = replace(node, types=types)


def feed(graph: Graph, name: str, *operands: Value) -> None:
    """Give a node other operands, edges included."""
    graph.set_operands(graph.node(graph.named(name)), operands)


def break_edges(graph: Graph) -> None:
    relu = graph.named("relu").node
    graph._nx.remove_edge(graph.named("conv").node, relu, 0)


def break_operands(graph: Graph) -> None:
    node = graph.node(graph.named("relu"))
    graph._nodes[node.id] = replace(node, operands=(graph.named("w"),))


def lose_a_node(graph: Graph) -> None:
    del graph._nodes[graph.named("relu").node]


def double_a_name(graph: Graph) -> None:
    node = graph.node(graph.named("relu"))
    graph._nodes[node.id] = replace(node, name="pool.argmax")


def update_with(value: str) -> Callable[[Graph], None]:
    return lambda graph: graph.set_update("w", graph.named(value))


def set_output(value: Value) -> Callable[[Graph], None]:
    return lambda graph: graph.outputs.update(out=value)


BREAKAGES: list[tuple[str, Callable[[Graph], None], str]] = [
    ("wrong-type", lambda g: retype(g, "relu", f32(2, 4, 4, 5)), "has ['f32[2, 4, 4, 5]'], its rule says"),
    ("wrong-placement", lambda g: retype(g, "image", TensorType("f32", (2, 3, 6, 6), Split(0))), "its rule says"),
    ("a-result-too-few", lambda g: retype(g, "pool", f32(2, 4, 2, 2)), "%pool: has ['f32[2, 4, 2, 2]']"),
    ("error-type", lambda g: retype(g, "relu", ErrorType()), "%relu: has ['error'], its rule says"),
    ("rule-fails", lambda g: feed(g, "conv", g.named("w.next"), g.named("image")), "(model.alx:7:3): a window of 6"),
    ("too-many-operands", lambda g: feed(g, "relu", g.named("w"), g.named("w")), "`relu` takes 1 operands, found 2"),
    ("no-such-node", lambda g: feed(g, "relu", GONE), f"%relu reads {GONE}, which does not exist"),
    ("no-such-result", lambda g: feed(g, "relu", Value(g.named("conv").node, 1)), "which does not exist"),
    ("lost-node", lose_a_node, "%pool reads"),
    ("cycle", lambda g: feed(g, "relu", g.named("pool")), "there is a cycle"),
    ("reads-itself", lambda g: feed(g, "relu", g.named("relu")), "there is a cycle"),
    ("lost-edge", break_edges, "%relu: the edges are not its operands"),
    ("other-operands-than-edges", break_operands, "%relu: the edges are not its operands"),
    ("name-twice", double_a_name, "two values are called %pool.argmax"),
    ("input-without-node", lambda g: g.inputs.update(more=g.named("relu")), "inputs and states are not the nodes"),
    ("node-without-input", lambda g: g.inputs.clear(), "inputs and states are not the nodes"),
    ("node-without-state", lambda g: g.states.clear(), "inputs and states are not the nodes"),
    ("update-of-another-type", update_with("relu"), "w is f32[4, 3, 3, 3], its update f32[2, 4, 4, 4]"),
    ("no-such-update", lambda g: g.set_update("w", GONE), "the update of w does not exist"),
    ("no-such-output", set_output(GONE), "output out does not exist"),
    ("no-such-result-as-output", set_output(Value(1, 1)), "output out does not exist"),
]


@pytest.mark.parametrize(("breaks", "message"), [b[1:] for b in BREAKAGES], ids=[b[0] for b in BREAKAGES])
def test_what_is_broken_is_found(breaks: Callable[[Graph], None], message: str) -> None:
    graph = small()
    verify(graph)
    breaks(graph)
    with pytest.raises(VerificationError) as caught:
        verify(graph)
    assert message in str(caught.value)
    assert str(caught.value).startswith("graph small:\n")


def test_errors_that_lowering_left_are_found() -> None:
    graph = small()
    bad = graph.poison(MaxPool(9), graph.named("image"), name="bad", span=None, types=(ErrorType(), ErrorType()))
    graph.emit(Relu(), bad, name="after")
    with pytest.raises(VerificationError, match=r"%after: its type is an error"):
        verify(graph)


def test_everything_is_reported_at_once() -> None:
    graph = small()
    retype(graph, "w.next", f32(1))
    graph.emit(Fc(), graph.input("v", f32(1, 2)), graph.input("m", f32(3, 2)), name="fc")
    retype(graph, "fc", f32(9))
    graph.outputs["lost"] = GONE
    with pytest.raises(VerificationError) as caught:
        verify(graph)
    assert len(str(caught.value).splitlines()) == 5


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graphs(table_rows()))
def test_grown_graphs_hold_and_notice_any_other_type(graph: Graph) -> None:
    verify(graph)
    for node in graph.topo():
        twin = graph.copy()
        twin._nodes[node.id] = replace(node, types=(f32(7, 7, 7), *node.types[1:]))
        with pytest.raises(VerificationError):
            verify(twin)
