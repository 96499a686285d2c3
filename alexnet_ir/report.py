"""What the compiler made of a net: its passes, and the training step that came out."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass

from alexnet_ir.compiler import inference_graph, recipe_of, training_graph
from alexnet_ir.dsl.model import Model
from alexnet_ir.ir.graph import ROLES, Graph
from alexnet_ir.ir.op import Source
from alexnet_ir.ir.text import print_graph
from alexnet_ir.passes.base import PassRecord
from alexnet_ir.summary import node_cost, summarize


@dataclass(frozen=True, slots=True)
class States:
    """All states of one role."""

    role: str
    count: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class GraphFigures:
    """What one run of a graph takes. `ops` counts the nodes of each op; inputs and states are none."""

    ops: dict[str, int]
    flops: int
    states: tuple[States, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """The compiler's report. MACs are those of one image forward."""

    net: str
    file: str
    recipe: str
    batch: int
    parameters: int
    macs: int
    passes: tuple[PassRecord, ...]
    step: GraphFigures
    inference: GraphFigures

    def to_json(self) -> dict[str, object]:
        """The same as plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Compiled:
    """A net's graphs, and for each pass that made the step its record and the graph after it as text."""

    model: Model
    step: Graph
    inference: Graph
    passes: tuple[tuple[PassRecord, str], ...]

    @property
    def report(self) -> Report:
        """The figures."""
        totals = summarize(self.model).trained
        return Report(
            self.model.net,
            self.model.source.name,
            recipe_of(self.model).name,
            self.model.batch,
            totals.parameters,
            totals.macs,
            tuple(record for record, _ in self.passes),
            _figures(self.step),
            _figures(self.inference),
        )


def compile_graphs(model: Model) -> Compiled:
    """Run both pipelines, and keep what each pass of the training step made."""
    passes: list[tuple[PassRecord, str]] = []
    step = training_graph(model, lambda record, graph: passes.append((record, print_graph(graph))))
    return Compiled(model, step, inference_graph(model), tuple(passes))


def _figures(graph: Graph) -> GraphFigures:
    nodes = [node for node in graph.topo() if not isinstance(node.op, Source)]
    flops = sum(node_cost(graph, node).flops for node in nodes)
    sizes = [(state.role, graph.tensor(state.read).nbytes) for state in graph.states.values()]
    by_role = [(role, [nbytes for r, nbytes in sizes if r == role]) for role in ROLES]
    states = tuple(States(role, len(found), sum(found)) for role, found in by_role if found)
    return GraphFigures(dict(Counter(node.op.name for node in nodes).most_common()), flops, states)
