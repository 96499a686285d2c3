"""A net in figures: what each layer makes, holds and costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from alexnet_ir.dsl.model import Model
from alexnet_ir.ir.attributes import Pair
from alexnet_ir.ir.graph import Graph, Node, Value
from alexnet_ir.ir.names import SCORE, layer_of
from alexnet_ir.ir.op import Cost
from alexnet_ir.ops.conv import ConvAttributes
from alexnet_ir.ops.normalize import LocalNorm
from alexnet_ir.ops.pool import Pool
from alexnet_ir.ops.window import reach


@dataclass(frozen=True, slots=True)
class Field:
    """What of the image one cell of a map sees, and how far apart the views of neighbours are; (rows, columns)."""

    size: Pair
    stride: Pair


@dataclass(frozen=True, slots=True)
class LayerFigures:
    """One layer, for one image but for `activation_bytes`, which are those of its output for the whole batch. `neurons`
    are the outputs of conv, local and fc; `field` is None where a value sees the whole image."""

    path: str
    op: str
    shape: tuple[int, ...]
    parameters: int
    macs: int
    neurons: int
    activation_bytes: int
    field: Field | None
    training_only: bool


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over layers."""

    layers: int
    weighted_layers: int
    parameters: int
    macs: int
    neurons: int
    activation_bytes: int


@dataclass(frozen=True, slots=True)
class Summary:
    """All layers of a net, in the order of the text."""

    net: str
    batch: int
    layers: tuple[LayerFigures, ...]

    @property
    def trained(self) -> Totals:
        """The net as it trains."""
        return _sum(self.layers)

    @property
    def evaluated(self) -> Totals:
        """The net as it evaluates: without the heads that exist in training only."""
        return _sum([layer for layer in self.layers if not layer.training_only])


def parameter_count(graph: Graph) -> int:
    """How many numbers are trained: running statistics and optimizers' slots are not."""
    return sum(graph.tensor(state.read).size for state in graph.states.values() if state.role == "parameter")


def node_cost(graph: Graph, node: Node) -> Cost:
    """What one run of a node takes."""
    return node.op.cost([graph.tensor(v) for v in node.operands], [graph.tensor(v) for v in node.results])


def summarize(model: Model) -> Summary:
    """The figures of a model's net."""
    graph, batch = model.graph, model.batch
    nodes: dict[str, list[Node]] = {layer.path: [] for layer in model.layers}
    for node in graph.topo():
        nodes.get(layer_of(node.name), []).append(node)
    sizes = {state.name: graph.tensor(state.read).size for state in graph.states.values() if state.role == "parameter"}
    fields = receptive_fields(graph)
    scored = _behind(graph, graph.outputs[SCORE])
    figures = []
    for layer in model.layers:
        own = nodes[layer.path]
        value = graph.named(layer.value)
        output = graph.tensor(value)
        macs = sum(node_cost(graph, node).macs for node in own)
        figures.append(
            LayerFigures(
                layer.path,
                layer.op,
                output.shape[1:],
                sum(sizes.get(node.name, 0) for node in own),
                macs // batch,
                output.size // batch if macs else 0,
                output.nbytes,
                fields.get(value),
                value.node not in scored,
            )
        )
    return Summary(model.net, batch, tuple(figures))


def _behind(graph: Graph, value: Value) -> set[int]:
    """The nodes that a value depends on."""
    found: set[int] = set()
    waiting = [value.node]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += [operand.node for operand in graph.node(node).operands]
    return found


def receptive_fields(graph: Graph) -> dict[Value, Field]:
    """The receptive field of every map: windows widen it, strides space it out; of several branches the largest."""
    fields: dict[Value, Field] = {}
    for node in graph.topo():
        value = node.results[0]
        if len(graph.tensor(value).shape) != 4:
            continue
        seen = [fields[operand] for operand in node.operands if operand in fields]
        if value in graph.inputs.values():
            fields[value] = Field((1, 1), (1, 1))
        elif seen:
            fields[value] = _widened(_largest(seen), *_window(graph, node))
    return fields


def _largest(fields: Iterable[Field]) -> Field:
    return max(fields, key=lambda field: (field.size, field.stride))


def _widened(field: Field, window: Pair, stride: Pair) -> Field:
    rows, columns = (field.size[a] + (window[a] - 1) * field.stride[a] for a in range(2))
    return Field((rows, columns), (field.stride[0] * stride[0], field.stride[1] * stride[1]))


def _window(graph: Graph, node: Node) -> tuple[Pair, Pair]:
    """The cells that a node's window reaches over, and its stride."""
    match node.op:
        case ConvAttributes(stride=stride, dilation=dilation):
            rows, columns = graph.tensor(node.operands[1]).shape[2:4]
            return (reach(rows, dilation[0]), reach(columns, dilation[1])), stride
        case Pool(size=size, stride=stride):
            return size, stride
        case LocalNorm(size=size):
            return (size, size), (1, 1)
    return (1, 1), (1, 1)


def _sum(layers: Iterable[LayerFigures]) -> Totals:
    chosen = list(layers)
    return Totals(
        len(chosen),
        sum(layer.parameters > 0 for layer in chosen),
        sum(layer.parameters for layer in chosen),
        sum(layer.macs for layer in chosen),
        sum(layer.neurons for layer in chosen),
        sum(layer.activation_bytes for layer in chosen),
    )
