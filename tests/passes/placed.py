"""Nets on several devices, for tests: placements at random, and what is moved, as it is said and as it is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from random import Random

from alexnet_ir.compiler import LOSSES, UPDATES, recipe_of
from alexnet_ir.dsl.model import Model
from alexnet_ir.ir.graph import Graph, Node
from alexnet_ir.ir.op import Source, Strategy
from alexnet_ir.ir.types import On, Placement
from alexnet_ir.ops.placing import Reshard, exchanged_bytes
from alexnet_ir.ops.shape import Copy
from alexnet_ir.passes.backward import Backward
from alexnet_ir.passes.base import run_passes
from alexnet_ir.passes.cleanup import Cleanup
from alexnet_ir.passes.loss import Loss
from alexnet_ir.passes.partition import Partition
from alexnet_ir.passes.placements import strategies_of
from alexnet_ir.passes.update import Update


def forward_of(model: Model) -> Graph:
    """A model's net with its loss."""
    recipe = recipe_of(model)
    return run_passes(model.graph, [Loss(LOSSES[recipe.loss.name], recipe.loss.weights)])


def step_of(model: Model, forward: Graph, devices: int = 1, strategies: Mapping[str, Strategy] | None = None) -> Graph:
    """The training step, placed."""
    update = Update(UPDATES[recipe_of(model).optimizer.name])
    return run_passes(forward, [Partition(devices, strategies or {}), Backward(), update, Cleanup()])


def computing(graph: Graph) -> Iterator[Node]:
    """All nodes but inputs and states."""
    return (node for node in graph.topo() if not isinstance(node.op, Source))


def at_random(graph: Graph, devices: int, seed: int) -> dict[str, Strategy]:
    """A strategy for every node; more often one that shares the node out than not."""
    random, chosen = Random(seed), {}
    for node in computing(graph):
        options = strategies_of(graph, node, devices)
        shared = [s for s in options[1:] if not any(isinstance(p, On) for p in s.results)]
        chosen[node.name] = random.choice(shared if shared and random.random() < 0.7 else options)
    return chosen


def predicted(graph: Graph) -> dict[str, int]:
    """The bytes that each node of a logical graph is said to exchange."""
    found = {}
    for node in computing(graph):
        operands, results = ([graph.tensor(v) for v in values] for values in (node.operands, node.results))
        if isinstance(node.op, Reshard):
            have, want = operands[0].placement, node.op.target
            found[node.name] = exchanged_bytes(operands[0].nbytes, have, want, graph.devices)
        elif node.operands:
            found[node.name] = node.op.strategy(operands, results, graph.devices).exchanged
    return {name: nbytes for name, nbytes in found.items() if nbytes}


def copied(graph: Graph) -> dict[str, int]:
    """The bytes that a distributed graph copies from device to device, by the logical node that they serve."""
    found: Counter[str] = Counter()
    for node in graph.topo():
        if isinstance(node.op, Copy):
            served, _, _ = node.name.rpartition(".")
            if served.rpartition(".")[2][:1].isdigit() and "to" in served.rpartition(".")[2]:
                served, _, _ = served.rpartition(".")  # a name that was taken got a number
            found[served] += graph.tensor(node.results[0]).nbytes
    return dict(found)


def kinds(graph: Graph) -> dict[str, int]:
    """The bytes that a distributed graph copies, by the exchange that they are a part of."""
    found: Counter[str] = Counter()
    for node in graph.topo():
        if isinstance(node.op, Copy):
            found[node.op.kind] += graph.tensor(node.results[0]).nbytes
    return dict(found)


def placements(graph: Graph) -> dict[str, Placement]:
    """Where each first result lies."""
    return {node.name: graph.tensor(node.results[0]).placement for node in graph.topo()}
