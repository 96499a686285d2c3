"""Gradients of a user's own net held against what they have to be: every op's against finite differences, and every
parameter's, as the net's devices compute it, against the ops' meanings in float64."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import DTypeLike

from alexnet_ir.backends.cuda.backend import CudaBackend
from alexnet_ir.compiler import compile_gradients, gradient_graph, training_passes
from alexnet_ir.diagnostics import Span
from alexnet_ir.dsl.model import Model
from alexnet_ir.ir.graph import Builder, Graph, Value
from alexnet_ir.ir.names import LABEL, SCORE, SEED, STEP, gradient, layer_of
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ir.types import TensorType
from alexnet_ir.ops.elementwise import Abs, LeakyRelu, Relu
from alexnet_ir.ops.pool import MaxPool
from alexnet_ir.passes.base import run_passes
from alexnet_ir.setup import Setup
from alexnet_ir.training.diagnosis.walk import walk
from alexnet_ir.training.step import InitialValues

STEP_SIZE = 1e-5
"""Of the differences: rounding leaves 1e-11 of a value, and curvature as little."""
SLOPE_LIMIT = 1e-6
"""What a right gradient stays far below."""
LIMITS = {"fp32": (2e-2, 10), "tf32": (0.1, 1000), "bf16": (0.3, 3000)}
"""Of a parameter's gradient, by precision: so much is allowed, or so many times what float32 by the meanings is off, if
that is more. Rounding alone is far below in most nets; but a relu near 0, or a tie of maxima, that it decides otherwise
is some thousandths of a gradient in a deep net."""
SMALL = 1e-3
"""In proportion to the gradients of the same layer: one that is smaller, such as that of a bias before a batchnorm,
which is 0, is held against this."""


@dataclass(frozen=True)
class Checked:
    """One gradient: of the op that serves `layer`, or of a parameter. `error` is relative, and wrong above `limit`."""

    layer: str
    what: str
    span: Span | None
    error: float
    limit: float

    @property
    def ok(self) -> bool:
        """Whether it is right; NaN is not."""
        return self.error <= self.limit


def check_ops(model: Model) -> Iterator[Checked]:
    """Every op of the net and its loss that has a gradient, at the model's batch, on made-up values away from kinks and
    ties; equal ops on equal shapes once. The gradient is that of the nodes that the op emits."""
    graph = run_passes(model.graph, [training_passes(model)["loss"]])
    known: dict[tuple[Op, tuple[TensorType, ...]], float] = {}
    for node in graph.topo():
        if type(node.op).gradient is Op.gradient:
            continue  # what the graph reads, and running averages
        types = tuple(graph.tensor(operand) for operand in node.operands)
        if (node.op, types) not in known:
            known[node.op, types] = slope_error(node.op, types, np.random.default_rng(len(known)))
        yield Checked(layer_of(node.name), node.op.name, node.span, known[node.op, types], SLOPE_LIMIT)


def slope_error(op: Op, types: Sequence[TensorType], random: Generator) -> float:
    """How far the gradients of sum(c y), y the op's first result and c random, are from its slopes by central
    differences in float64. For each operand along one direction of random signs, which meets every element; in
    proportion to the gradient's norm, or the slope where that is more. The largest over the operands."""
    graph, operands = Graph("slope"), [_operand(op, types, position, random) for position in range(len(types))]
    inputs = [graph.input(f"x{position}", type_) for position, type_ in enumerate(types)]
    node = graph.node(graph.emit(op, *inputs, name="y"))
    cotangent = graph.input("c", graph.tensor(node.results[0]))
    weights = random.standard_normal(graph.tensor(cotangent).shape)
    grads = op.gradient(Builder(graph, node), node, cotangent)
    given = {f"x{position}": operand for position, operand in enumerate(operands)} | {"c": weights}
    found = _values(graph, given, [grad for grad in grads if grad is not None])
    errors = [0.0]
    for position, grad in enumerate(grads):
        if grad is not None:
            signs = 1 - 2 * random.integers(2, size=types[position].shape, dtype=np.int8)
            up, down = (_moved(op, operands, position, step * signs, weights) for step in (STEP_SIZE, -STEP_SIZE))
            slope = (up - down) / (2 * STEP_SIZE)
            scale = max(abs(slope), float(np.linalg.norm(found[grad]))) or 1.0
            errors.append(abs(slope - float(np.vdot(found[grad], signs))) / scale)
    return float(np.max(errors))  # NaN, where there is one


def _moved(op: Op, operands: Sequence[Array], position: int, move: Array, weights: Array) -> float:
    """sum(c y) with one operand moved."""
    moved = [*operands[:position], operands[position] + move, *operands[position + 1 :]]
    return float(np.vdot(weights, op.evaluate(moved)[0]))


def _operand(op: Op, types: Sequence[TensorType], position: int, random: Generator) -> Array:
    """Made-up content: labels, seed and step 0; floats that are no tie of the op, and not on its kink."""
    type_ = types[position]
    if type_.dtype == "i64":
        return np.zeros(type_.shape, np.int64)
    if type_.dtype == "i32":
        return random.integers(types[0].shape[1], size=type_.shape, dtype=np.int32)
    if isinstance(op, MaxPool):
        return np.asarray((random.permutation(type_.size).reshape(type_.shape) - type_.size / 2) * 1e-4)
    values = np.asarray(random.standard_normal(type_.shape))
    return values + np.copysign(0.1, values) if isinstance(op, Relu | LeakyRelu | Abs) else values


def _values(
    graph: Graph, given: Mapping[str, Any], wanted: Iterable[Value], float_: DTypeLike = np.float64
) -> dict[Value, Array]:
    """Some values of a graph by the ops' meanings."""
    kept, found = set(wanted), dict[Value, Array]()
    for node, _, results in walk(graph, given, float_):
        found |= {value: array for value, array in zip(node.results, results, strict=True) if value in kept}
    return found


def check_parameters(model: Model, setup: Setup, seed: int = 0) -> Iterator[Checked]:
    """The gradient of every parameter for one made-up batch, with the first weights, as the setup's kernels compute it
    on its devices, against the meanings in float64: the norm of the difference, in proportion to the gradient's."""
    plan = compile_gradients(model, setup).plan
    values, random = InitialValues(plan, seed), np.random.default_rng(seed)
    graph = gradient_graph(model)
    (image,) = (name for name in graph.inputs if "." not in name)
    classes = graph.tensor(graph.outputs[SCORE]).shape[1]
    given: dict[str, Any] = {
        image: random.standard_normal((model.batch, *model.image)).astype(np.float32),
        LABEL: random.integers(classes, size=model.batch, dtype=np.int32),
    }
    given |= {name: value for name, value in ((SEED, seed), (STEP, 0)) if name in plan.inputs}
    found = setup.backend.build(plan, setup.backend.storage(plan, values)).run(given)
    outputs = {name: graph.outputs[gradient(name)] for name in graph.states if gradient(name) in graph.outputs}
    given |= values
    expected, rounded = (_values(graph, given, outputs.values(), float_) for float_ in (np.float64, np.float32))
    least, times = LIMITS[setup.backend.precision if isinstance(setup.backend, CudaBackend) else "fp32"]
    norms = {name: float(np.linalg.norm(expected[value])) for name, value in outputs.items()}
    for name, value in outputs.items():
        layer = max(norms[other] for other in norms if layer_of(other) == layer_of(name))
        scale = max(norms[name], SMALL * layer) or 1.0
        off, by_rounding = (
            float(np.linalg.norm(made - expected[value])) / scale for made in (found[gradient(name)], rounded[value])
        )
        span = graph.node(graph.states[name].read).span
        yield Checked(name, "parameter", span, off, max(least, times * by_rounding))
