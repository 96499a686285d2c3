"""From a graph to a plan: the order of the steps, and when each value is read for the last time."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import ClassVar

from alexnet_ir.ir.graph import Graph, Node
from alexnet_ir.ir.op import Input, Source
from alexnet_ir.ir.plan import Plan, PlannedInput, PlannedState, Step
from alexnet_ir.ops.update import UpdateOp


@dataclass(frozen=True)
class Schedule:
    """The order of the graph, but with each update as soon as its gradient is there, so that the gradient can go."""

    name: ClassVar[str] = "schedule"

    def run(self, graph: Graph) -> Plan:
        """The plan of a graph without errors."""
        nodes = [node for node in _ordered(graph) if not isinstance(node.op, Source)]
        names = {v: graph.value_name(v) for node in graph.topo() for v in node.results}
        kept = {*graph.inputs.values(), *(s.read for s in graph.states.values()), *graph.roots()}
        last: dict[str, int] = {}
        for position, node in enumerate(nodes):
            for value in (*node.results, *node.operands):
                if value not in kept:
                    last[names[value]] = position
        frees: list[list[str]] = [[] for _ in nodes]
        for name, position in last.items():
            frees[position].append(name)
        steps = tuple(
            Step(n.op, tuple(names[v] for v in n.operands), tuple(names[v] for v in n.results), tuple(free), n.span)
            for n, free in zip(nodes, frees, strict=True)
        )
        return Plan(
            graph.name,
            {name: PlannedInput(graph.tensor(v), _default(graph.node(v))) for name, v in graph.inputs.items()},
            {
                s.name: PlannedState(graph.tensor(s.read), s.initial, s.role, names[s.update] if s.update else None)
                for s in graph.states.values()
            },
            {name: names[value] for name, value in graph.outputs.items()},
            steps,
            {name: graph.tensor(value) for value, name in names.items()},
        )


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
