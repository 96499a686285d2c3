"""Chooses what to drop and recompute, so that a step fits a limit of memory.

Where most is live, drop what frees the most bytes for each operation that it takes to have it again; plan anew; and so
on, in growing steps, as long as that helps. This is greedy: Jain et al. 2020 solve it exactly, in hours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate

from alexnet_ir.diagnostics import AlexnetError, error
from alexnet_ir.ir.graph import Graph, Node
from alexnet_ir.ir.plan import Plan
from alexnet_ir.passes.base import run_passes
from alexnet_ir.passes.lifetimes import Lifetimes, lifetimes
from alexnet_ir.passes.recompute import Recompute, can_be_cloned, forward

MakePlan = Callable[[Graph], Plan]


@dataclass(frozen=True, slots=True)
class Drop:
    """Nodes that are dropped together: one, and those that must run again for it. Bytes and operations."""

    nodes: tuple[str, ...]
    frees: int
    flops: int


def fit(graph: Graph, limit: int, make_plan: MakePlan) -> tuple[Graph, Plan, tuple[str, ...]]:
    """The graph and plan with states and arena of each device within `limit` bytes, and the nodes that run again for
    it; AlexnetError, with the least that was reached, if that cannot be."""
    search = _Search(graph, limit, make_plan)
    best = search.attempt(())
    refused: set[str] = set()
    most = 1
    while best.excess > 0:
        drops = [drop for drop in search.drops(best) if drop.nodes[0] not in refused]
        if not drops:
            raise _too_much(best, limit)
        chosen = _enough(drops, best.excess)[:most]
        tried = search.attempt((*best.dropped, *(node for drop in chosen for node in drop.nodes)))
        if tried.load < best.load and (len(chosen) == 1 or _keeps_its_promise(chosen, best, tried)):
            best, most = tried, 2 * most
        elif len(chosen) == 1:
            refused.add(chosen[0].nodes[0])
        else:
            most = len(chosen) // 2
    return best.graph, best.plan, best.dropped


def _keeps_its_promise(chosen: list[Drop], before: _Attempt, after: _Attempt) -> bool:
    """Whether at least half of what the drops should free is free; of too many at once, the clones meet."""
    promised = min(before.excess, sum(drop.frees for drop in chosen))
    return 2 * (before.over - after.over) >= promised


def _enough(drops: list[Drop], excess: int) -> list[Drop]:
    """The best, as many as free the excess, none of which has a node of another."""
    chosen: list[Drop] = []
    taken: set[str] = set()
    for drop in sorted(drops, key=lambda drop: (-drop.frees / max(drop.flops, 1), drop.nodes)):
        if excess <= 0:
            break
        if taken.isdisjoint(drop.nodes):
            chosen.append(drop)
            taken.update(drop.nodes)
            excess -= drop.frees
    return chosen


@dataclass(frozen=True)
class _Attempt:
    """A plan with some nodes dropped. `live` are the bytes in use at each position, from -1 on, on the fullest device,
    and `excess` what that has too much; `over` is the excess of all devices, and `load` is less where less is in use
    beyond the limit."""

    graph: Graph
    plan: Plan
    dropped: tuple[str, ...]
    life: Lifetimes
    device: int
    live: tuple[int, ...]
    excess: int
    over: int
    load: tuple[int, int]

    @property
    def fullest(self) -> int:
        """The position where most is live on the fullest device."""
        return self.live.index(max(self.live)) - 1

    def holds(self, name: str) -> bool:
        """Whether a value takes memory of the fullest device there, and the step there neither makes nor reads it for
        the last time."""
        here = name in self.plan.slots and self.plan.device(name) == self.device
        return here and self.life.first[name] < self.fullest < self.life.last[name]


class _Search:
    """Attempts at one graph."""

    def __init__(self, graph: Graph, limit: int, make_plan: MakePlan) -> None:
        self.graph, self.limit, self.make_plan = graph, limit, make_plan
        early = forward(graph)
        self.late = {
            node.id: [user.name for value in node.results for user in graph.users(value) if user.id not in early]
            for node in graph.topo()
            if node.id in early and can_be_cloned(node)
        }
        self.kept = set(graph.roots())

    def attempt(self, dropped: tuple[str, ...]) -> _Attempt:
        """The plan without these."""
        graph = run_passes(self.graph, [Recompute(dropped)]) if dropped else self.graph
        plan = self.make_plan(graph)
        excess = [arena.peak - self.limit for arena in plan.arenas]
        device = excess.index(max(excess))
        live = [tuple(plan.arenas[d].states + nbytes for nbytes in _live(plan, d)) for d in range(plan.devices)]
        load = max(map(max, live)), sum(max(0, nbytes - self.limit) for here in live for nbytes in here)
        over = sum(max(0, each) for each in excess)
        return _Attempt(graph, plan, dropped, lifetimes(plan), device, live[device], excess[device], over, load)

    def drops(self, attempt: _Attempt) -> Iterator[Drop]:
        """What would free bytes where most is live."""
        at = {step.name: position for position, step in enumerate(attempt.plan.steps)}
        for node in self.graph.topo():
            late = self.late.get(node.id)
            if late and node.name not in attempt.dropped and min(at[name] for name in late) > attempt.fullest:
                drop = self.drop(node, attempt)
                if drop.frees > 0:
                    yield drop

    def drop(self, node: Node, attempt: _Attempt) -> Drop:
        """A node and what must run again with it: what makes its operands, where they are dead at the fullest position.
        Operands that cannot run again live on instead."""
        together, frees = [node], 0
        for each in together:
            frees += self.freed(each, attempt)
            for value in dict.fromkeys(each.operands):
                maker, name = self.graph.node(value), self.graph.value_name(value)
                if maker in together or maker.name in attempt.dropped or attempt.holds(name):
                    continue
                if maker.id in self.late:
                    together.append(maker)
                elif name in attempt.plan.slots and attempt.life.last[name] <= attempt.fullest:
                    frees -= self.graph.tensor(value).nbytes
        return Drop(tuple(each.name for each in together), frees, sum(map(self.flops, together)))

    def freed(self, node: Node, attempt: _Attempt) -> int:
        """Bytes of a node's results that are live at the fullest position for later readers only."""
        held = [v for v in node.results if attempt.holds(self.graph.value_name(v)) and v not in self.kept]
        return sum(self.graph.tensor(value).nbytes for value in held)

    def flops(self, node: Node) -> int:
        """What it takes to run a node again."""
        operands = [self.graph.tensor(value) for value in node.operands]
        return node.op.cost(operands, [self.graph.tensor(value) for value in node.results]).flops


def _live(plan: Plan, device: int) -> Iterator[int]:
    """The bytes of the arena that are in use at each position, from before the first step to after the last."""
    life, count = lifetimes(plan), len(plan.steps)
    change = [0] * (count + 3)
    for name, slot in plan.slots.items():
        if plan.device(name) == device:
            change[life.first[name] + 1 + _in_place(plan, name, life.first[name])] += slot.nbytes
            change[life.last[name] + 2] -= slot.nbytes
    for position, slot in plan.workspaces.items():
        if plan.steps[position].stream.device == device:
            change[position + 1] += slot.nbytes
            change[position + 2] -= slot.nbytes
    return accumulate(change[: count + 2])


def _in_place(plan: Plan, name: str, position: int) -> bool:
    """Whether the step that makes a value puts it where an operand was."""
    return position >= 0 and any(
        plan.slots.get(operand) == plan.slots[name] and plan.device(operand) == plan.device(name)
        for operand in plan.steps[position].operands
    )


def _too_much(best: _Attempt, limit: int) -> AlexnetError:
    plan, arena = best.plan, best.plan.arenas[best.device]
    at = best.fullest
    holders = [n for n in plan.slots if plan.device(n) == best.device and best.life.first[n] <= at <= best.life.last[n]]
    largest = sorted(holders, key=lambda name: (-plan.slots[name].nbytes, name))[:5]
    where = plan.steps[min(max(at, 0), len(plan.steps) - 1)].name if plan.steps else "the start"
    return error(
        f"the step needs at least {arena.peak:,} bytes on device {best.device} (with everything dropped that helps), "
        f"--memory-limit is {limit:,}",
        notes=[
            f"the states take {arena.states:,} bytes, and the most is live at `{where}`:",
            *(f"{name} takes {plan.slots[name].nbytes:,} bytes" for name in largest),
        ],
        helps=["a smaller batch needs less"],
    )
