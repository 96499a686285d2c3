"""The ops of the language: their arguments, and what each becomes in the graph.

Most are an op of the IR as it stands. Those with parameters (conv, local, fc, batchnorm), with a random stream
(dropout) or without an operand (input) say here what they add.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from alexnet_ir.diagnostics import Span
from alexnet_ir.ir.attributes import (
    COUNT,
    FRACTION,
    NON_NEGATIVE,
    PADS,
    PAIR,
    POSITIVE,
    Attributes,
    Kind,
    Pads,
    Pair,
    attribute,
    optional,
)
from alexnet_ir.ir.graph import Graph, Value
from alexnet_ir.ir.initial import Constant, Initial, Normal, Uniform
from alexnet_ir.ir.names import SEED, STEP
from alexnet_ir.ir.op import Op
from alexnet_ir.ir.types import TensorType, f32
from alexnet_ir.ops.batchnorm import BatchNorm, RunningAverage, samples
from alexnet_ir.ops.conv import Conv
from alexnet_ir.ops.dense import BiasAdd, Fc
from alexnet_ir.ops.dropout import Dropout
from alexnet_ir.ops.elementwise import Abs, Add, Identity, LeakyRelu, Relu, Sigmoid, Tanh
from alexnet_ir.ops.local import Local
from alexnet_ir.ops.normalize import LocalNorm, Lrn
from alexnet_ir.ops.pool import AvgPool, GlobalAvgPool, L2Pool, MaxPool
from alexnet_ir.ops.rules import want_groups, want_map, want_vector
from alexnet_ir.ops.shape import Concat, Flatten
from alexnet_ir.ops.window import ROUND


@dataclass(frozen=True)
class He(Attributes):
    """Normal with std sqrt(2 / fan_in): He et al. 2015, equation 10."""

    name: ClassVar[str] = "he"

    def initial(self, shape: tuple[int, ...]) -> Initial:
        """The initial value for weights of this shape, [outputs, inputs, window ...]."""
        return Normal(math.sqrt(2 / math.prod(shape[1:4])))


@dataclass(frozen=True)
class Xavier(Attributes):
    """Uniform within sqrt(6 / (fan_in + fan_out)): Glorot and Bengio 2010, equation 16."""

    name: ClassVar[str] = "xavier"

    def initial(self, shape: tuple[int, ...]) -> Initial:
        """The initial value for weights of this shape, [outputs, inputs, window ...]."""
        window = math.prod(shape[2:4])
        bound = math.sqrt(6 / (window * (shape[0] + shape[1])))
        return Uniform(-bound, bound)


INITIALISERS: dict[str, type[Attributes]] = {cls.name: cls for cls in (Normal, Uniform, He, Xavier)}
Initialiser = Initial | He | Xavier


def _initialiser(value: Any) -> Initialiser:
    if isinstance(value, Initial | He | Xavier):
        return value
    if isinstance(value, bool):
        raise ValueError
    return Constant(value)


INITIALISER = Kind("an initialiser: normal(std), uniform(a, b), xavier(), he() or a number", _initialiser)


@dataclass
class Site:
    """Where a layer is being built: the graph, the layer's path (`inception_3a/conv2`) and its span. `factors` are the
    recipe's, which a layer's own replace; `streams` numbers the net's dropouts."""

    graph: Graph
    path: str
    span: Span
    factors: dict[str, float] = field(default_factory=dict)
    streams: Iterator[int] = field(default_factory=itertools.count)

    def tensor(self, value: Value) -> TensorType:
        """The type of an operand, which is free of errors here."""
        return self.graph.tensor(value)

    def emit(self, op: Op, *operands: Value, suffix: str = "") -> Value:
        """Add a node of this layer, and return its first result."""
        return self.graph.emit(op, *operands, name=self.path + suffix, span=self.span)

    def parameter(self, what: str, shape: tuple[int, ...], layer: WithParameters, initialiser: Initialiser) -> Value:
        """Add the layer's `weight` or `bias`."""
        prefix = "bias_" if what == "bias" else ""
        own = {factor: getattr(layer, prefix + factor) for factor in ("lr_mult", "decay_mult")}
        lr_mult, decay_mult = (
            self.factors.get(prefix + factor, 1.0) if value is None else value for factor, value in own.items()
        )
        return self.graph.state(
            f"{self.path}.{what}", f32(*shape), resolved(initialiser, shape),
            lr_mult=lr_mult, decay_mult=decay_mult, span=self.span,
        )  # fmt: skip

    def running(self, what: str, shape: tuple[int, ...], initial: Initial) -> Value:
        """Add a running statistic of the layer."""
        return self.graph.state(f"{self.path}.{what}", f32(*shape), initial, role="statistic", span=self.span)


def resolved(initialiser: Initialiser, shape: tuple[int, ...]) -> Initial:
    """An initialiser for a parameter of a known shape."""
    return initialiser if isinstance(initialiser, Initial) else initialiser.initial(shape)


@dataclass(frozen=True)
class WithParameters(Attributes):
    """Caffe's factors on the recipe's rates; where none is given, the recipe's hold."""

    lr_mult: float | None = attribute(optional(NON_NEGATIVE), None, kw_only=True)
    decay_mult: float | None = attribute(optional(NON_NEGATIVE), None, kw_only=True)
    bias_lr_mult: float | None = attribute(optional(NON_NEGATIVE), None, kw_only=True)
    bias_decay_mult: float | None = attribute(optional(NON_NEGATIVE), None, kw_only=True)


@dataclass(frozen=True)
class ConvLayer(WithParameters):
    """Arguments of `conv` and `local`."""

    name: ClassVar[str] = "conv"
    kernels: int = attribute(COUNT)
    size: Pair = attribute(PAIR)
    stride: Pair = attribute(PAIR, 1)
    pad: Pads = attribute(PADS, 0)
    groups: int = attribute(COUNT, 1)
    dilation: Pair = attribute(PAIR, 1)
    weight: Initialiser = attribute(INITIALISER, He())
    bias: Initialiser | None = attribute(optional(INITIALISER), 0)
    round: str = attribute(ROUND, "exact")


def build_conv(site: Site, layer: ConvLayer, operands: Sequence[Value]) -> Value:
    """A convolution, and its bias for each kernel."""
    (input,) = operands
    shape = _kernels(site, layer, input)
    op = Conv(layer.stride, layer.pad, layer.groups, layer.dilation, layer.round)
    out = site.emit(op, input, site.parameter("weight", shape, layer, layer.weight))
    return _biased(site, layer, out, (layer.kernels,))


def build_local(site: Site, layer: ConvLayer, operands: Sequence[Value]) -> Value:
    """Untied kernels, and a bias for every position."""
    (input,) = operands
    shape = _kernels(site, layer, input)
    op = Local(layer.stride, layer.pad, layer.groups, layer.dilation, layer.round)
    positions = op.windows(site.tensor(input), layer.size).output
    out = site.emit(op, input, site.parameter("weight", (*shape, *positions), layer, layer.weight))
    return _biased(site, layer, out, (layer.kernels, *positions))


def _kernels(site: Site, layer: ConvLayer, input: Value) -> tuple[int, ...]:
    """The shape of the kernels over this input; a TypeRuleError where there is none."""
    type_ = site.tensor(input)
    want_map(layer.name, type_)
    want_groups(layer.name, "channels", type_.shape[1], layer.groups)
    want_groups(layer.name, "kernels", layer.kernels, layer.groups)
    return (layer.kernels, type_.shape[1] // layer.groups, *layer.size)


def _biased(site: Site, layer: ConvLayer | FcLayer, out: Value, shape: tuple[int, ...]) -> Value:
    if layer.bias is None:
        return out
    return site.emit(BiasAdd(), out, site.parameter("bias", shape, layer, layer.bias), suffix=".bias_add")


@dataclass(frozen=True)
class LocalLayer(ConvLayer):
    """Arguments of `local`."""

    name: ClassVar[str] = "local"


@dataclass(frozen=True)
class FcLayer(WithParameters):
    """Arguments of `fc`."""

    name: ClassVar[str] = "fc"
    units: int = attribute(COUNT)
    weight: Initialiser = attribute(INITIALISER, He())
    bias: Initialiser | None = attribute(optional(INITIALISER), 0)


def build_fc(site: Site, layer: FcLayer, operands: Sequence[Value]) -> Value:
    """A fully connected layer and its bias."""
    (input,) = operands
    want_vector("fc", site.tensor(input))
    shape = (layer.units, site.tensor(input).shape[1])
    out = site.emit(Fc(), input, site.parameter("weight", shape, layer, layer.weight))
    return _biased(site, layer, out, (layer.units,))


@dataclass(frozen=True)
class BatchNormLayer(WithParameters):
    """Arguments of `batchnorm`."""

    name: ClassVar[str] = "batchnorm"
    eps: float = attribute(POSITIVE, 1e-5)
    momentum: float = attribute(FRACTION, 0.1)


def build_batchnorm(site: Site, layer: BatchNormLayer, operands: Sequence[Value]) -> Value:
    """Batch normalisation, with its scale (weight), shift (bias) and running statistics."""
    (input,) = operands
    type_ = site.tensor(input)
    shape = (type_.shape[1],)
    weight = site.parameter("weight", shape, layer, Constant(1))
    bias = site.parameter("bias", shape, layer, Constant(0))
    out, mean, variance = site.graph.emit_all(BatchNorm(layer.eps), input, weight, bias, name=site.path, span=site.span)
    unbiased = samples(type_) / (samples(type_) - 1)
    statistics = (("running_mean", Constant(0), mean, 1.0), ("running_var", Constant(1), variance, unbiased))
    for what, initial, batch, correction in statistics:
        running = site.running(what, shape, initial)
        op = RunningAverage(layer.momentum, correction)
        site.graph.set_update(f"{site.path}.{what}", site.emit(op, running, batch, suffix=f".{what}.next"))
    return out


def build_dropout(site: Site, layer: Dropout, operands: Sequence[Value]) -> Value:
    """Dropout with a stream of its own: the number of dropouts before it in the text."""
    graph = site.graph
    for name in (SEED, STEP):
        if name not in graph.inputs:
            graph.input(name, TensorType("i64", ()), default=0, span=site.span)
    op = Dropout(layer.p, layer.scale, next(site.streams))
    return site.emit(op, *operands, graph.inputs[SEED], graph.inputs[STEP])


@dataclass(frozen=True)
class InputLayer(Attributes):
    """Arguments of `input`."""

    name: ClassVar[str] = "input"
    channels: int = attribute(COUNT, spelled="c")
    rows: int = attribute(COUNT, spelled="h")
    columns: int = attribute(COUNT, spelled="w")


@dataclass(frozen=True)
class LayerRule:
    """How an op of the language is called and built. `operands` names the values it takes, as an op's do."""

    attributes: type[Attributes]
    operands: tuple[str, ...]
    build: Callable[[Site, Any, Sequence[Value]], Value]


def _as_it_stands(site: Site, op: Op, operands: Sequence[Value]) -> Value:
    return site.emit(op, *operands)


_SIMPLE: tuple[type[Op], ...] = (
    Relu, LeakyRelu, Tanh, Sigmoid, Abs, Identity, Lrn, LocalNorm, MaxPool, AvgPool, L2Pool, GlobalAvgPool, Flatten,
    Concat, Add,
)  # fmt: skip

LAYERS: dict[str, LayerRule] = {
    "conv": LayerRule(ConvLayer, ("input",), build_conv),
    "local": LayerRule(LocalLayer, ("input",), build_local),
    "fc": LayerRule(FcLayer, ("input",), build_fc),
    "batchnorm": LayerRule(BatchNormLayer, ("input",), build_batchnorm),
    "dropout": LayerRule(Dropout, ("input",), build_dropout),
    **{op.name: LayerRule(op, op.operands, _as_it_stands) for op in _SIMPLE},
}
"""Every op of the language but `input`, which takes nothing and names itself."""
