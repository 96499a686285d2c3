"""A net over images larger than its own, in figures: where the scores of its map come from, and whether they are those
that the net would give there."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from alexnet_ir.compiler import dense_graph, inference_graph
from alexnet_ir.dsl.model import Model
from alexnet_ir.ir.attributes import Pair
from alexnet_ir.ir.graph import Graph, Node
from alexnet_ir.ir.names import SCORE
from alexnet_ir.ops.conv import Conv
from alexnet_ir.ops.normalize import LocalNorm
from alexnet_ir.ops.pool import Pool
from alexnet_ir.ops.window import Windows, reach
from alexnet_ir.summary import receptive_fields


@dataclass(frozen=True, slots=True)
class DenseFigures:
    """All sizes are (rows, columns). Cell (i, j) of the map scores the window, as large as the net's own image, that
    begins at pixel (i, j) x stride. At an edge of a window, the `padded` layers see its neighbours and not padding."""

    net: str
    image: Pair
    window: Pair
    stride: Pair
    map: Pair
    padded: tuple[str, ...]

    @property
    def exact(self) -> bool:
        """Whether each score equals the net's own for that window."""
        return not self.padded or self.image == self.window

    def to_json(self) -> dict[str, object]:
        """The same as plain data."""
        return asdict(self) | {"exact": self.exact}


def dense_figures(model: Model, size: Pair) -> DenseFigures:
    """The figures for images of this size; AlexnetError where the net cannot take them."""
    dense = dense_graph(model, size)
    score = dense.outputs[SCORE]
    rows, columns = dense.tensor(score).shape[2:]
    stride = receptive_fields(dense)[score].stride
    padded = padded_layers(inference_graph(model), dense)
    return DenseFigures(model.net, size, model.image[1:], stride, (rows, columns), padded)


def padded_layers(net: Graph, dense: Graph) -> tuple[str, ...]:
    """The layers that look past the edge of their map, in the net itself or on the larger image."""
    nodes = [node for node in net.topo() if isinstance(node.op, Conv | Pool | LocalNorm)]
    twins = [dense.node(dense.named(node.name)) for node in nodes]
    pairs = zip(nodes, twins, strict=True)
    return tuple(node.name for node, twin in pairs if _looks_past(net, node) or _looks_past(dense, twin))


def _looks_past(graph: Graph, node: Node) -> bool:
    input, *weights = (graph.tensor(v) for v in node.operands)
    match node.op:
        case Conv():
            rows, columns = weights[0].shape[2:]
            return _reads_padding(node.op.windows(input, (rows, columns)))
        case Pool():
            return _reads_padding(node.op.windows(input))
        case LocalNorm(size=size):
            return size > 1
    raise TypeError(f"{node.op.name} has no window")


def _reads_padding(over: Windows) -> bool:
    """Whether a window stands over an edge; padding that rounding down leaves unread does not count."""
    for axis, (before, _) in enumerate(over.pad):
        end = (over.output[axis] - 1) * over.stride[axis] + reach(over.size[axis], over.dilation[axis])
        if before or end > before + over.input[axis]:
            return True
    return False
