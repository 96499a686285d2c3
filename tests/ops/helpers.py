"""A graph evaluator of a few lines, operands for tests, and finite differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.random import Generator

from alexnet_ir.ir.graph import Builder, Graph, Node, Value
from alexnet_ir.ir.op import Array, Input, Op, Read
from alexnet_ir.ir.types import DType, TensorType
from alexnet_ir.ops.shape import Fill

Maker: TypeAlias = Callable[[Generator], Array]
"""Makes one operand from a source of random numbers."""

_DTYPES: dict[str, DType] = {"float32": "f32", "float64": "f32", "int32": "i32", "int64": "i64", "uint8": "u8"}


def rng(seed: int = 0) -> Generator:
    """Random numbers that are the same in every run."""
    return np.random.default_rng(seed)


def type_of(array: Array) -> TensorType:
    """The type of a value that holds this array; both float types are the graph's one."""
    return TensorType(_DTYPES[array.dtype.name], array.shape)


def is_float(array: Array) -> bool:
    """Whether the array holds floats, and not labels or positions."""
    return bool(np.issubdtype(array.dtype, np.floating))


def evaluate(graph: Graph, feed: Mapping[str, Array]) -> dict[Value, Array]:
    """All values of the graph, by each op's reference; inputs and states come from `feed` by name."""
    found: dict[Value, Array] = {}
    for node in graph.topo():
        if isinstance(node.op, Input | Read):
            found[node.results[0]] = feed[node.name]
        else:
            found.update(zip(node.results, node.op.evaluate([found[v] for v in node.operands]), strict=True))
    return found


def single(op: Op, arrays: Sequence[Array]) -> tuple[Graph, Node, dict[str, Array]]:
    """A graph of inputs and one node, the node, and what to feed."""
    graph = Graph("single")
    feed = {f"x{i}": array for i, array in enumerate(arrays)}
    operands = [graph.input(name, type_of(array)) for name, array in feed.items()]
    return graph, graph.node(graph.emit(op, *operands, name="y")), feed


def with_gradient(op: Op, arrays: Sequence[Array]) -> tuple[Graph, Node, dict[str, Array], list[Value | None]]:
    """The same, with a cotangent of the first result as the input `g`, and the gradients of the operands."""
    graph, node, feed = single(op, arrays)
    grads = [graph.input("g", graph.tensor(node.results[0]))]
    grads += [graph.emit(Fill(0.0, graph.tensor(v).shape), name="zeros") for v in node.results[1:]]
    return graph, node, feed, list(op.gradient(Builder(graph, node), node, *grads))


def gradients(op: Op, arrays: Sequence[Array], cotangent: Array) -> list[Array | None]:
    """The gradients of sum(cotangent * first result), one for each operand, through the graph."""
    graph, _, feed, grads = with_gradient(op, arrays)
    values = evaluate(graph, {**feed, "g": cotangent})
    return [None if g is None else values[g] for g in grads]


def slope(function: Callable[[Array], float], at: Array, direction: Array, step: float = 1e-6) -> float:
    """The derivative of a function along a direction, by central differences."""
    return (function(at + step * direction) - function(at - step * direction)) / (2 * step)


# --- operands -----------------------------------------------------------------------------------------------------


def normal(*shape: int) -> Maker:
    """Standard normal numbers."""
    return lambda random: random.standard_normal(shape)


def away(*shape: int) -> Maker:
    """Numbers of both signs, at least 0.1 from zero, where many ops have a kink."""
    return lambda random: random.choice([-1.0, 1.0], shape) * (0.1 + np.abs(random.standard_normal(shape)))


def distinct(*shape: int) -> Maker:
    """Numbers of both signs of which no two are closer than 0.01: no ties."""

    def make(random: Generator) -> Array:
        count = int(np.prod(shape))
        return (random.permutation(count).reshape(shape) - count / 2 + 0.25) * 0.01

    return make


def positive(*shape: int) -> Maker:
    """Numbers of at least 0.1."""
    return lambda random: 0.1 + np.abs(random.standard_normal(shape))


def whole(below: int, *shape: int, dtype: str = "int32") -> Maker:
    """Whole numbers from 0 up to `below`: labels, positions."""
    return lambda random: random.integers(below, size=shape).astype(dtype)


def fixed(values: object, dtype: str = "float64") -> Maker:
    """Just these numbers."""
    return lambda random: np.array(values, dtype)
