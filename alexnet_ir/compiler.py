"""From a model file to graphs and plans: the passes that make a training step, and those that make an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from alexnet_ir.diagnostics import Source, error
from alexnet_ir.dsl import spec
from alexnet_ir.dsl.model import Choice, Model, load, read_source
from alexnet_ir.ir.attributes import Pair
from alexnet_ir.ir.graph import Graph
from alexnet_ir.ir.plan import Plan
from alexnet_ir.ir.target import TOGETHER_BYTES, Target
from alexnet_ir.ir.timeline import simulate
from alexnet_ir.ir.types import Placement
from alexnet_ir.ops.loss import Hinge, LossOp, SoftmaxCrossEntropy
from alexnet_ir.ops.update import Adam, Sgd, UpdateOp
from alexnet_ir.passes.base import Hook, Pass, PassRecord, run_passes
from alexnet_ir.passes.fc_to_conv import FcToConv
from alexnet_ir.passes.fit import fit
from alexnet_ir.passes.fuse import Fuse
from alexnet_ir.passes.loss import Loss
from alexnet_ir.passes.partition import Partition
from alexnet_ir.passes.placements import follow
from alexnet_ir.passes.plan_memory import PlanMemory
from alexnet_ir.passes.schedule import Schedule
from alexnet_ir.passes.specialise import Specialise
from alexnet_ir.passes.table import pipeline
from alexnet_ir.passes.update import Update
from alexnet_ir.placement import Placing, placing_of
from alexnet_ir.setup import Setup

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


ONE = Placing("single", 1)


@dataclass(frozen=True)
class Compiled:
    """A program and how it came about: the `logical` graph of what is to be done, the `local` one of what each device
    does, the same `fused`, and the plan. `recomputed` are the nodes that run again so that a memory limit holds."""

    placing: Placing
    logical: Graph
    local: Graph
    fused: Graph
    plan: Plan
    recomputed: tuple[str, ...] = ()

    def states(self) -> dict[str, Placement]:
        """Where each state lies."""
        return {state.name: self.logical.tensor(state.read).placement for state in self.logical.states.values()}


def compile_step(model: Model, setup: Setup, hook: Hook | None = None) -> Compiled:
    """The training step for some devices; AlexnetError where it cannot be placed as asked, or does not fit."""
    forward = run_passes(model.graph, [training_passes(model)["loss"]])

    def predict(placing: Placing) -> float:
        lowered = _lowered(_step_graph(model, placing), placing, replace(setup, memory_limit=None))
        return simulate(lowered.plan, setup.profile).seconds

    placing = placing_of(model, forward, len(setup.devices), setup.place, setup.profile, predict)
    return _lowered(_step_graph(model, placing, hook), placing, setup, hook)


def compile_gradients(model: Model, setup: Setup) -> Compiled:
    """The training step up to the parameters' gradients, which are outputs (`conv1.weight.grad`): no parameter
    changes."""
    placing = compile_step(model, setup).placing
    return _lowered(_step_graph(model, placing, is_updated=False), placing, setup)


def compile_inference(
    model: Model, setup: Setup, step: Compiled, size: Pair | None = None, fetch: Mapping[str, str] | None = None
) -> Compiled:
    """The evaluation that goes with a training step, its states placed alike; at another size, the dense one. `fetch`
    names further outputs and the nodes that make them."""
    name = "infer" if size is None else "dense"
    options: dict[str, Pass] = {"specialise": Specialise(fetch or {})}
    if size is not None:
        options["fc-to-conv"] = FcToConv(size)
    placing = step.placing
    if placing.devices > 1:
        alone = run_passes(model.graph, pipeline(name, options))
        strategies = follow(alone, placing.devices, placing.modes, step.states())
        options["partition"] = Partition(placing.devices, strategies, step.states())
    return _lowered(run_passes(model.graph, pipeline(name, options)), placing, setup)


def training_graph(model: Model, hook: Hook | None = None) -> Graph:
    """The whole training step: forward, loss, backward, update. Logical, on one device."""
    return _step_graph(model, ONE, hook)


def gradient_graph(model: Model) -> Graph:
    """The training step up to the gradients. Logical, on one device."""
    return _step_graph(model, ONE, is_updated=False)


def inference_graph(model: Model, hook: Hook | None = None) -> Graph:
    """The forward graph as it evaluates. Logical, on one device."""
    return run_passes(model.graph, pipeline("infer", {}), hook)


def dense_graph(model: Model, size: Pair, hook: Hook | None = None) -> Graph:
    """The graph that evaluates images of `size` (rows, columns), not below the net's own, to maps of scores."""
    return run_passes(model.graph, pipeline("dense", {"fc-to-conv": FcToConv(size)}), hook)


NOTHING = Target("none")
"""What a backend can do that knows of no fusion and has no layouts of its own."""


def plan_of(graph: Graph, target: Target = NOTHING) -> Plan:
    """The plan of a graph as it stands, without fusion."""
    return PlanMemory(target).run(Schedule().run(graph))


def training_passes(model: Model) -> dict[str, Pass]:
    """The passes of a training step that depend on the recipe."""
    recipe = recipe_of(model)
    return {
        "loss": Loss(LOSSES[recipe.loss.name], recipe.loss.weights, recipe.span),
        "update": Update(UPDATES[recipe.optimizer.name], recipe.span),
    }


def _step_graph(model: Model, placing: Placing, hook: Hook | None = None, *, is_updated: bool = True) -> Graph:
    options = training_passes(model) | {"partition": Partition(placing.devices, placing.strategies)}
    passes = [pass_ for pass_ in pipeline("train", options) if is_updated or pass_.name != Update.name]
    return run_passes(model.graph, passes, hook)


def _lowered(logical: Graph, placing: Placing, setup: Setup, hook: Hook | None = None) -> Compiled:
    """What each device does of a logical graph."""
    target, graphs = setup.backend.target, [logical]
    if setup.memory_limit is not None:  # a gradient's memory is free once its parameter is updated
        target = replace(target, together_bytes=min(target.together_bytes, TOGETHER_BYTES))

    def keep(record: PassRecord, graph: Graph) -> None:
        graphs.append(graph.copy())
        if hook is not None:
            hook(record, graph)

    run_passes(logical, pipeline("lower", {"fuse": Fuse(target)}), keep)
    _, local, fused = graphs
    memory = PlanMemory(target)
    schedule = Schedule(setup.profile, memory=setup.memory_limit or setup.profile.memory_bytes or 0)

    def planned(graph: Graph) -> Plan:
        return schedule.planned(graph, memory.run)

    if setup.memory_limit is None:
        return Compiled(placing, logical, local, fused, planned(fused))
    fitted, plan, recomputed = fit(fused, setup.memory_limit, planned)
    return Compiled(placing, logical, local, fitted, plan, recomputed)
