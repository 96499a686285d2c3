"""`--passes` and `--dump-after`: passes by name, listed, chosen, and run in any order."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from alexnet_ir.cli.dense import size_of
from alexnet_ir.cli.table import table
from alexnet_ir.compiler import compile_step, training_passes
from alexnet_ir.diagnostics import error, listed, nearest
from alexnet_ir.dsl.model import Model
from alexnet_ir.ir.graph import Graph
from alexnet_ir.ir.op import NotDifferentiableError, Source, TypeRuleError
from alexnet_ir.ir.verify import VerificationError
from alexnet_ir.passes.base import Pass, run_passes
from alexnet_ir.passes.fc_to_conv import FcToConv
from alexnet_ir.passes.fuse import Fuse
from alexnet_ir.passes.partition import Partition
from alexnet_ir.passes.placements import follow
from alexnet_ir.passes.table import PASSES, PIPELINES
from alexnet_ir.setup import Setup

ALL = "all"
DUMPED = tuple(dict.fromkeys((*PIPELINES["train"], *PIPELINES["lower"])))
"""The passes that make a training step, in order."""
NEEDS = {"backward": "loss", "update": "backward"}
"""What must have run before a pass."""


def dumped(name: str | None) -> tuple[str, ...]:
    """The passes whose result --dump-after asks for."""
    if name is None or name == ALL:
        return DUMPED if name else ()
    _check("--dump-after", name, DUMPED, f", or `{ALL}`")
    return (name,)


def named(text: str) -> tuple[str, ...]:
    """The passes that --passes names."""
    names = tuple(name.strip() for name in text.split(","))
    for position, name in enumerate(names):
        _check("--passes", name, PASSES)
        if NEEDS.get(name, name) not in (name, *names[:position]):
            raise error(f"--passes {text}: `{name}` needs `{NEEDS[name]}` before it")
    return names


def _check(option: str, name: str, known: Iterable[str], more: str = "") -> None:
    if name not in known:
        close = nearest(name, known)
        hints = [f"did you mean `{close}`?"] if close else []
        raise error(f"{option} {name}: no such pass", helps=[*hints, f"there are {listed(known)}{more}"])


def listing() -> dict[str, dict[str, object]]:
    """All passes with what they do, and the pipelines."""
    passes: dict[str, object] = {name: _purpose(class_) for name, class_ in PASSES.items()}
    return {"passes": passes, "pipelines": {name: list(names) for name, names in PIPELINES.items()}}


def _purpose(class_: type[Pass]) -> str:
    """The first sentence of a pass's file."""
    text = " ".join((sys.modules[class_.__module__].__doc__ or "").partition("\n\n")[0].split())
    return text.rstrip(".")


def listing_text() -> str:
    """The same as it is read."""
    width = max(map(len, PASSES))
    passes = [
        textwrap.fill(f"  {name:{width}}  {_purpose(class_)}", 100, subsequent_indent=" " * (width + 4))
        for name, class_ in PASSES.items()
    ]
    pipelines = table([("", name, ", ".join(names)) for name, names in PIPELINES.items()])
    after = "`schedule` and `plan-memory` then make the plan; `recompute` runs under --memory-limit"
    return "\n".join(["passes", *passes, "", "pipelines", pipelines, "", after])


def run_named(names: tuple[str, ...], model: Model, setup: Setup, dense: str | None) -> Iterator[Graph]:
    """The model's graph after each of these passes; AlexnetError where one cannot run in its place."""
    options, graph = _Options(model, setup, dense), model.graph
    for position, name in enumerate(names):
        try:
            graph = run_passes(graph, [options.made(name, graph)])
        except (LookupError, ValueError, AssertionError, TypeRuleError, VerificationError, NotDifferentiableError) as e:
            before = f"after {', '.join(names[:position])}" if position else "first"
            said = str(e).partition("\n")[0]
            reason = said if "`" in said else "the graph is none that it can work on"
            raise error(f"--passes: `{name}` cannot run {before}: {reason}") from None
        yield graph


@dataclass(frozen=True)
class _Options:
    """Passes as the arguments want them."""

    model: Model
    setup: Setup
    dense: str | None

    def made(self, name: str, graph: Graph) -> Pass:
        """The pass, to run on this graph."""
        if name in ("loss", "update"):
            return training_passes(self.model)[name]
        if name == "fc-to-conv" and self.dense:
            return FcToConv(size_of(self.dense))
        if name == "fuse":
            return Fuse(self.setup.backend.target)
        if name == "partition" and len(self.setup.devices) > 1:
            return self.partition(graph)
        return PASSES[name]()

    def partition(self, graph: Graph) -> Partition:
        """By the strategies of the training step, or, where the graph has other nodes, by its layers' modes."""
        step = compile_step(self.model, self.setup)
        placing, nodes = step.placing, [node for node in graph.topo() if not isinstance(node.op, Source)]
        if all(node.name in placing.strategies for node in nodes):
            return Partition(placing.devices, placing.strategies)
        return Partition(placing.devices, follow(graph, placing.devices, placing.modes, step.states()), step.states())
