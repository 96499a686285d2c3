"""partition and distribute: whatever the placement, a net means what it means on one device, and moves what it is said
to move."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alexnet_ir.compiler import read_model
from alexnet_ir.ir.graph import Graph
from alexnet_ir.ir.op import Source
from alexnet_ir.ir.text import print_graph
from alexnet_ir.ir.types import On, Split
from alexnet_ir.passes.base import run_passes
from alexnet_ir.passes.cleanup import Cleanup
from alexnet_ir.passes.distribute import Distribute
from alexnet_ir.passes.partition import Partition

from .. import meaning, strategies
from .checks import check_alike, check_placed
from .placed import at_random, computing, forward_of, step_of

ROOT = Path(__file__).parents[2]
grown_nets = strategies.nets(batches=(2, 3, 4, 6))
several = st.integers(2, 4)
seeds = st.integers(0, 2**16)


@settings(max_examples=40, deadline=None)
@given(grown_nets, several, seeds)
def test_a_net_means_the_same_wherever_it_lies(grown: strategies.Grown, devices: int, seed: int) -> None:
    model = read_model(grown.text)
    check_placed(model, devices, at_random(forward_of(model), devices, seed), grown.feeds(step=3))


def on_several(grown: strategies.Grown, devices: int, seed: int) -> tuple[Graph, Graph]:
    """A net's training step placed at random, and distributed."""
    model = read_model(grown.text)
    forward = forward_of(model)
    placed = step_of(model, forward, devices, at_random(forward, devices, seed))
    return placed, run_passes(placed, [Distribute()])


@settings(max_examples=15, deadline=None)
@given(grown_nets, several, seeds)
def test_what_is_done_twice_is_done_once(grown: strategies.Grown, devices: int, seed: int) -> None:
    placed, distributed = on_several(grown, devices, seed)
    for graph, pass_ in ((placed, Cleanup()), (distributed, Distribute()), (placed, Partition())):
        again = graph.copy()
        assert not pass_.run(again)
        assert print_graph(again) == print_graph(graph)


@settings(max_examples=25, deadline=None)
@given(grown_nets)
def test_one_device_changes_nothing(grown: strategies.Grown) -> None:
    model = read_model(grown.text)
    one = step_of(model, forward_of(model))
    again = run_passes(one, [Partition(1, {}), Distribute()])
    assert print_graph(again) == print_graph(one)
    assert not again.wholes


@settings(max_examples=25, deadline=None)
@given(grown_nets, several, seeds)
def test_strategies_are_carried_out(grown: strategies.Grown, devices: int, seed: int) -> None:
    """Every node of the forward graph is there, runs as it is told to, and reads what it read, moved or not."""
    forward = forward_of(read_model(grown.text))
    chosen = at_random(forward, devices, seed)
    placed = run_passes(forward, [Partition(devices, chosen)])
    for node in computing(forward):
        found, strategy = placed.node(placed.named(node.name)), chosen[node.name]
        assert found.op == node.op
        assert found.span == node.span
        assert tuple(placed.tensor(v).placement for v in found.results) == strategy.results
        assert strategy.accepts([placed.tensor(v).placement for v in found.operands])
        read = [source_of(placed, v.node) for v in found.operands]
        assert read == [forward.node(v).name for v in node.operands]
    assert list(placed.inputs) == list(forward.inputs)
    assert list(placed.states) == list(forward.states)
    assert list(placed.outputs) == list(forward.outputs)


def source_of(graph: Graph, node: int) -> str:
    """What a value is a reshard of, if it is one."""
    while graph.node(node).op.name == "reshard":
        node = graph.node(node).operands[0].node
    return graph.node(node).name


@settings(max_examples=15, deadline=None)
@given(grown_nets, several, seeds)
def test_settled_states_stay_where_they_are(grown: strategies.Grown, devices: int, seed: int) -> None:
    """An evaluation's states lie as its training left them, whatever the evaluation's own strategies are."""
    forward = forward_of(read_model(grown.text))
    settled = {
        state.name: place
        for state in forward.states.values()
        if forward.tensor(state.read).can_be(place := (Split(0) if seed % 2 else On(1)), devices)
    }
    graph = run_passes(forward, [Partition(devices, at_random(forward, devices, seed), settled)])
    assert all(graph.tensor(graph.named(name)).placement == place for name, place in settled.items())
    given = {**strategies.initial(forward), **grown.feeds()}
    check_alike(meaning.results(run_passes(graph, [Distribute()]), given), meaning.results(forward, given))


# --- nothing else matters -----------------------------------------------------------------------------------------

TEXTS = """\
import sys
from alexnet_ir.compiler import read_model
from alexnet_ir.ir.profile import PROFILES
from alexnet_ir.ir.text import print_graph
from alexnet_ir.passes.base import run_passes
from alexnet_ir.passes.distribute import Distribute
from alexnet_ir.passes.search import search
from tests.passes.placed import at_random, forward_of, step_of
for text in sys.stdin.read().split("\\0"):
    model = read_model(text)
    forward = forward_of(model)
    for chosen in (at_random(forward, 2, 7), search(forward, 2, PROFILES["gtx580"])):
        placed = step_of(model, forward, 2, chosen)
        print(print_graph(placed), print_graph(run_passes(placed, [Distribute()])))
"""


def texts(models: list[str], hash_seed: int) -> str:
    environment = os.environ | {"PYTHONHASHSEED": str(hash_seed)}
    command = [sys.executable, "-c", TEXTS]
    return subprocess.run(
        command, cwd=ROOT, input="\0".join(models), env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_nothing_depends_on_the_hash_seed() -> None:
    models: list[str] = []

    @settings(max_examples=6, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(grown_nets)
    def grow(grown: strategies.Grown) -> None:
        models.append(grown.text)

    grow()
    assert len(models) >= 6
    assert texts(models, 0) == texts(models, 1)


def test_sources_are_no_strategies() -> None:
    """Inputs and states need none: they lie where they are read."""
    forward = forward_of(read_model(SMALL))
    chosen = at_random(forward, 2, 0)
    assert chosen.keys() == {n.name for n in forward.topo() if not isinstance(n.op, Source)}


SMALL = """\
alx 1
net N { image = input(2, 4, 4) return image -> conv(4, 3) -> relu -> flatten -> fc(2) }
train t { batch: 4 stop: steps(2) loss: hinge() optimizer: sgd(lr = 0.01) }
"""
