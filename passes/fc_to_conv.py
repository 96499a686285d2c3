"""Makes an evaluation dense: fully connected layers become convolutions, and a larger image gets a map of scores.

Before:  input %image : f32[1, 3, 224, 224]
         %flatten1 = flatten(%pool5)
         %fc6 = fc(%flatten1, %fc6.weight)
         %fc7 = fc(%fc6, %fc7.weight)
         output score = %fc7
After:   input %image : f32[1, 3, 384, 384]
         %fc6.kernels = unflatten(%fc6.weight) {shape = (512, 7, 7)}
         %fc6 = conv(%pool5, %fc6.kernels)
         %fc7.kernels = unflatten(%fc7.weight) {shape = (4096, 1, 1)}
         %fc7 = conv(%fc6, %fc7.kernels)
         output score = %fc7
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

from alexnet_ir.diagnostics import AlexnetError, error, listed
from alexnet_ir.ir.attributes import Pair
from alexnet_ir.ir.graph import Graph, Node, Value
from alexnet_ir.ir.names import layer_of
from alexnet_ir.ir.op import Input, Op, Read, TypeRuleError
from alexnet_ir.ir.types import TensorType, shape_text
from alexnet_ir.ops.batchnorm import BatchNormInference
from alexnet_ir.ops.conv import Conv
from alexnet_ir.ops.dense import BiasAdd, Fc
from alexnet_ir.ops.elementwise import Add, Elementwise
from alexnet_ir.ops.local import Local
from alexnet_ir.ops.normalize import LocalNorm, Lrn
from alexnet_ir.ops.pool import AvgPool, GlobalAvgPool, Pool
from alexnet_ir.ops.shape import Concat, Flatten, Unflatten
from alexnet_ir.passes.base import Pass


@dataclass(frozen=True)
class FcToConv(Pass):
    """`size` is the new image's (rows, columns), not below the net's own; None keeps that. States keep their shapes.
    AlexnetError for a net that depends on positions, and for a size that does not come out whole."""

    name: ClassVar[str] = "fc-to-conv"
    size: Pair | None = None

    def run(self, graph: Graph) -> bool:
        source = graph.copy()
        own = _image_size(source)
        size = own if self.size is None else self.size
        if size[0] < own[0] or size[1] < own[1]:
            raise error(f"an image of {shape_text(size)} is smaller than the {shape_text(own)} that the net reads")
        _clear(graph)
        try:
            _Rebuild(source, graph, size).run()
        except _MisfitError as misfit:
            raise _not_whole(source, size, misfit) from None
        return True


def _image_size(graph: Graph) -> Pair:
    (rows, columns), *_ = (t.shape[2:] for t in map(graph.tensor, graph.inputs.values()) if len(t.shape) == 4)
    return rows, columns


def _clear(graph: Graph) -> None:
    graph.outputs = {}
    for node in reversed(graph.topo()):
        graph.erase(node)


@dataclass(frozen=True, slots=True)
class _Map:
    """What a value became: a map whose cells are `stride` pixels apart. Where it was a vector, `window` is the size of
    the map that it held, (1, 1) for one that was never a map."""

    value: Value
    stride: Pair
    window: Pair | None = None


class _MisfitError(Exception):
    """A node that an image of this size does not fit, and why."""

    def __init__(self, node: Node, failure: TypeRuleError) -> None:
        self.node, self.failure = node, failure


class _Rebuild:
    """Emits a net into an empty graph, for an image of another size."""

    def __init__(self, source: Graph, target: Graph, size: Pair) -> None:
        self.source, self.target, self.size = source, target, size
        self.states: dict[Value, Value] = {}
        self.maps: dict[Value, _Map] = {}

    def run(self) -> None:
        """AlexnetError where the net cannot be made dense, _MisfitError where the size does not fit it."""
        for node in self.source.topo():
            try:
                self._node(node)
            except TypeRuleError as failure:
                raise _MisfitError(node, failure) from None
        self.target.outputs = {name: self._score(value) for name, value in self.source.outputs.items()}

    def _node(self, node: Node) -> None:
        (value, *_), type_ = node.results, node.types[0]
        if isinstance(node.op, Read):
            self.states[value] = self._state(node)
        elif isinstance(node.op, Input):
            assert isinstance(type_, TensorType)
            image = replace(type_, shape=(*type_.shape[:2], *self.size))
            self.maps[value] = _Map(self.target.input(node.name, image, span=node.span), (1, 1))
        else:
            self.maps[value] = self._map(node)

    def _state(self, node: Node) -> Value:
        state, type_ = self.source.states[node.name], self.source.tensor(node.results[0])
        return self.target.state(
            node.name, type_, state.initial,
            role=state.role, lr_mult=state.lr_mult, decay_mult=state.decay_mult, span=node.span,
        )  # fmt: skip

    def _map(self, node: Node) -> _Map:
        """A node over maps."""
        first, *others = (self.maps[v] for v in node.operands if v in self.maps)
        shape = self.source.tensor(node.operands[0]).shape
        match node.op:
            case Flatten():
                return first if first.window else replace(first, window=(shape[2], shape[3]))
            case Fc():
                return self._convolved(node, first)
            case GlobalAvgPool():
                mean = AvgPool((shape[2], shape[3]), stride=(1, 1))
                return _Map(self._emit(node, mean, first), first.stride, (1, 1))
            case Conv(stride=stride) | Pool(stride=stride):
                spaced = (first.stride[0] * stride[0], first.stride[1] * stride[1])
                return _Map(self._emit(node, node.op, first), spaced)
            case BiasAdd() | BatchNormInference():
                self._check_per_channel(node, first)
            case Concat() | Add():
                _check_agreement(node, [first, *others])
            case Local():
                raise _refusal(node, "it has weights for each position, and a larger image has more of them")
            case Elementwise() | Lrn() | LocalNorm():
                pass
            case _:
                raise _refusal(node, f"`{node.op.name}` has no dense form")
        return replace(first, value=self._emit(node, node.op, first, *others))

    def _emit(self, node: Node, op: Op, *maps: _Map) -> Value:
        """An op over these maps and the node's states, under the node's name."""
        states = (self.states[v] for v in node.operands if v in self.states)
        return self.target.emit(op, *(m.value for m in maps), *states, name=node.name, span=node.span)

    def _convolved(self, node: Node, input: _Map) -> _Map:
        """A fully connected layer: its weight is kernels of the size of the map that it reads."""
        window, weight = input.window or (1, 1), node.operands[1]
        channels = self.source.tensor(weight).shape[1] // (window[0] * window[1])
        kernels = self.target.emit(
            Unflatten((channels, *window)), self.states[weight], name=f"{node.name}.kernels", span=node.span
        )
        convolved = self.target.emit(Conv(), input.value, kernels, name=node.name, span=node.span)
        return _Map(convolved, input.stride, (1, 1))

    def _check_per_channel(self, node: Node, input: _Map) -> None:
        if input.window not in (None, (1, 1)):
            why = f"it has numbers for each position of a flattened map of {shape_text(input.window)}"
            raise _refusal(node, why, "put it before `flatten`")
        if len(self.source.tensor(node.operands[1]).shape) > 1:
            raise _refusal(node, "it has a bias for each position, and a larger image has more of them")

    def _score(self, value: Value) -> Value:
        score, node = self.maps[value], self.source.node(value)
        if score.window is None:
            raise _refusal(node, "the net's result is a map already")
        if score.window != (1, 1):
            why = f"the net's result is a flattened map of {shape_text(score.window)}, each position for itself"
            raise _refusal(node, why, "end the net in `fc` or `global_avgpool`")
        return score.value


def _check_agreement(node: Node, maps: list[_Map]) -> None:
    """Refuse values that lie differently over the image."""
    windows = {shape_text(m.window) for m in maps if m.window}
    if len(windows) > 1:
        raise _refusal(node, f"the vectors that meet here hold maps of {listed(sorted(windows))}")
    strides = {shape_text(m.stride) for m in maps}
    if len(strides) > 1:
        raise _refusal(node, f"the cells of what meets here are {listed(sorted(strides))} pixels apart")


def _refusal(node: Node, why: str, *helps: str) -> AlexnetError:
    return error(f"`{layer_of(node.name)}` cannot be made dense: {why}", span=node.span, helps=helps)


def _not_whole(source: Graph, size: Pair, misfit: _MisfitError) -> AlexnetError:
    """What is wrong with a size, and the nearest that fit. Rows and columns fit or not each for themselves."""
    own = _image_size(source)
    rows = _nearest(size[0], lambda n: _fits(source, (n, own[1])))
    columns = _nearest(size[1], lambda n: _fits(source, (own[0], n)))
    sizes = dict.fromkeys(shape_text(pair) for pair in zip(rows, columns, strict=True))
    return error(
        f"an image of {shape_text(size)} does not come out whole at `{layer_of(misfit.node.name)}`: "
        f"{misfit.failure.message}",
        span=misfit.node.span,
        helps=[f"the nearest sizes that do: {listed(sizes)}"],
    )


def _nearest(length: int, fits: Callable[[int], bool]) -> Pair:
    """The largest length up to this one that fits, and the smallest from it on: the net's own length does, and with it
    every multiple of all strides above it."""
    below = next(n for n in itertools.count(length, -1) if fits(n))
    return below, next(n for n in itertools.count(length) if fits(n))


def _fits(source: Graph, size: Pair) -> bool:
    try:
        _Rebuild(source, Graph(source.name, source.devices), size).run()
    except _MisfitError:
        return False
    return True
