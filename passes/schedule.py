"""From a graph to a program: the order of the steps, and the stream that each runs on.

On one device, and without a profile, the order is the plain one (see `plain_order`). On several, a device that would
wait for a transfer may run ahead of it: of the orders tried, the one that the profile's time model has end first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

from alexnet_ir.ir.graph import Graph, Node, Value
from alexnet_ir.ir.op import Input
from alexnet_ir.ir.plan import Plan, PlannedInput, PlannedOutput, PlannedState, Program, Shards, Step, Stream
from alexnet_ir.ir.profile import Profile
from alexnet_ir.ir.timeline import simulate, step_seconds
from alexnet_ir.ir.types import TensorType
from alexnet_ir.ops.shape import Copy
from alexnet_ir.passes.order import dependencies, overlapped_order, plain_order

AHEAD = (256, 64, 16, 4)
"""How many places a device may run ahead of the plain order, in the orders that are tried."""


@dataclass(frozen=True)
class Schedule:
    """`profile` says how fast the devices are; with `overlap`, they may run ahead while transfers are under way."""

    name: ClassVar[str] = "schedule"
    profile: Profile | None = None
    overlap: bool = True

    def run(self, graph: Graph) -> Program:
        """The program of a graph without errors: the one that ends first, whatever memory it takes."""
        programs = self.programs(graph)
        if self.profile is None or len(programs) == 1:
            return programs[0]
        profile = self.profile
        return min(programs, key=lambda program: simulate(program, profile).seconds)

    def planned(self, graph: Graph, plan_memory: Callable[[Program], Plan]) -> Plan:
        """The plan that ends first of those that need no more memory on any device than the plain order's."""
        plain, *others = self.programs(graph)
        best = plan_memory(plain)
        if self.profile is None or not others:
            return best
        sizes = [arena.size for arena in best.arenas]
        seconds = simulate(best, self.profile).seconds
        # A plan can only wait longer than its program, so what is too slow before need not be planned.
        bounds = [simulate(program, self.profile).seconds for program in others]
        for index in sorted(range(len(others)), key=lambda index: bounds[index]):
            if bounds[index] >= seconds:
                break
            plan = plan_memory(others[index])
            taken = simulate(plan, self.profile).seconds
            if taken < seconds and all(a.size <= size for a, size in zip(plan.arenas, sizes, strict=True)):
                best, seconds = plan, taken
        return best

    def programs(self, graph: Graph) -> tuple[Program, ...]:
        """The program in plain order, then those in other orders that overlap, if any."""
        names = {v: graph.value_name(v) for node in graph.topo() for v in node.results}
        types = {name: graph.tensor(value) for value, name in names.items()}
        inputs, states, outputs = _inputs(graph), _states(graph, names), _outputs(graph, names)
        depends = dependencies(graph)
        steps = {node.id: _step(graph, node, names) for node in depends.nodes.values()}
        first = plain_order(depends)
        program = Program(graph.name, graph.devices, inputs, states, outputs, tuple(steps[i] for i in first), types)
        if self.profile is None or not self.overlap or graph.devices == 1:
            return (program,)
        seconds = {i: step_seconds(step, program, self.profile) for i, step in steps.items()}
        streams = {i: step.stream for i, step in steps.items()}
        others = (tuple(overlapped_order(depends, first, streams, seconds, ahead)) for ahead in AHEAD)
        orders = dict.fromkeys((tuple(first), *others))
        return tuple(replace(program, steps=tuple(steps[i] for i in order)) for order in orders)


def _step(graph: Graph, node: Node, names: dict[Value, str]) -> Step:
    operands, results = tuple(names[v] for v in node.operands), tuple(names[v] for v in node.results)
    return Step(node.op, operands, results, node.name, node.span, _stream(graph, node))


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
