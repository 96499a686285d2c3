"""The contract of passes: names, records, the hook, the verifier in between, and graphs that depend on nothing else."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import alexnet_ir.passes
from alexnet_ir.compiler import inference_graph, read_model, training_graph
from alexnet_ir.ir.graph import Graph
from alexnet_ir.ir.text import print_graph
from alexnet_ir.ir.types import f32
from alexnet_ir.ir.verify import VerificationError, verify
from alexnet_ir.ops.elementwise import Add, Relu
from alexnet_ir.ops.table import parse
from alexnet_ir.passes.base import Pass, PassRecord, run_passes
from alexnet_ir.passes.cleanup import Cleanup
from alexnet_ir.passes.recompute import Recompute
from alexnet_ir.passes.table import PASSES, PIPELINES, pipeline

from .. import strategies

FOLDER = Path(alexnet_ir.passes.__path__[0])
TEXT = """\
alx 1
block fork(x, act) { return x -> conv(4, 3, pad = 1) -> act, x -> conv(4, 1) -> batchnorm }
net N(act = relu) {
  image = input(3, 6, 6)
  a, b = fork(image, act)
  return concat(a, b) -> maxpool(2) -> dropout(0.5) -> flatten -> fc(3), b -> global_avgpool -> fc(3)
}
train t { batch: 2 stop: steps(2) loss: hinge(weights = [1, 0.3]) optimizer: adam(lr = 0.01) }
"""


def module_of(name: str) -> str:
    """The module of a pass: Python's names have no dashes."""
    return name.replace("-", "_")


@pytest.mark.parametrize("name", PASSES)
def test_file_name_and_command_line_name_are_one_word(name: str) -> None:
    cls = PASSES[name]
    assert cls.name == name
    assert cls.__module__ == f"alexnet_ir.passes.{module_of(name)}"
    assert dataclasses.is_dataclass(cls)
    with pytest.raises(dataclasses.FrozenInstanceError):
        cls().name = "another"  # type: ignore[misc]


@pytest.mark.parametrize("name", [*PASSES, "schedule"])
def test_says_what_it_does(name: str) -> None:
    text = import_module(f"alexnet_ir.passes.{module_of(name)}").__doc__ or ""
    assert name == "schedule" or ("\n\nBefore:" in text and "\nAfter:" in text)
    assert text.partition("\n")[0].endswith((".", ":"))


def test_every_pass_is_in_the_table() -> None:
    """But for `recompute`, which `fit` runs when a step has to fit a limit."""
    modules = [import_module(f"alexnet_ir.passes.{path.stem}") for path in FOLDER.glob("*.py")]
    found = {cls for module in modules for cls in vars(module).values() if isinstance(cls, type)}
    assert {cls for cls in found if issubclass(cls, Pass) and cls is not Pass} == {*PASSES.values(), Recompute}
    assert all(name in PASSES for names in PIPELINES.values() for name in names)


def test_options_take_the_place_of_defaults() -> None:
    own = Cleanup()
    found = pipeline("infer", {"cleanup": own, "loss": PASSES["loss"]()})
    assert [p.name for p in found] == list(PIPELINES["infer"])
    assert found[-1] is own


def test_the_hook_sees_every_pass() -> None:
    seen: list[tuple[PassRecord, str]] = []
    graph = training_graph(read_model(TEXT), lambda record, graph: seen.append((record, print_graph(graph))))
    records = [record for record, _ in seen]
    assert [record.name for record in records] == list(PIPELINES["train"])
    assert all(record.seconds >= 0 for record in records)
    assert [record.name for record in records if not record.changed] == ["partition"], "there is one device"
    assert [r.nodes_after for r in records[:-1]] == [r.nodes_before for r in records[1:]]
    assert records[-1].nodes_after == len(graph)
    assert seen[-1][1] == print_graph(graph)
    assert len({text for _, text in seen}) == len(seen) - 1


def test_changed_is_what_the_pass_says() -> None:
    records: list[PassRecord] = []
    run_passes(inference_graph(read_model(TEXT)), [Cleanup()], lambda record, _: records.append(record))
    assert [record.changed for record in records] == [False]


@dataclass(frozen=True)
class Careless(Pass):
    """Replaces a value by one of another shape."""

    name: ClassVar[str] = "careless"

    def run(self, graph: Graph) -> bool:
        graph.replace(graph.named("conv1" if "conv1" in graph else "y"), graph.input("another", f32(7)))
        return True


@dataclass(frozen=True)
class Forgetful(Pass):
    """Takes out a node that is still read, behind the graph's back."""

    name: ClassVar[str] = "forgetful"

    def run(self, graph: Graph) -> bool:
        del graph._nodes[graph.named("y").node]
        return True


@dataclass(frozen=True)
class Circular(Pass):
    """Makes a node read what is made of it."""

    name: ClassVar[str] = "circular"

    def run(self, graph: Graph) -> bool:
        graph.replace(graph.named("x"), graph.named("z"))
        return True


@pytest.mark.parametrize("faulty", [Careless(), Forgetful(), Circular()])
def test_the_verifier_stops_a_broken_pass(faulty: Pass) -> None:
    graph = Graph("net")
    y = graph.emit(Relu(), graph.input("x", f32(2, 3)), name="y")
    graph.outputs["z"] = graph.emit(Relu(), y, name="z")
    graph.outputs["sum"] = graph.emit(Add(), y, graph.outputs["z"], name="sum")
    seen: list[str] = []
    with pytest.raises(VerificationError):
        run_passes(graph, [Cleanup(), faulty, Cleanup()], lambda record, _: seen.append(record.name))
    assert seen == ["cleanup"]
    verify(graph)


def test_a_broken_graph_is_not_even_begun() -> None:
    graph = Graph("net")
    graph.outputs["y"] = graph.emit(Relu(), graph.input("x", f32(2)), name="y")
    Forgetful().run(graph)
    with pytest.raises(VerificationError):
        run_passes(graph, [])


# For every graph


@settings(max_examples=50, deadline=None)
@given(strategies.nets())
def test_the_graph_given_stays_as_it_is(grown: strategies.Grown) -> None:
    model = read_model(grown.text)
    before, inputs, states = print_graph(model.graph), dict(model.graph.inputs), dict(model.graph.states)
    training_graph(model)
    inference_graph(model)
    assert print_graph(model.graph) == before
    assert (model.graph.inputs, model.graph.states) == (inputs, states)
    verify(model.graph)


@settings(max_examples=50, deadline=None)
@given(strategies.nets())
def test_every_pass_leaves_a_sound_graph_whose_text_reads_back(grown: strategies.Grown) -> None:
    def look(record: PassRecord, graph: Graph) -> None:
        verify(graph)
        text = print_graph(graph)
        assert print_graph(parse(text)) == text, record.name

    model = read_model(grown.text)
    training_graph(model, look)
    inference_graph(model, look)


@settings(max_examples=30, deadline=None)
@given(strategies.nets())
def test_a_graph_read_back_runs_to_the_same_bits(grown: strategies.Grown) -> None:
    graph = training_graph(read_model(grown.text))
    again = parse(print_graph(graph))
    states, feeds = strategies.initial(graph), grown.feeds(step=4)
    outputs, after = strategies.run(graph, states, feeds)
    outputs_again, after_again = strategies.run(again, states, feeds)
    for found, expected in ((outputs_again, outputs), (after_again, after)):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value)


@settings(max_examples=60, deadline=None)
@given(strategies.nets())
def test_twice_the_same_text_is_twice_the_same_graph(grown: strategies.Grown) -> None:
    first, second = read_model(grown.text), read_model(grown.text)
    assert print_graph(first.graph) == print_graph(second.graph)
    assert (
        print_graph(training_graph(first)) == print_graph(training_graph(second)) == print_graph(training_graph(first))
    )


DIGEST = """\
import hashlib, sys
import numpy as np
from alexnet_ir.setup import Setup
from alexnet_ir.compiler import inference_graph, plan_of, read_model, training_graph
from alexnet_ir.ir.text import print_graph
from alexnet_ir.training.step import TrainingStep
for text in sys.stdin.read().split("\\0"):
    model = read_model(text)
    digest = hashlib.sha256(print_graph(training_graph(model)).encode())
    digest.update(print_graph(inference_graph(model)).encode())
    digest.update(repr(plan_of(training_graph(model)).steps).encode())
    step = TrainingStep(model, Setup())
    images = np.random.default_rng(0).random((model.batch, *model.image))
    for _ in range(2):
        digest.update(repr(step(images, np.arange(model.batch) % 2)).encode())
    for name, value in step.weights.items():
        digest.update(name.encode() + value.tobytes())
    digest.update(step.predict(images).tobytes())
    print(digest.hexdigest())
"""


def digests(texts: list[str], hash_seed: int) -> str:
    environment = os.environ | {"PYTHONHASHSEED": str(hash_seed)}
    done = subprocess.run(
        [sys.executable, "-c", DIGEST],
        input="\0".join(texts),
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_nothing_depends_on_the_hash_seed() -> None:
    texts = [TEXT]

    @settings(max_examples=12, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(strategies.nets())
    def grow(grown: strategies.Grown) -> None:
        texts.append(grown.text)

    grow()
    first = digests(texts, 1)
    assert len(first.split()) == len(texts)
    assert hashlib.sha256(first.encode()).digest() == hashlib.sha256(digests(texts, 2).encode()).digest()
