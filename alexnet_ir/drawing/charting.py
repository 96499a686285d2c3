"""Makes charts of a compiled training step: the net alone, or the step with its backward pass and update.

Where values lie is read from the logical graph, what is moved from the copies of the local one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from alexnet_ir.compiler import Compiled
from alexnet_ir.drawing.chart import PHASES, Cell, Chart, Column, Exchange, Phase, bytes_text
from alexnet_ir.drawing.diagram import FOLLOWERS, homes
from alexnet_ir.drawing.shares import cell_of
from alexnet_ir.dsl.model import Model
from alexnet_ir.ir.graph import Graph, Node, Value
from alexnet_ir.ir.names import LOSS, layer_of
from alexnet_ir.ir.op import Source
from alexnet_ir.ir.types import On
from alexnet_ir.ops.placing import Reshard
from alexnet_ir.ops.shape import Copy
from alexnet_ir.ops.update import UpdateOp
from alexnet_ir.passes.recompute import forward
from alexnet_ir.summary import summarize

COPY = re.compile(r"(.+)\.(\d+)to(\d+)(?:\.\d+)?")
BACK = ".grad_input"


def chart(model: Model, step: Compiled, *, whole: bool) -> Chart:
    """The forward net, or the whole step, on its devices."""
    return _Charting(model, step, whole).chart()


@dataclass(frozen=True, slots=True)
class _Moved:
    """The copies that serve one node."""

    kind: str
    nbytes: int
    links: tuple[tuple[int, int], ...]


def _moved(local: Graph) -> dict[str, _Moved]:
    """What is moved for each node of the logical graph, by its name."""
    found: dict[str, _Moved] = {}
    for node in local.topo():
        if isinstance(node.op, Copy) and (name := COPY.fullmatch(node.name)):
            source = local.tensor(node.operands[0])
            old = found.get(name[1], _Moved(node.op.kind, 0, ()))
            links = {*old.links, (source.device, node.op.to)}
            found[name[1]] = _Moved(old.kind, old.nbytes + source.nbytes, tuple(sorted(links)))
    return found


class _Charting:
    def __init__(self, model: Model, step: Compiled, whole: bool) -> None:
        self.model, self.step, self.whole = model, step, whole
        self.phases: tuple[Phase, ...] = PHASES if whole else ("forward",)
        self.graph = step.logical
        self.devices = self.graph.devices
        self.moved = _moved(step.local)
        self.early = forward(self.graph)
        self.nodes = [node for node in self.graph.topo() if not isinstance(node.op, Source) or node.name in self.paths]

    @cached_property
    def aside(self) -> set[str]:
        """The layers that are there for training only."""
        return {layer.path for layer in summarize(self.model).layers if layer.training_only}

    @cached_property
    def paths(self) -> dict[str, str]:
        """The row of each layer: that of the layer it follows, unless something is exchanged in between."""
        moving = {layer_of(n.name) for n in self.graph.topo() if isinstance(n.op, Reshard) and n.id in self.early}
        return homes(self.model, (*FOLLOWERS, "flatten"), moving)

    def row(self, node: Node) -> str:
        """Where a node stands; what belongs to no layer makes the loss."""
        return self.paths.get(layer_of(node.name), f".{LOSS}")

    def phase(self, node: Node) -> Phase:
        """When a node runs. A gradient is brought to where its parameter lies for the update."""
        if node.id in self.early:
            return "forward"
        readers = [user for value in node.results for user in self.graph.users(value)]
        brought = isinstance(node.op, Reshard) and readers and all(isinstance(r.op, UpdateOp) for r in readers)
        return "update" if brought or isinstance(node.op, UpdateOp) else "backward"

    def chart(self) -> Chart:
        """Rows and edges as they are forward; then what stands in them, and what crosses them."""
        edges = dict.fromkeys(self.edges())
        exchanges = tuple(self.exchanges(edges))
        cells = dict(self.cells())
        rows = [row for row in dict.fromkeys((*self.paths.values(), f".{LOSS}")) if any(c[0] == row for c in cells)]
        bands = dict.fromkeys(end for edge in edges for end in edge if end not in rows)
        batch, place = self.model.batch, str(self.step.placing)
        where = f", {place} on {self.devices} devices" if self.devices > 1 else ""
        what = ", a training step" if self.whole else ""
        return Chart(
            f"{self.model.net}{what}, batch {batch}{where}", self.note(), self.devices, self.phases, tuple(rows),
            tuple(bands), tuple(edges), cells, exchanges,
        )  # fmt: skip

    def note(self) -> str:
        """What a step moves between devices."""
        if self.devices == 1:
            return ""
        ahead = sum(self.moved[node.name].nbytes for node in self.moving() if self.phase(node) == "forward")
        whole = sum(moved.nbytes for moved in self.moved.values())
        return f"between devices a step: {bytes_text(ahead)} forward, {bytes_text(whole)} in all"

    # --- rows, bands and what they are of -------------------------------------------------------------------------

    def moving(self) -> list[Node]:
        """The nodes for which something is moved."""
        return [node for node in self.graph.topo() if node.name in self.moved]

    def above(self, value: Value) -> str | None:
        """The row or band that a value comes from; None for what no layer makes."""
        node = self.graph.node(value)
        if isinstance(node.op, Reshard):
            return node.name if self.is_band(node) else self.above(node.operands[0])
        return None if isinstance(node.op, Source) and node.name not in self.paths else self.row(node)

    def is_band(self, node: Node) -> bool:
        """Whether something crosses between two rows here, in a phase that is shown."""
        if node.id not in self.early or not isinstance(node.op, Reshard):
            return False
        back = self.whole and any(name.partition(BACK)[0] == node.name for name in self.moved)
        readers = {self.row(user) for user in self.graph.users(node.results[0]) if user.id in self.early}
        return (node.name in self.moved or back) and bool(readers - {self.above(node.operands[0])})

    def edges(self) -> Iterator[tuple[str, str]]:
        """From row to row, through bands."""
        for node in self.nodes:
            own = node.name if self.is_band(node) else self.row(node)
            if node.id in self.early and (own == node.name or not isinstance(node.op, Reshard)):
                above = [self.above(operand) for operand in node.operands]
                yield from ((source, own) for source in above if source is not None and source != own)

    # --- what stands in them --------------------------------------------------------------------------------------

    def cells(self) -> Iterator[tuple[tuple[str, Column], Cell]]:
        """What each device does for each row in each phase."""
        found: dict[tuple[str, Phase], list[Node]] = {}
        for node in self.nodes:
            if not isinstance(node.op, Reshard) and (phase := self.phase(node)) in self.phases:
                found.setdefault((self.row(node), phase), []).append(node)
        for (row, phase), nodes in found.items():
            layers = [layer for layer in self.model.layers if self.paths[layer.path] == row]
            for device in self.on(nodes):
                column = Column(phase, device)
                cell = cell_of(self.graph, layers, nodes, column, brief=self.whole)
                yield (row, column), replace(cell, aside=row in self.aside)

    def on(self, nodes: list[Node]) -> list[int]:
        """The devices that have a part in some nodes."""
        placements = [self.graph.tensor(node.results[0]).placement for node in nodes]
        if all(isinstance(placement, On) for placement in placements):
            return sorted({placement.device for placement in placements if isinstance(placement, On)})
        return list(range(self.devices))

    # --- what crosses them ----------------------------------------------------------------------------------------

    def exchanges(self, edges: dict[tuple[str, str], None]) -> Iterator[Exchange]:
        """All that is moved in the phases shown; a band is put into an edge that none crossed forward."""
        for node in self.moving():
            phase, moved = self.phase(node), self.moved[node.name]
            if phase in self.phases:
                row = self.gradient_row(node, edges) if phase == "backward" else self.forward_row(node)
                yield Exchange(node.name, moved.kind, moved.nbytes, phase, row, moved.links)

    def forward_row(self, node: Node) -> str:
        """A reshard's own band, or the row within which something is moved."""
        return node.name if self.is_band(node) else self.row(node)

    def gradient_row(self, node: Node, edges: dict[tuple[str, str], None]) -> str:
        """The band that a gradient crosses backward: that of the forward reshard, or one between the rows."""
        stem, own = node.name.partition(BACK)[0], self.row(node)
        if any(stem == end for edge in edges for end in edge):
            return stem
        source = self.row(self.graph.node(node.operands[0])) if isinstance(node.op, Reshard) else own
        if (own, source) not in edges:
            known = [band for start, band in edges if start == own and (band, source) in edges]
            return known[0] if known else own
        del edges[own, source]
        edges.update({(own, node.name): None, (node.name, source): None})
        return node.name
