"""What the cells of a chart say: one device's share of a layer forward, backward and in the update."""

from __future__ import annotations

from collections.abc import Sequence

from alexnet_ir.cli.table import count_text
from alexnet_ir.drawing.chart import Cell, Column
from alexnet_ir.drawing.diagram import KINDS, description
from alexnet_ir.dsl.scope import Layer
from alexnet_ir.ir.graph import Graph, Node
from alexnet_ir.ir.names import LOSS, layer_of
from alexnet_ir.ir.types import On, Partial, Replicated, TensorType, shape_text
from alexnet_ir.ops.conv import ConvAttributes
from alexnet_ir.ops.dense import Fc
from alexnet_ir.ops.local import Local

GRADIENT = ".grad_"


def cell_of(graph: Graph, layers: Sequence[Layer], nodes: Sequence[Node], column: Column, *, brief: bool) -> Cell:
    """A device's share of the layers in one row, which are these nodes; without any layer it is the loss."""
    kind = KINDS.get(layers[0].op, "other") if layers else "other"
    name = layers[0].path if layers else LOSS
    if column.phase == "update":
        return Cell((name, _updated(graph, nodes)), kind)
    if column.phase == "backward":
        return Cell((name, _gradients(name, nodes)), kind)
    head, made = _head(graph, layers, nodes), graph.tensor(nodes[-1].results[0])
    shape = shape_text(made.local(graph.devices)[1:]) if layers else ""
    lines = [layer.op for layer in layers] if brief else _descriptions(graph, layers, column.device)
    if not layers:
        lines = [head.op.name]
    elif lines[0] == layers[0].op and name.rpartition("/")[2].startswith(lines[0]) and not (brief and len(lines) > 1):
        del lines[0]
    shown = (name, ", ".join(lines)) if brief else (name, *lines[:1], ", ".join(lines[1:]))
    return Cell(tuple(line for line in shown if line), kind, note_of(graph, head, column.device), shape)


def _head(graph: Graph, layers: Sequence[Layer], nodes: Sequence[Node]) -> Node:
    """The node that a row is named by."""
    return next((node for node in nodes if layers and node.name == layers[0].path), nodes[0])


def _descriptions(graph: Graph, layers: Sequence[Layer], device: int) -> list[str]:
    """Each layer as this device runs it."""
    found = []
    for layer in layers:
        if layer.path not in graph:  # what does nothing is not run
            continue
        node = graph.node(graph.named(layer.path))
        types = [graph.tensor(value) for value in node.operands]
        made = graph.tensor(node.results[0]).local(graph.devices)
        op = node.op if graph.devices == 1 else node.op.shard(types, device, graph.devices)
        found.append(description(layer, op, [t.local(graph.devices) for t in types], made, deep=True))
    return found


def note_of(graph: Graph, node: Node, device: int) -> str:
    """How a node is cut: `kernels 49-96 of 96`; nothing where one device has all of it."""
    made, devices = graph.tensor(node.results[0]), graph.devices
    match made.placement:
        case On():
            return ""
        case Replicated():
            return "the same on all devices" if devices > 1 else ""
        case Partial():
            cut = graph.tensor(node.operands[0])
            return _range(cut, 1, "inputs", device, devices) if _is_product(node) else "a part of the sum"
        case split if split.axis == 0:
            return _range(made, 0, "images", device, devices)
        case split:
            return _range(made, split.axis, _words(node, made), device, devices)


def _words(node: Node, made: TensorType) -> str:
    """What a node makes along its second axis."""
    if isinstance(node.op, Fc):
        return "units"
    if _is_product(node):
        return "kernels"
    return "maps" if len(made.shape) > 2 else "values"


def _is_product(node: Node) -> bool:
    return isinstance(node.op, ConvAttributes | Local | Fc)


def _range(type_: TensorType, axis: int, words: str, device: int, devices: int) -> str:
    whole = type_.shape[axis]
    share = whole // devices
    return f"{words} {device * share + 1}-{(device + 1) * share} of {whole}"


def _gradients(name: str, nodes: Sequence[Node]) -> str:
    """Which gradients a layer makes."""
    found: set[str] = set()
    for node in nodes:
        own, gradient, what = node.name.partition(GRADIENT)
        if gradient and layer_of(own) == name:
            found.update((what.rstrip("0123456789."), *node.op.result_names))
    words = [word for word in ("weight", "bias", "input") if word in found]
    return f"grad {', '.join(words)}" if words else "gradient"


def _updated(graph: Graph, nodes: Sequence[Node]) -> str:
    """How many parameters are updated, and by what."""
    count = sum(node_size(graph, node) for node in nodes)
    return f"{nodes[0].op.name}, {count_text(count).strip()} parameters"


def node_size(graph: Graph, node: Node) -> int:
    """How many numbers of a node's first result one device has."""
    type_ = graph.tensor(node.results[0])
    return TensorType(type_.dtype, type_.local(graph.devices)).size
