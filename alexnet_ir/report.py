"""Compiles a model with all that its report compares, and reads the figures from what came out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from alexnet_ir.compiler import Compiled, compile_inference, compile_step, recipe_of
from alexnet_ir.diagnostics import counted
from alexnet_ir.dsl import spec
from alexnet_ir.dsl.model import Model
from alexnet_ir.figures import (
    Device,
    Edge,
    Exchanged,
    GraphFigures,
    Layer,
    Prediction,
    Recomputed,
    Report,
    Rule,
    States,
    StepCount,
    Temporary,
)  # fmt: skip
from alexnet_ir.ir.graph import ROLES, Graph, Node
from alexnet_ir.ir.op import Source
from alexnet_ir.ir.plan import Plan
from alexnet_ir.ir.target import Target
from alexnet_ir.ir.text import print_graph
from alexnet_ir.ir.timeline import explain, simulate
from alexnet_ir.ir.types import BATCH, CHANNELS, PARTIAL, REPLICATED, Placement
from alexnet_ir.passes.base import PassRecord
from alexnet_ir.passes.exchanges import emitted_bytes, exchanges
from alexnet_ir.passes.fuse import FusionReport, fusions
from alexnet_ir.passes.placements import Mode, Refusal
from alexnet_ir.placement import AUTO
from alexnet_ir.setup import Setup
from alexnet_ir.summary import node_cost, summarize

MILLION = 1_000_000


@dataclass(frozen=True)
class Compilation:
    """A model's training step and evaluation, and the step on one device to compare with. `passes` are those that made
    the step, `texts` the graphs after some of them, by name."""

    model: Model
    setup: Setup
    step: Compiled
    alone: Compiled
    inference: Compiled
    passes: tuple[PassRecord, ...]
    texts: Mapping[str, str]


def compile_all(model: Model, setup: Setup, wanted: Collection[str] = ()) -> Compilation:
    """Compile for the setup; the graphs after the passes `wanted` are kept as texts."""
    passes: list[PassRecord] = []
    texts: dict[str, str] = {}

    def keep(record: PassRecord, graph: Graph) -> None:
        passes.append(record)
        if record.name in wanted:
            texts[record.name] = print_graph(graph)

    step = compile_step(model, setup, keep)
    one = replace(setup, devices=setup.devices[:1], place=None, memory_limit=None)
    alone = compile_step(model, one) if len(setup.devices) > 1 else step
    return Compilation(model, setup, step, alone, compile_inference(model, setup, step), tuple(passes), texts)


def report_of(made: Compilation) -> Report:
    """The figures of a compilation."""
    model, step, target = made.model, made.step, made.setup.backend.target
    totals, fused = summarize(model).trained, fusions(step.local, target)
    return Report(
        net=model.net,
        file=model.source.name,
        recipe=recipe_of(model).name,
        batch=model.batch,
        parameters=totals.parameters,
        macs=totals.macs,
        place=step.placing.name,
        place_from=_place_from(made),
        found=step.placing.best,
        tried=step.placing.tried,
        refusals=tuple(_refused(refusal, step.placing.modes) for refusal in step.placing.refusals),
        memory_limit=made.setup.memory_limit,
        layers=tuple(_layers(model, step)),
        devices=tuple(_device(step.plan, device, name) for device, name in enumerate(_names(made.setup))),
        temporaries=tuple(_temporaries(step.plan, target)),
        exchange=_exchanged(step),
        fusions=tuple(_rules(fused)),
        fusion_refusals=tuple(f"{refusal.rule}: {refusal}" for refusal in fused.refusals),
        steps=StepCount(fused.steps_before, fused.steps_after),
        recomputed=_recomputed(step),
        predicted=_prediction(made),
        passes=made.passes,
        step=_figures(step.logical),
        inference=_figures(made.inference.logical),
        inference_peak_bytes=tuple(arena.peak for arena in made.inference.plan.arenas),
    )


def _place_from(made: Compilation) -> str:
    """Who chose the placement."""
    if len(made.setup.devices) == 1:
        return "one device"
    if made.setup.place == made.step.placing.name:
        return "--place"
    return AUTO if made.step.placing.tried else "the file"


def _refused(refusal: Refusal, modes: Mapping[str, Mode]) -> str:
    """A layer that could not be as its placement wants it, and how it is."""
    instead = "split over the batch" if modes[refusal.layer] == "batch" else "on one device"
    return f"{refusal.layer}: {refusal.reason}: {instead} instead"


def _names(setup: Setup) -> list[str]:
    """A name for each device: `cpu`, `gpu:1`, with a number where several have one name."""
    kinds = [f"gpu:{name}" if name.isdecimal() else name for name in setup.devices]
    several = len(set(kinds)) < len(kinds)
    return [f"{kind}:{number}" if several else kind for number, kind in enumerate(kinds)]


def _layers(model: Model, step: Compiled) -> list[Layer]:
    graph, found = step.logical, []
    values = {layer.path: layer.value for layer in model.layers}
    for layer in summarize(model).layers:
        name = values[layer.path]
        split = ""  # also of what cleanup has taken out
        if graph.devices > 1 and name in graph:
            split = _split(graph.tensor(graph.named(name)).placement, step.placing.modes.get(layer.path))
        found.append(
            Layer(layer.path, layer.op, layer.shape, layer.parameters, layer.macs, split, layer.activation_bytes)
        )
    return found


def _split(placement: Placement, mode: Mode | None) -> str:
    """How a layer that leaves its result so is shared out."""
    if mode == "inputs":
        return "inputs"
    words: dict[Placement, str] = {BATCH: "batch", CHANNELS: "channels", PARTIAL: "sum", REPLICATED: "all devices"}
    return words.get(placement) or str(placement).replace("on(", "device ").removesuffix(")")


def _device(plan: Plan, device: int, name: str) -> Device:
    arena = plan.arenas[device]
    held = [s.shards[device] for s in plan.states.values() if s.role == "parameter"]
    parameters = sum(plan.types[shard].size for shard in held if shard is not None)
    return Device(
        name, parameters, arena.states, arena.size, arena.peak, arena.lower_bound, arena.separate, arena.temporary
    )


def _temporaries(plan: Plan, target: Target, most: int = 3) -> list[Temporary]:
    """The steps that allocate most, and how much."""
    found = []
    for step in plan.steps:
        operands, results = [plan.types[name] for name in step.operands], [plan.types[name] for name in step.results]
        found.append(Temporary(step.name, step.stream.device, target.temporary(step.op, operands, results)))
    return sorted((t for t in found if t.bytes), key=lambda t: (-t.bytes, t.device, t.step))[:most]


def _rules(made: FusionReport) -> list[Rule]:
    """What the rules did, those that save most first."""
    counts = Counter(fusion.rule for fusion in made.fusions)
    saved = {rule: sum(f.saved_bytes for f in made.fusions if f.rule == rule) for rule in counts}
    return sorted((Rule(rule, counts[rule], saved[rule]) for rule in counts), key=lambda r: (-r.saved_bytes, r.rule))


def _exchanged(step: Compiled) -> Exchanged:
    edges = tuple(Edge(e.layer, e.line, e.kind, e.phase, e.nbytes) for e in exchanges(step.logical))
    return Exchanged(sum(edge.bytes for edge in edges), emitted_bytes(step.plan), edges)


def _recomputed(step: Compiled) -> Recomputed:
    nodes = [step.fused.node(step.fused.named(name)) for name in step.recomputed]
    return Recomputed(step.recomputed, sum(node_cost(step.fused, node).flops for node in nodes))


def _prediction(made: Compilation) -> Prediction:
    profile, batch = made.setup.profile, made.model.batch
    one, many = simulate(made.alone.plan, profile), simulate(made.step.plan, profile)
    run, run_seconds = _run(made.model, many.seconds)
    return Prediction(
        profile.name,
        profile.description,
        profile.memory_bytes,
        many.seconds,
        one.seconds,
        one.seconds / many.seconds,
        batch / many.seconds,
        many.seconds / batch * MILLION,
        run,
        run_seconds,
        explain(one, many) if many.program.devices > 1 else "",
    )


def _run(model: Model, seconds: float) -> tuple[str, float | None]:
    """A recipe's whole run in words, and the time it takes at so many seconds a step: where it counts steps, and for
    epochs of a folder, of which nobody knows the size, as if it had a million images."""
    for stop in recipe_of(model).stop:
        match stop:
            case spec.Steps(count):
                return counted(count, "step"), count * seconds
            case spec.Epochs(count) if model.data and isinstance(model.data.source, spec.Folder):
                return f"{count:g} epochs of a million images", count * seconds / model.batch * MILLION
    return "", None


def _figures(graph: Graph) -> GraphFigures:
    nodes: list[Node] = [node for node in graph.topo() if not isinstance(node.op, Source)]
    flops = sum(node_cost(graph, node).flops for node in nodes)
    sizes = [(state.role, graph.tensor(state.read).nbytes) for state in graph.states.values()]
    by_role = [(role, [nbytes for r, nbytes in sizes if r == role]) for role in ROLES]
    states = tuple(States(role, len(found), sum(found)) for role, found in by_role if found)
    return GraphFigures(dict(Counter(node.op.name for node in nodes).most_common()), flops, states)
