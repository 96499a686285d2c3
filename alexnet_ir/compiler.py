"""From a model file to graphs and plans: the passes that make a training step, and those that make an evaluation."""

from __future__ import annotations

from pathlib import Path

from alexnet_ir.backends.base import Backend
from alexnet_ir.backends.cpu.backend import CpuBackend
from alexnet_ir.backends.reference.executor import ReferenceBackend
from alexnet_ir.diagnostics import Source, error
from alexnet_ir.dsl import spec
from alexnet_ir.dsl.model import Choice, Model, load, read_source
from alexnet_ir.ir.attributes import Pair
from alexnet_ir.ir.graph import Graph
from alexnet_ir.ir.plan import Plan
from alexnet_ir.ops.loss import Hinge, LossOp, SoftmaxCrossEntropy
from alexnet_ir.ops.update import Adam, Sgd, UpdateOp
from alexnet_ir.passes.base import Hook, run_passes
from alexnet_ir.passes.fc_to_conv import FcToConv
from alexnet_ir.passes.loss import Loss
from alexnet_ir.passes.plan_memory import PlanMemory
from alexnet_ir.passes.schedule import Schedule
from alexnet_ir.passes.table import pipeline
from alexnet_ir.passes.update import Update

BACKENDS: dict[str, Backend] = {"cpu": CpuBackend(), "reference": ReferenceBackend()}
LOSSES: dict[str, LossOp] = {op.name: op for op in (SoftmaxCrossEntropy(), Hinge())}
UPDATES: dict[str, UpdateOp] = {op.name: op for op in (Sgd(), Adam())}


def read_model(source: str | Path, choice: Choice | None = None) -> Model:
    """A model from a path, or from a text (recognised by its first word, `alx`); AlexnetError if something is wrong."""
    if isinstance(source, str) and (source.lstrip().startswith(("alx ", "#")) or "\n" in source):
        return load(Source("<text>", source), choice)
    return load(read_source(Path(source)), choice)


def recipe_of(model: Model) -> spec.TrainSpec:
    """The model's recipe; AlexnetError where its file has none."""
    if model.train is None:
        raise error(
            f"{model.source.name} was read without a `train` section, which says how to train",
            helps=[
                "add one: train NAME { batch: 128  stop: epochs(10)  optimizer: sgd(lr = 0.01, momentum = 0.9) }",
                "where there is one, it names its net: leave --net out",
            ],
        )
    return model.train


def training_graph(model: Model, hook: Hook | None = None) -> Graph:
    """The whole training step: forward, loss, backward, update."""
    recipe = recipe_of(model)
    options = {
        "loss": Loss(LOSSES[recipe.loss.name], recipe.loss.weights, recipe.span),
        "update": Update(UPDATES[recipe.optimizer.name], recipe.span),
    }
    return run_passes(model.graph, pipeline("train", options), hook)


def inference_graph(model: Model, hook: Hook | None = None) -> Graph:
    """The forward graph as it evaluates."""
    return run_passes(model.graph, pipeline("infer", {}), hook)


def dense_graph(model: Model, size: Pair, hook: Hook | None = None) -> Graph:
    """The graph that evaluates images of `size` (rows, columns), not below the net's own, to maps of scores."""
    return run_passes(model.graph, pipeline("dense", {"fc-to-conv": FcToConv(size)}), hook)


def plan_of(graph: Graph) -> Plan:
    """The plan for one device."""
    return PlanMemory().run(Schedule().run(graph))


def backend_for(devices: str | None) -> Backend:
    """The backend for `--devices`; AlexnetError where there is no such device."""
    names = [name.strip() for name in (devices or "cpu").split(",")]
    if all(name.isdecimal() for name in names):
        raise error(
            f"--devices {devices}: no GPU can be used: this version runs on the CPU", helps=["use --devices cpu"]
        )
    unknown = [name for name in names if name not in BACKENDS and not name.isdecimal()]
    if unknown:
        raise error(
            f"--devices {devices}: no such device as {unknown[0]!r}", helps=[f"there is {' and '.join(BACKENDS)}"]
        )
    if len(names) > 1:
        message = f"--devices {devices}: placement on several devices is accepted by check, but nothing runs it yet"
        raise error(message, helps=["use --devices cpu"])
    return BACKENDS[names[0]]
