"""A net as boxes, arrows and the scopes around them: what is drawn, and not yet where."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from alexnet_ir.dsl.model import Model
from alexnet_ir.dsl.scope import Layer
from alexnet_ir.ir.graph import Graph
from alexnet_ir.ir.names import layer_of
from alexnet_ir.ir.op import Op
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
    home = homes(model)
    lines: dict[str, list[str]] = {}
    for layer in model.layers:
        text = description(layer, *whole(model.graph, layer))
        if home[layer.path] == layer.path:
            lines[layer.path] = title(layer, text)
        else:
            lines[home[layer.path]].append(text)
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
        for path, sources in _reads(model).items()
        for source in sources
        if home[source] != home[path]
    )
    return Diagram(model.net, boxes, tuple(arrows))


def homes(model: Model, followers: Collection[str] = FOLLOWERS, apart: Collection[str] = ()) -> dict[str, str]:
    """The layer whose box each layer is in: its own, or that of the one it follows. Those `apart` follow none."""
    reads = _reads(model)
    users = [source for sources in reads.values() for source in sources]
    home: dict[str, str] = {}
    for layer in model.layers:
        path, sources = layer.path, reads[layer.path]
        follows = layer.op in followers and path not in apart and len(sources) == 1
        follows = follows and users.count(sources[0]) == 1 and _siblings(path, sources[0])
        home[path] = home[sources[0]] if follows else path
    return home


def _reads(model: Model) -> dict[str, list[str]]:
    """For each layer, the layers whose outputs it reads."""
    graph = model.graph
    owners = {layer.path: layer.path for layer in model.layers}
    reads: dict[str, list[str]] = {path: [] for path in owners}
    for node in graph.topo():
        path = layer_of(node.name)
        for operand in node.operands:
            source = layer_of(graph.node(operand).name)
            if path in reads and source in reads and source != path:
                reads[path].append(source)
    return reads


def _siblings(path: str, other: str) -> bool:
    return path.rpartition("/")[0] == other.rpartition("/")[0]


def title(layer: Layer, text: str) -> list[str]:
    """A layer's name and its description, unless the name says it all."""
    name = layer.path.rpartition("/")[2]
    return [name] if text == layer.op and name.startswith(layer.op) else [name, text]


def whole(graph: Graph, layer: Layer) -> tuple[Op, list[tuple[int, ...]], tuple[int, ...]]:
    """A layer's op, and the shapes of its operands and of what it makes."""
    node = graph.node(graph.named(layer.path))
    return node.op, [graph.tensor(value).shape for value in node.operands], graph.tensor(node.results[0]).shape


def description(
    layer: Layer, op: Op, operands: Sequence[tuple[int, ...]], made: tuple[int, ...], *, deep: bool = False
) -> str:
    """`conv 96 of 11 x 11, stride 4`: an op with its main arguments; kernels with their depth if asked."""
    match op:
        case ConvAttributes():
            kernels, depth, *window = operands[1]
            sides = (*window[:2], *([depth] if deep else []))
            words = [f"{layer.op} {kernels} of {shape_text(sides)}"]
            extras = {"stride": op.stride, "pad": op.pad, "groups": op.groups, "dilation": op.dilation}
            plain = {"stride": 1, "pad": 0, "groups": 1, "dilation": 1}
        case Pool():
            words = [f"{layer.op} {shape_text(op.size)}"]
            extras, plain = {"stride": op.stride, "pad": op.pad}, {"stride": compact(op.size), "pad": 0}
        case Fc():
            return f"fc {made[1]}"
        case Dropout():
            return f"dropout {op.p:g}"
        case _:
            return layer.op
    shown = {name: compact(value) for name, value in extras.items()}
    return ", ".join(words + [f"{name} {value_text(v)}" for name, v in shown.items() if v != plain[name]])
