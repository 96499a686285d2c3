"""Passes in any order that makes sense, on nets that grow, on one to four devices: after each one the graph is sound,
reads back from its text, keeps its names, and means what the net meant at first. And what is compiled depends on
nothing but the file."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from alexnet_ir.backends.reference.executor import ReferenceBackend
from alexnet_ir.compiler import UPDATES, read_model, recipe_of
from alexnet_ir.ir.graph import Graph, Node
from alexnet_ir.ir.op import Array
from alexnet_ir.ir.profile import PROFILES
from alexnet_ir.ir.target import Target
from alexnet_ir.ir.text import print_graph
from alexnet_ir.ir.verify import verify
from alexnet_ir.ops.table import parse
from alexnet_ir.passes.backward import Backward
from alexnet_ir.passes.base import Pass, run_passes
from alexnet_ir.passes.cleanup import Cleanup
from alexnet_ir.passes.distribute import Distribute
from alexnet_ir.passes.fuse import FUSIONS, Fuse
from alexnet_ir.passes.partition import Partition
from alexnet_ir.passes.plan_memory import PlanMemory
from alexnet_ir.passes.recompute import Recompute, can_be_cloned, forward
from alexnet_ir.passes.schedule import Schedule
from alexnet_ir.passes.specialise import Specialise
from alexnet_ir.passes.update import Update

from .. import strategies
from ..meaning import results
from ..plans import check
from . import test_specialise
from .placed import at_random

# --- the machine ------------------------------------------------------------------------------------------------------


def names(graph: Graph) -> tuple[set[str], set[str]]:
    """The logical names of the sources and of the outputs."""
    found = ({*graph.inputs, *graph.states}, set(graph.outputs))
    if not graph.wholes:
        return found
    sources, outputs = ({name.rpartition("@")[0] for name in shards} for shards in found)
    return sources, outputs


def same(found: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
    """Up to rounding in float64."""
    for name, value in found.items():
        scale = np.abs(expected[name]).max(initial=0.0)
        np.testing.assert_allclose(value, expected[name], rtol=1e-7, atol=1e-9 + 1e-7 * scale, err_msg=name)


def step(*stages: str) -> Callable[[Any], Any]:
    """A rule that is legal in these stages."""
    return lambda body: precondition(lambda self: self.stage in stages)(rule(seed=st.integers(0, 2**32))(body))


class Pipelines(RuleBasedStateMachine):
    """A net with its loss, and passes one after the other. The stages: `forward`, `backward`, `updated`, `infer`, then
    `local` (no pass can look at the whole any more), `again` (with clones, that `cleanup` would merge)."""

    @initialize(grown=strategies.nets(smooth=True) | strategies.nets(), devices=st.integers(1, 4))
    def start(self, grown: strategies.Grown, devices: int) -> None:
        self.model = read_model(grown.text)
        loss, *_ = strategies.training_passes(self.model)
        self.recipe = Update(UPDATES[recipe_of(self.model).optimizer.name])
        self.graph = run_passes(self.model.graph, [loss])
        differentiated = run_passes(self.graph, [Backward()])
        updated = run_passes(differentiated, [self.recipe])
        self.feed = grown.feeds(step=2) | strategies.initial(updated)
        self.expected = results(differentiated, self.feed) | results(updated, self.feed)
        self.names, self.stage, self.devices, self.planned = names(self.graph), "forward", devices, True

    @property
    def placed(self) -> bool:
        return self.graph.devices > 1

    def apply(self, pass_: Pass, stage: str | None = None, once: bool = False) -> None:
        """Run a pass; it says whether it changed anything, and if it is to be idempotent, then it is."""
        before = print_graph(self.graph)
        after = self.graph.copy()
        changed = pass_.run(after)
        text = print_graph(after)
        assert changed or text == before
        if once:
            again = after.copy()
            assert not pass_.run(again)
            assert print_graph(again) == text
        self.graph, self.stage = after, stage or self.stage

    @precondition(lambda self: not self.placed)
    @step("forward", "infer")
    def partition(self, seed: int) -> None:
        """Each node in any of the ways it can be shared out."""
        if self.devices > 1:
            self.apply(Partition(self.devices, at_random(self.graph, self.devices, seed)))

    @step("forward")
    def backward(self, seed: int) -> None:
        self.apply(Backward(), "backward")
        grads = {name for name in self.graph.outputs if name.endswith(".grad")}
        self.names = (self.names[0], self.names[1] | grads)

    @step("backward")
    def update(self, seed: int) -> None:
        self.apply(self.recipe, "updated")
        before = self.names[0]
        self.names = names(self.graph)
        assert before <= self.names[0]
        assert self.names[1] == {"score", "loss"}

    @precondition(lambda self: not self.placed)
    @step("forward")
    def specialise(self, seed: int) -> None:
        self.apply(Specialise(), "infer")
        score = test_specialise.expected(self.model.graph, self.feed)
        self.expected, self.names = {"score": score}, (self.names[0], {"score"})

    @step("forward", "backward", "updated", "infer", "local")
    def cleanup(self, seed: int) -> None:
        self.apply(Cleanup(), once=True)
        sources, _ = names(self.graph)
        assert sources <= self.names[0]
        self.names = (sources, self.names[1])

    @step("forward", "backward", "updated", "infer", "local")
    def distribute(self, seed: int) -> None:
        self.apply(Distribute(), "local" if self.placed else None, once=True)
        crossing = [n.op.name for n in self.graph.topo() if len(self.devices_of(n)) > 1 and n.op.name != "copy"]
        assert not (self.placed and crossing)

    def devices_of(self, node: Node) -> set[int]:
        return {self.graph.tensor(value).device for value in (*node.operands, *node.results)}

    @precondition(lambda self: self.stage == "local" or not self.placed)
    @step("updated", "infer", "local")
    def fuse(self, seed: int) -> None:
        choose = random.Random(seed)
        rules = frozenset(choose.sample(FUSIONS, choose.randint(1, len(FUSIONS))))
        self.apply(Fuse(Target("some", fusions=rules)), "local", once=True)

    @step("local", "again")
    def recompute(self, seed: int) -> None:
        choose, early = random.Random(seed), forward(self.graph)
        nodes = [node.name for node in self.graph.topo() if node.id in early and can_be_cloned(node)]
        self.apply(Recompute(tuple(choose.sample(nodes, choose.randint(0, len(nodes))))), "again")

    @precondition(lambda self: self.stage in ("local", "again") or not self.placed)
    @step("updated", "infer", "local", "again")
    def plan(self, seed: int) -> None:
        """The program and its memory, run by the reference's executor; the graph stays as it is."""
        backend = ReferenceBackend(np.dtype("f8"))
        profile = random.Random(seed).choice([None, *PROFILES.values()])
        plan = Schedule(profile).planned(self.graph, PlanMemory(backend.target).run)
        check(plan, backend.target)
        made = backend.build(plan, backend.storage(plan, {name: self.feed[name] for name in plan.states}))
        same(made.run(self.feed), self.expected)
        for name, state in plan.states.items():
            after = self.expected[f"%{name}"] if any(state.updates) else self.feed[name]
            same({name: made.storage.read(name)}, {name: after})

    @invariant()
    def is_sound(self) -> None:
        verify(self.graph)
        text = print_graph(self.graph)
        assert print_graph(parse(text)) == text
        assert names(self.graph) == self.names

    @invariant()
    def means_the_same(self) -> None:
        same(results(self.graph, self.feed), self.expected)


TestPipelines = Pipelines.TestCase
TestPipelines.settings = settings(
    max_examples=40, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck)
)


# --- the whole compiler -----------------------------------------------------------------------------------------------

EXAMPLES = Path(__file__).parents[2] / "examples"
DIGEST = """\
import hashlib, sys
from alexnet_ir.compiler import compile_inference, compile_step, read_model
from alexnet_ir.backends.emission.manifest import files, manifest
from alexnet_ir.setup import Kernels, setup_of
for path, place, arch in zip(sys.argv[1::3], sys.argv[2::3], sys.argv[3::3]):
    devices, kernels = ("0,1", Kernels(arch=arch)) if arch else ("cpu,cpu", Kernels())
    model, setup = read_model(path), setup_of(devices, place or None, kernels=kernels, present=False)
    step = compile_step(model, setup)
    plans = step.plan, compile_inference(model, setup, step).plan
    emitted = [(files(plan, setup.backend.emitter), manifest(plan, setup.backend.emitter)) for plan in plans if arch]
    print(step.placing.name, hashlib.sha256(repr((plans, emitted)).encode()).hexdigest())
"""


def compiled(hash_seed: int) -> list[str]:
    """Digests of the plans for two devices, and of what is emitted for GPUs."""
    nets = [("digits", "", ""), ("alexnet-2012", "columns", ""), ("alexnet-2012", "two_gpus", "sm_90")]
    chosen = [text for net, place, arch in nets for text in (str(EXAMPLES / f"{net}.alx"), place, arch)]
    environment = os.environ | {"PYTHONHASHSEED": str(hash_seed)}
    command = [sys.executable, "-c", DIGEST, *chosen]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split("\n")[:-1]


def test_no_plan_depends_on_the_hash_seed() -> None:
    first = compiled(0)
    assert len(first) == 3
    assert compiled(1) == first
    assert compiled(2) == first
