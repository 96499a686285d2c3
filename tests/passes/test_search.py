"""search: the placement of least predicted time is the least of all, and what it is chosen by."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import alexnet_ir.examples
from alexnet_ir.compiler import compile_step, read_model
from alexnet_ir.dsl.model import Choice
from alexnet_ir.ir.graph import Graph
from alexnet_ir.ir.op import Source, Strategy
from alexnet_ir.ir.profile import PROFILES, Profile
from alexnet_ir.ir.types import CHANNELS, PARTIAL, REPLICATED, On
from alexnet_ir.passes.placements import BUILT_IN, layers
from alexnet_ir.passes.search import Costs, search
from alexnet_ir.setup import Setup

from .placed import forward_of, predicted, step_of

EXAMPLES = Path(alexnet_ir.examples.__path__[0])
GTX = PROFILES["gtx580"]
SLOW_LINKS = replace(GTX, link_bandwidth=1e6)
FAST_LINKS = replace(GTX, link_bandwidth=1e12, link_latency=0.0, overhead=0.0)
PROFILE_IDS = {"gtx580": GTX, "slow": SLOW_LINKS, "fast": FAST_LINKS}
NETS = {
    "chain": "image -> fc1: fc(6, bias = none) -> relu -> fc2: fc(4, bias = none)",
    "diamond": "add(a -> fc1: fc(4, bias = none), a -> fc2: fc(4, bias = none))",
    "own product": "add(a, a -> tanh) -> fc1: fc(4, bias = none)",
}
each_profile = pytest.mark.parametrize("profile", PROFILE_IDS.values(), ids=PROFILE_IDS)


def net(name: str, batch: int = 12) -> Graph:
    """One of the nets, with its loss: at most five nodes."""
    body = NETS[name].replace("image", "image -> flatten") if name == "chain" else NETS[name]
    value = "" if name == "chain" else "  a = image -> flatten\n"
    text = (
        f"alx 1\nnet N {{\n  image = input(6, 2, 2)\n{value}  return {body}\n}}\n"
        f"train t {{ batch: {batch} stop: steps(2) loss: hinge() optimizer: sgd(lr = 0.01) }}\n"
    )
    return forward_of(read_model(text))


def seconds(costs: Costs, chosen: Mapping[str, Strategy]) -> float:
    """The cost of strategies for all nodes: each node's own, and for each value what brings it to all its readers by
    the best place in between. Walks the graph and knows no tables."""
    total = 0.0
    for node in costs.graph.topo():
        if isinstance(node.op, Source):
            continue
        total += costs.node_seconds(node, chosen[node.name])
        for index, value in enumerate(node.results):
            made = chosen[node.name].results[index]
            wants = [
                chosen[reader.name].operands[position]
                for reader in costs.graph.users(value)
                for position, operand in enumerate(reader.operands)
                if operand == value
            ]
            places = costs.places.get(value, [made])
            total += min(
                costs.moving_seconds(value, made, place) * (value in costs.places)
                + sum(costs.moving_seconds(value, place, want) for want in wants)
                for place in places
            )
    return total


@each_profile
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("devices", [2, 3])
def test_the_choice_is_the_least_of_all(name: str, devices: int, profile: Profile) -> None:
    graph = net(name)
    costs = Costs(graph, devices, profile)
    chosen = search(graph, devices, profile)
    every = itertools.product(*costs.strategies.values())
    best = min(seconds(costs, dict(zip(costs.strategies, picked, strict=True))) for picked in every)
    assert seconds(costs, chosen) == pytest.approx(best, rel=1e-12)


@each_profile
@pytest.mark.parametrize("devices", [2, 4])
def test_on_a_chain_it_is_dynamic_programming(devices: int, profile: Profile) -> None:
    """Written again: for each strategy of a node, the least cost of all up to it."""
    text = (EXAMPLES / "lenet5.alx").read_text(encoding="utf-8")
    graph = forward_of(read_model(text, Choice(batch=8)))
    costs = Costs(graph, devices, profile)
    assert not costs.places
    previous, reached = None, np.zeros(1)
    for node in (n for n in graph.topo() if not isinstance(n.op, Source)):
        strategies = costs.strategies[node.name]
        own = np.array([costs.node_seconds(node, s) for s in strategies])
        if previous is not None:
            (value,) = previous.results[:1]
            moving = [
                [costs.moving_seconds(value, have.results[0], want.operands[0]) for want in strategies]
                for have in costs.strategies[previous.name]
            ]
            reached = (reached[:, None] + np.array(moving)).min(axis=0)
        previous, reached = node, reached + own
    assert seconds(costs, search(graph, devices, profile)) == pytest.approx(reached.min(), rel=1e-12)


def test_links_decide() -> None:
    """Where they cost nothing, all layers are shared out; where they are slow, one device has everything."""
    graph = net("chain", batch=240)
    shared = search(graph, 2, FAST_LINKS)
    assert not any(isinstance(p, On) or p == REPLICATED for n in layers(graph) for p in shared[n.name].results)
    alone = search(graph, 2, replace(SLOW_LINKS, overhead=0.0))
    assert all(isinstance(p, On | type(REPLICATED)) for s in alone.values() for p in s.results)


def test_the_papers_net_on_its_devices() -> None:
    """Convolutions on batch, fc6 by inputs, fc7 by outputs, fc8 by inputs: the fewest bytes that split every layer."""
    model = read_model(EXAMPLES / "alexnet.alx")
    forward = forward_of(model)
    chosen = search(forward, 2, GTX)
    step = step_of(model, forward, 2, chosen)
    assert sum(predicted(step).values()) == 32_803_840
    assert [chosen[name].results[0] for name in ("fc6", "fc7", "fc8")] == [PARTIAL, CHANNELS, PARTIAL]


@pytest.mark.parametrize("name", ["digits", "lenet5"])
@pytest.mark.parametrize("profile", ["cpu", "gtx580"])
def test_auto_is_never_worse_than_what_has_a_name(name: str, profile: str) -> None:
    model = read_model(EXAMPLES / f"{name}.alx")
    setup = Setup(devices=("cpu", "cpu"), place="auto", profile=PROFILES[profile])
    compiled = compile_step(model, setup)
    placing = compiled.placing
    assert set(placing.tried) == set(BUILT_IN)
    best = min(placing.tried.values())
    winner = placing.best
    assert placing.tried[winner] == best
    named = compile_step(model, replace(setup, place=winner)) if winner != "auto" else compiled
    assert named.placing.strategies == placing.strategies


def test_a_files_own_placement_is_tried_too() -> None:
    text = """\
alx 1
net N { image = input(2, 4, 4) return image -> c: conv(4, 3) -> relu -> flatten -> f: fc(2) }
train t { batch: 4 stop: steps(2) loss: hinge() optimizer: sgd(lr = 0.01) }
place mine { net: N devices: 2 split: on(c, 1) }
place wide { net: N devices: 4 split: outputs(c) }
"""
    placing = compile_step(read_model(text), Setup(devices=("cpu", "cpu"), place="auto")).placing
    assert set(placing.tried) == {*BUILT_IN, "mine"}
    assert min(placing.tried, key=lambda name: placing.tried[name]) == placing.best
