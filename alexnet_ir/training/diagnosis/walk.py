"""A graph on one device, node by node, by the ops' own meanings: what the oracle does, seen from inside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from alexnet_ir.ir.graph import Graph, Node, Value
from alexnet_ir.ir.op import Array, Source
from alexnet_ir.ir.types import WHOLE_DTYPES


class Walked(NamedTuple):
    """One node with what it read and what it made."""

    node: Node
    operands: tuple[Array, ...]
    results: tuple[Array, ...]


def walk(graph: Graph, given: Mapping[str, Any], float_: DTypeLike) -> Iterator[Walked]:
    """Every node, operands first, its floats of one type. `given` are inputs and states by name; of inputs, those that
    have a default need not be there. A value is forgotten once its last reader is past."""
    left = Counter(operand for node in graph.topo() for operand in node.operands)
    values: dict[Value, Array] = {}
    for node in graph.topo():
        operands = tuple(values[operand] for operand in node.operands)
        with np.errstate(all="ignore"):
            if isinstance(node.op, Source):
                dtype = WHOLE_DTYPES.get(node.op.type.dtype, float_)
                results: tuple[Array, ...] = (
                    np.asarray(given.get(node.name, getattr(node.op, "default", None)), dtype),
                )
            else:
                results = node.op.evaluate(operands)
        left.subtract(node.operands)
        values |= {value: array for value, array in zip(node.results, results, strict=True) if left[value]}
        for operand in node.operands:
            if not left[operand]:
                values.pop(operand, None)
        yield Walked(node, operands, results)
