"""A net as boxes, arrows and the scopes around them: what is drawn, and not yet where."""

from __future__ import annotations

from dataclasses import dataclass

from alexnet_ir.dsl.model import Model
from alexnet_ir.dsl.scope import Layer
from alexnet_ir.ir.graph import Graph, Node
from alexnet_ir.ir.text import compact, value_text
from alexnet_ir.ir.types import shape_text
from alexnet_ir.ops.conv import ConvAttributes
from alexnet_ir.ops.dense import Fc
from alexnet_ir.ops.dropout import Dropout
from alexnet_ir.ops.pool import Pool
from alexnet_ir.summary import summarize

FOLLOWERS = ("relu", "leaky_relu", "tanh", "sigmoid", "abs", "identity", "lrn", "local_norm", "batchnorm", "dropout")
"""Ops that keep the shape; a box shows them as a line under what they follow."""

KINDS = {
    "input": "input", "conv": "conv", "local": "conv", "fc": "fc",
    "maxpool": "pool", "avgpool": "pool", "l2pool": "pool", "global_avgpool": "pool", "add": "join", "concat": "join",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Box:
    """One layer and what follows it. `lines[0]` is its name; `shape` is what it makes."""

    path: str
    lines: tuple[str, ...]
    kind: str
    shape: str
    training_only: bool

    @property
    def scope(self) -> tuple[str, ...]:
        """The names of the scopes that it stands in, outermost first."""
        return tuple(self.path.split("/")[:-1])


@dataclass(frozen=True, slots=True)
class Diagram:
    """All boxes by path, in the order of the text, and the arrows between them."""

    title: str
    boxes: dict[str, Box]
    arrows: tuple[tuple[str, str], ...]


def diagram(model: Model) -> Diagram:
    """The diagram of a model's net."""
    figures = {layer.path: layer for layer in summarize(model).layers}
    reads = _reads(model)
    users = [source for sources in reads.values() for source in sources]
    home: dict[str, str] = {}  # the box that each layer is in
    lines: dict[str, list[str]] = {}
    for layer in model.layers:
        sources = reads[layer.path]
        path = layer.path
        if layer.op in FOLLOWERS and len(sources) == 1 and users.count(sources[0]) == 1 and _siblings(path, sources[0]):
            home[path] = home[sources[0]]
            lines[home[path]].append(_description(model.graph, layer))
        else:
            home[path] = path
            lines[path] = _title(layer, _description(model.graph, layer))
    boxes = {
        path: Box(
            path,
            tuple(text),
            KINDS.get(figures[path].op, "other"),
            shape_text(figures[path].shape),
            figures[path].training_only,
        )
        for path, text in lines.items()
    }
    arrows = dict.fromkeys(
        (home[source], home[path])
        for path, sources in reads.items()
        for source in sources
        if home[source] != home[path]
    )
    return Diagram(model.net, boxes, tuple(arrows))


def _reads(model: Model) -> dict[str, list[str]]:
    """For each layer, the layers whose outputs it reads."""
    graph = model.graph
    owners = {layer.path: layer.path for layer in model.layers}
    reads: dict[str, list[str]] = {path: [] for path in owners}
    for node in graph.topo():
        path = _layer_of(node)
        for operand in node.operands:
            source = _layer_of(graph.node(operand))
            if path in reads and source in reads and source != path:
                reads[path].append(source)
    return reads


def _layer_of(node: Node) -> str:
    """The path of the layer that a node belongs to: its name up to a dot, which paths do not have."""
    return node.name.partition(".")[0]


def _siblings(path: str, other: str) -> bool:
    return path.rpartition("/")[0] == other.rpartition("/")[0]


def _title(layer: Layer, description: str) -> list[str]:
    name = layer.path.rpartition("/")[2]
    return [name] if description == layer.op and name.startswith(layer.op) else [name, description]


def _description(graph: Graph, layer: Layer) -> str:
    """`conv 96 of 11 x 11, stride 4`: an op with its main arguments."""
    node = graph.node(graph.named(layer.path))
    match node.op:
        case ConvAttributes() as op:
            kernels, _, *window = graph.tensor(node.operands[1]).shape
            words = [f"{layer.op} {kernels} of {shape_text(tuple(window[:2]))}"]
            extras = {"stride": op.stride, "pad": op.pad, "groups": op.groups, "dilation": op.dilation}
            plain = {"stride": 1, "pad": 0, "groups": 1, "dilation": 1}
        case Pool() as op:
            words = [f"{layer.op} {shape_text(op.size)}"]
            extras, plain = {"stride": op.stride, "pad": op.pad}, {"stride": compact(op.size), "pad": 0}
        case Fc():
            return f"fc {graph.tensor(node.results[0]).shape[1]}"
        case Dropout() as op:
            return f"dropout {op.p:g}"
        case _:
            return layer.op
    shown = {name: compact(value) for name, value in extras.items()}
    return ", ".join(words + [f"{name} {value_text(v)}" for name, v in shown.items() if v != plain[name]])
