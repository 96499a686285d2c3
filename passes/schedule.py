"""From a graph to a program: the order of the steps, and the stream that each runs on."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import ClassVar

from alexnet_ir.ir.graph import Graph, Node, Value
from alexnet_ir.ir.op import Input, Source
from alexnet_ir.ir.plan import PlannedInput, PlannedOutput, PlannedState, Program, Shards, Step, Stream
from alexnet_ir.ir.types import TensorType
from alexnet_ir.ops.shape import Copy
from alexnet_ir.ops.update import UpdateOp


@dataclass(frozen=True)
class Schedule:
    """The order of the graph, but with each update as soon as its gradient is there, so that the gradient can go."""

    name: ClassVar[str] = "schedule"

    def run(self, graph: Graph) -> Program:
        """The program of a graph without errors."""
        names = {v: graph.value_name(v) for node in graph.topo() for v in node.results}
        steps = tuple(
            Step(
                node.op,
                tuple(names[v] for v in node.operands),
                tuple(names[v] for v in node.results),
                node.name,
                node.span,
                _stream(graph, node),
            )
            for node in _ordered(graph)
            if not isinstance(node.op, Source)
        )
        inputs, states, outputs = _inputs(graph), _states(graph, names), _outputs(graph, names)
        types = {name: graph.tensor(value) for value, name in names.items()}
        return Program(graph.name, graph.devices, inputs, states, outputs, steps, types)


def _stream(graph: Graph, node: Node) -> Stream:
    if isinstance(node.op, Copy):
        return Stream(graph.tensor(node.operands[0]).device, node.op.to)
    return Stream(graph.tensor(node.results[0]).device)


def _wholes(graph: Graph, names: dict[str, Value]) -> dict[str, tuple[TensorType, Shards]]:
    """The logical names among `names`, each with its type and the names of its shards."""
    if not graph.wholes:
        return {name: (graph.tensor(value), (name,)) for name, value in names.items()}
    found = {}
    for whole, type_ in graph.wholes.items():
        shards = tuple(f"{whole}@{device}" for device in range(graph.devices))
        if any(shard in names for shard in shards):
            found[whole] = (type_, tuple(shard if shard in names else None for shard in shards))
    return found


def _inputs(graph: Graph) -> dict[str, PlannedInput]:
    found = {}
    for name, (type_, shards) in _wholes(graph, graph.inputs).items():
        first = next(shard for shard in shards if shard is not None)
        found[name] = PlannedInput(type_, _default(graph.node(graph.inputs[first])), shards)
    return found


def _states(graph: Graph, names: dict[Value, str]) -> dict[str, PlannedState]:
    found = {}
    for name, (type_, shards) in _wholes(graph, {s.name: s.read for s in graph.states.values()}).items():
        states = [graph.states[shard] if shard is not None else None for shard in shards]
        first = next(state for state in states if state is not None)
        updates = tuple(names[s.update] if s is not None and s.update is not None else None for s in states)
        found[name] = PlannedState(type_, first.initial, first.role, shards, updates)
    return found


def _outputs(graph: Graph, names: dict[Value, str]) -> dict[str, PlannedOutput]:
    return {
        name: PlannedOutput(
            type_, tuple(names[graph.outputs[shard]] if shard is not None else None for shard in shards)
        )
        for name, (type_, shards) in _wholes(graph, graph.outputs).items()
    }


def _default(node: Node) -> float | None:
    assert isinstance(node.op, Input)
    return node.op.default


def _ordered(graph: Graph) -> list[Node]:
    """Topological; of the nodes that are ready, an update comes first, then the oldest."""
    waiting = {node.id: len({v.node for v in node.operands}) for node in graph.topo()}
    ready = [_priority(graph.node(i)) for i, count in waiting.items() if count == 0]
    heapq.heapify(ready)
    order = []
    while ready:
        node = graph.node(heapq.heappop(ready)[1])
        order.append(node)
        for user in {u.id: u for value in node.results for u in graph.users(value)}.values():
            waiting[user.id] -= 1
            if waiting[user.id] == 0:
                heapq.heappush(ready, _priority(user))
    return order


def _priority(node: Node) -> tuple[bool, int]:
    # Sources are there before the first step: an update must not wait for its factors, which are the youngest nodes.
    return (not isinstance(node.op, UpdateOp | Source), node.id)
