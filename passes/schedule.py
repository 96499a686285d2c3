"""From a graph to a program: the order of the steps, and the stream that each runs on.

On one device, and without a profile, the order is the plain one (see `plain_order`). On several, a device that would
wait for a transfer may run ahead of it: of the orders tried, the one that the profile's time model has end first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from alexnet_ir.ir.graph import Graph, Node, Value
from alexnet_ir.ir.op import Input
from alexnet_ir.ir.plan import Plan, PlannedInput, PlannedOutput, PlannedState, Program, Shards, Step, Stream
from alexnet_ir.ir.profile import Profile
from alexnet_ir.ir.timeline import simulate, step_seconds
from alexnet_ir.ir.types import TensorType
from alexnet_ir.ops.shape import Copy
from alexnet_ir.passes.lifetimes import BEFORE, lifetimes
from alexnet_ir.passes.order import dependencies, overlapped_order, overtaking, plain_order

ROUNDS = 5
"""How many overlapped orders are tried, each with more steps pinned, before the plain one stands."""


@dataclass(frozen=True)
class Schedule:
    """`profile` says how fast the devices are; with `overlap`, they may run ahead while transfers are under way. They
    may take `memory` bytes for that, states included, or what the plain order takes where that is more."""

    name: ClassVar[str] = "schedule"
    profile: Profile | None = None
    overlap: bool = True
    memory: int = 0

    def run(self, graph: Graph) -> Program:
        """The program of a graph without errors; with overlap, whatever memory that takes."""
        orders = _Orders(graph)
        plain = orders.program(orders.plain)
        if self.profile is None or not self.overlaps(graph):
            return plain
        other = orders.program(orders.overlapped(self.profile))
        return other if simulate(other, self.profile).seconds < simulate(plain, self.profile).seconds else plain

    def planned(self, graph: Graph, plan_memory: Callable[[Program], Plan]) -> Plan:
        """The plan of an overlapped order, if one is found that ends earlier than the plain order and needs no more
        memory on any device than that on its fullest (or than `memory`); else that of the plain order."""
        orders = _Orders(graph)
        plain = plan_memory(orders.program(orders.plain))
        if self.profile is None or not self.overlaps(graph):
            return plain
        most = max(self.memory, *(arena.peak for arena in plain.arenas))
        seconds = simulate(plain, self.profile).seconds
        pinned: set[int] = set()
        for number in range(ROUNDS):
            order = orders.overlapped(self.profile, pinned)
            plan = plan_memory(orders.program(order))
            fits = max(arena.peak for arena in plan.arenas) <= most
            if fits and simulate(plan, self.profile).seconds < seconds:
                return plan
            ahead = overtaking(orders.plain, order, orders.streams)
            if fits or not ahead:
                break
            needs = [(need, order[position]) for position, need in _needs(plan) if order[position] in ahead]
            # Where nothing alone is too much, what is live would fit but lies apart: pin a few of those that need most.
            beyond = [node for need, node in needs if need > most]
            pinned.update(beyond or [node for _, node in sorted(needs, reverse=True)[: 2 << number]])
        return plain

    def overlaps(self, graph: Graph) -> bool:
        """Whether other orders than the plain one come into question."""
        return self.overlap and graph.devices > 1


class _Orders:
    """A graph's steps, and the orders they can have."""

    def __init__(self, graph: Graph) -> None:
        names = {v: graph.value_name(v) for node in graph.topo() for v in node.results}
        types = {name: graph.tensor(value) for value, name in names.items()}
        inputs, states, outputs = _inputs(graph), _states(graph, names), _outputs(graph, names)
        self.frame = Program(graph.name, graph.devices, inputs, states, outputs, (), types)
        self.depends = dependencies(graph)
        self.steps = {node.id: _step(graph, node, names) for node in self.depends.nodes.values()}
        self.streams = {i: step.stream for i, step in self.steps.items()}
        self.plain = plain_order(self.depends)

    def overlapped(self, profile: Profile, pinned: Collection[int] = ()) -> list[int]:
        """Transfers run while devices compute; a pinned step overtakes nothing."""
        seconds = {i: step_seconds(step, self.frame, profile) for i, step in self.steps.items()}
        return overlapped_order(self.depends, self.plain, self.streams, seconds, pinned)

    def program(self, order: Sequence[int]) -> Program:
        """The steps in an order."""
        return replace(self.frame, steps=tuple(self.steps[i] for i in order))


def _needs(plan: Plan) -> Iterator[tuple[int, int]]:
    """For each step that takes memory its position, and the bytes that are live then on the device that it writes to,
    states included."""
    life = lifetimes(plan)
    places = {name: (plan.device(name), slot.offset) for name, slot in plan.slots.items()}
    ending: dict[int, list[str]] = {}
    for name in places:
        ending.setdefault(life.last[name], []).append(name)
    shared = Counter(places[name] for name in places if life.first[name] == BEFORE)
    live = [arena.states for arena in plan.arenas]
    for name, (device, _) in places.items():
        live[device] += plan.slots[name].nbytes * (life.first[name] == BEFORE)
    for position, step in enumerate(plan.steps):
        device = step.stream.to if step.stream.is_link else step.stream.device
        made = [name for name in step.results if name in places]
        new = [name for name in made if not shared[places[name]]]  # what is made in place takes no more
        shared.update(places[name] for name in made)
        live[device] += sum(plan.slots[name].nbytes for name in new)
        workspace = plan.workspaces[position].nbytes if position in plan.workspaces else 0
        if new or workspace:
            yield position, live[device] + workspace
        for name in ending.get(position, ()):
            shared[places[name]] -= 1
            if not shared[places[name]]:
                live[places[name][0]] -= plan.slots[name].nbytes


def _step(graph: Graph, node: Node, names: dict[Value, str]) -> Step:
    operands, results = tuple(names[v] for v in node.operands), tuple(names[v] for v in node.results)
    return Step(node.op, operands, results, node.name, node.span, _stream(graph, node))


def _stream(graph: Graph, node: Node) -> Stream:
    if isinstance(node.op, Copy):
        return Stream(graph.tensor(node.operands[0]).device, node.op.to)
    return Stream(graph.tensor(node.results[0]).device)


def _wholes(graph: Graph, names: dict[str, Value], mark: str = "") -> dict[str, tuple[TensorType, Shards]]:
    """The logical names among `names`, each with its type and the names of its shards. The graph's `wholes` have those
    of inputs and states under the mark %."""
    if not graph.wholes:
        return {name: (graph.tensor(value), (name,)) for name, value in names.items()}
    found = {}
    for marked, type_ in graph.wholes.items():
        whole = marked.removeprefix(mark)
        shards = tuple(f"{whole}@{device}" for device in range(graph.devices))
        if marked == f"{mark}{whole}" and any(shard in names for shard in shards):
            found[whole] = (type_, tuple(shard if shard in names else None for shard in shards))
    return found


def _inputs(graph: Graph) -> dict[str, PlannedInput]:
    found = {}
    for name, (type_, shards) in _wholes(graph, graph.inputs, "%").items():
        first = next(shard for shard in shards if shard is not None)
        found[name] = PlannedInput(type_, _default(graph.node(graph.inputs[first])), shards)
    return found


def _states(graph: Graph, names: dict[Value, str]) -> dict[str, PlannedState]:
    found = {}
    for name, (type_, shards) in _wholes(graph, {s.name: s.read for s in graph.states.values()}, "%").items():
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
