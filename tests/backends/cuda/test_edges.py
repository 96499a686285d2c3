"""Nothing that a type rule accepts is refused, and no launch asks for more than a GPU has: chains of random ops, of
random sizes, forward and back, fused and not, are emitted (not compiled). What is done only at sizes too large for a
test is run with the limits taken down."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from alexnet_ir.backends.cuda.emit import FUSED, emit
from alexnet_ir.backends.cuda.emitters import normalize, pointwise, relayout, updates
from alexnet_ir.backends.cuda.gpu import GPUS, PRECISIONS, Gpu
from alexnet_ir.backends.cuda.host.machine import HostMachine
from alexnet_ir.backends.cuda.site import CUDA, site_of
from alexnet_ir.backends.emission import views
from alexnet_ir.backends.emission.commands import MOST_BLOCKS, Command, Emission, Gemm, Launch, Place, Table
from alexnet_ir.backends.emission.site import ALIGNMENT
from alexnet_ir.backends.target import FUSIONS
from alexnet_ir.diagnostics import AlexnetError
from alexnet_ir.ir.graph import Builder, Graph, Node, Value
from alexnet_ir.ir.layout import Layout, Stored
from alexnet_ir.ir.op import Input, Op, Read, TypeRuleError
from alexnet_ir.ir.target import Target
from alexnet_ir.ir.types import TensorType, f32
from alexnet_ir.ops import batchnorm, dense, elementwise, loss, pool, shape, update
from alexnet_ir.ops.batchnorm import BatchNormInference
from alexnet_ir.ops.conv import Conv, ConvGradInput, ConvGradWeight
from alexnet_ir.ops.dropout import Dropout
from alexnet_ir.ops.elementwise import Add, ReluGrad
from alexnet_ir.ops.local import Local
from alexnet_ir.ops.normalize import LocalNorm, Lrn
from alexnet_ir.ops.pool import MaxPool
from alexnet_ir.passes.fuse import Fuse

from ..test_normalize import STRONG, both_ways, gradient, together
from ..test_pooling import BOTH, agree, masked, normal
from ..test_updates import together as parameters
from .running import needs_gxx, run
from .test_normalize import CRAMPED

SEED, STEP = TensorType("i64", ()), TensorType("i32", ())
IMAGES = st.sampled_from([1, 2, 7, 128, 65535, 70000])
CHANNELS = st.sampled_from([1, 2, 3, 4, 6, 8, 12, 48, 96, 100, 1000, 70000])
LENGTHS = st.sampled_from([1, 2, 3, 5, 8, 13, 57, 224])
Draw = Callable[[Any], Any]
Made = tuple[Op, list[TensorType]]
"""An op, and the types of its operands: in a chain, of those after the first."""


# --- ops --------------------------------------------------------------------------------------------------------------


def windows(draw: Draw, type_: TensorType) -> tuple[Any, ...]:
    """Of a size that fits: size, stride, pad, round."""
    size = tuple(draw(st.integers(1, min(length, 40))) for length in type_.shape[2:])
    stride = tuple(draw(st.integers(1, 5)) for _ in size)
    pad = tuple((draw(st.integers(0, k - 1)), draw(st.integers(0, k - 1))) for k in size)
    return size, stride, pad, draw(st.sampled_from(["down", "up"]))


def groups_of(draw: Draw, channels: int) -> int:
    """A number that divides the channels."""
    return int(draw(st.sampled_from([g for g in (1, 2, 3, 4, channels) if channels % g == 0])))


def convolution(draw: Draw, type_: TensorType) -> Made:
    """With kernels that are shared, or of each position."""
    size, stride, pad, round_ = windows(draw, type_)
    groups, dilation = groups_of(draw, type_.shape[1]), draw(st.sampled_from([1, 1, 2, (2, 1)]))
    weight = f32(groups * draw(st.sampled_from([1, 2, 4, 8, 96])), type_.shape[1] // groups, *size)
    tied = Conv(stride, pad, groups, dilation, round_)
    if draw(st.booleans()):
        return tied, [weight]
    (result,) = inferred(tied, [type_, weight])
    return Local(stride, pad, groups, dilation, round_), [f32(*weight.shape, *result.shape[2:])]


def pooling(draw: Draw, type_: TensorType) -> Made:
    """Of any kind."""
    kind = draw(st.sampled_from([pool.MaxPool, pool.AvgPool, pool.L2Pool]))
    counted = {"count_pad": draw(st.booleans())} if kind is pool.AvgPool else {}
    return kind(*windows(draw, type_), **counted), []


def normalization(draw: Draw, type_: TensorType) -> Made:
    """Across maps or within each."""
    size, groups = draw(st.sampled_from([1, 3, 5, 65, 255])), groups_of(draw, type_.shape[1])
    return draw(st.sampled_from([LocalNorm(size, 1, 0.1, 0.75), Lrn(size, 2, 1e-4, 0.75, groups)])), []


def vector(draw: Draw, type_: TensorType) -> Made:
    """Of a map."""
    return draw(st.sampled_from([shape.Flatten(), pool.GlobalAvgPool()])), []


def connected(draw: Draw, type_: TensorType) -> Made:
    """A product."""
    return dense.Fc(), [f32(draw(CHANNELS), type_.shape[1])]


def losing(draw: Draw, type_: TensorType) -> Made:
    """The end of a chain."""
    return draw(st.sampled_from([loss.SoftmaxCrossEntropy(), loss.Hinge()])), [TensorType("i32", type_.shape[:1])]


def anywhere(draw: Draw, type_: TensorType) -> Made:
    """What vectors can meet, too."""
    e, (n, c, *maps) = elementwise, type_.shape
    unary = (e.Identity(), e.Relu(), e.LeakyRelu(), e.Tanh(), e.Sigmoid(), e.Abs(), e.Scale(0.3))
    kinds: list[Made] = [
        (draw(st.sampled_from(unary)), []),
        (batchnorm.BatchNorm(), [f32(c), f32(c)]),
        (dense.BiasAdd(), [f32(c)]),
        (dense.BiasAdd(), [f32(c, *maps)]),
        (Dropout(0.3, stream=3), [SEED, STEP]),
        (e.Add(), [type_]),
        (shape.Concat(), [f32(n, draw(CHANNELS), *maps)]),
    ]
    made: Made = draw(st.sampled_from(kinds))
    return made


OF_MAPS = (convolution, convolution, pooling, pooling, normalization, normalization, vector, anywhere, anywhere)
OF_VECTORS = (connected, losing, anywhere)


def inferred(op: Op, operands: Sequence[TensorType]) -> list[TensorType]:
    """The results' types; the example is dropped where the rule refuses the operands."""
    try:
        found = [type_ for type_ in op.infer(operands) if isinstance(type_, TensorType)]
    except TypeRuleError:
        assume(False)
    assume(all(0 < type_.size < 2**34 for type_ in (*operands, *found)))
    return found


# --- chains -----------------------------------------------------------------------------------------------------------


@st.composite
def chains(draw: Draw) -> Graph:
    """Up to four ops one after another, and their gradients."""
    first = f32(draw(IMAGES), draw(CHANNELS), *([draw(LENGTHS), draw(LENGTHS)] if draw(st.booleans()) else []))
    graph, nodes = Graph("chain"), []
    value = graph.input("x", first)
    for position in range(draw(st.integers(1, 4))):
        type_ = graph.tensor(value)
        if not type_.shape:
            break
        op, rest = draw(st.sampled_from(OF_MAPS if len(type_.shape) == 4 else OF_VECTORS))(draw, type_)
        inferred(op, [type_, *rest])
        operands = [graph.input(f"x{position}.{i}", other) for i, other in enumerate(rest)]
        value, *_ = graph.emit_all(op, value, *operands, name=f"y{position}")
        nodes.append(graph.node(value))
    graph.outputs["grad"] = gradients(graph, nodes, graph.input("g", graph.tensor(value)))
    return graph


def gradients(graph: Graph, nodes: Sequence[Node], grad: Value) -> Value:
    """Of a chain's input; those of all but the first result of each node are zeros."""
    for node in reversed(nodes):
        zeros = [graph.emit(shape.Fill(0.0, graph.tensor(v).shape), name="zeros") for v in node.results[1:]]
        first, *_ = node.op.gradient(Builder(graph, node), node, grad, *zeros)
        assert first is not None
        grad = first
    return grad


@st.composite
def others(draw: Draw) -> Made:
    """An op that stands in no forward chain, with all its operands."""
    n, c, h, w = draw(IMAGES), draw(CHANNELS), draw(LENGTHS), draw(LENGTHS)
    x = draw(st.sampled_from([f32(n, c), f32(n, c, h, w)]))
    scores, label, each, row = f32(n, c), TensorType("i32", (n,)), f32(c), f32(n)
    weight = draw(st.sampled_from([f32(c), f32(c, h), f32(c, h, w, h), f32(c, h, w, h, w, h)]))
    kinds: list[Made] = [
        (batchnorm.BatchNormInference(), [x, *[each] * 4]),
        (batchnorm.RunningAverage(), [each] * 2),
        (batchnorm.ChannelSquares(), [x, each]),
        (batchnorm.BatchNormGradWeight(), [x, x, each, each]),
        (batchnorm.BatchNormGradInput(7), [x, x, *[each] * 5]),
        (shape.Unflatten((c, h, w)), [f32(n, c * h * w)]),
        (shape.Slice(c // 2, c), [x]),
        (shape.Slice(n // 2, n, 0), [x]),
        (shape.Fill(0.5, x.shape), []),
        (shape.Concat(0), [x, x]),
        (loss.RowMax(), [scores]),
        (loss.Maximum(), [row, row]),
        (loss.RowExpSum(), [scores, row]),
        (loss.SoftmaxCrossEntropyShare(2), [scores, label, row, row]),
        (update.Sgd(), [weight, weight, weight, *[f32()] * 5]),
        (update.Adam(), [*[weight] * 4, *[f32()] * 8]),
    ]
    made: Made = draw(st.sampled_from(kinds))
    return made


# --- emission ---------------------------------------------------------------------------------------------------------

Way = Callable[[Op, list[TensorType], list[TensorType]], None]


@st.composite
def ways(draw: Draw) -> Way:
    """To emit: a GPU, a precision, and how everything lies (updates' results alike, as plans have them)."""
    gpu, precision = GPUS[draw(st.sampled_from(["sm_75", "sm_86", "sm_90"]))], draw(st.sampled_from(PRECISIONS))
    stored: Stored = draw(st.sampled_from(["f32", "tf32", "bf16"]))
    last = draw(st.sampled_from([[True], [False], [True, False, False], [True, True, False]]))

    def laid_out(type_: TensorType, turn: int) -> tuple[TensorType, Layout]:
        floats: Stored = stored if type_.shape else "f32"
        is_last = last[turn % len(last)] and len(type_.shape) == 4
        return type_, Layout(floats if type_.dtype == "f32" else type_.dtype, is_last)

    def way(op: Op, operands: list[TensorType], results: list[TensorType]) -> None:
        is_update = isinstance(op, update.UpdateOp)
        lying = [laid_out(type_, i) for i, type_ in enumerate(operands)]
        made = [laid_out(type_, 0 if is_update else i) for i, type_ in enumerate(results)]
        site = site_of(op, lying, made, gpu, precision)
        shapes = [t.shape for t in (*operands, *results) if len(t.shape) == 4]
        if any(max(math.prod(s[1:]), s[0] * s[2] * s[3]) >= 2**31 for s in shapes):
            with pytest.raises(AlexnetError, match="pixels"):
                emit(site)
        else:
            check(emit(site), gpu)

    return way


def check(emission: Emission, gpu: Gpu) -> None:
    """Every launch can be made, and stays within the workspace."""
    for command in emission.commands:
        if isinstance(command, Launch):
            (x, y, z), threads = command.grid, math.prod(command.block)
            assert 1 <= x < 2**31
            assert 1 <= min(y, z) <= max(y, z) <= MOST_BLOCKS
            assert 1 <= threads <= 1024
            assert command.shared <= gpu.shared
            ints = re.findall(r"constexpr int \w+ = (-?\d+);", command.kernel.source)
            assert all(-(2**31) <= int(number) < 2**31 for number in ints)
        for place in places(command):
            if place.kind == "workspace":
                assert place.number % ALIGNMENT == 0
                assert place.number + place.nbytes <= emission.workspace


def places(command: Command) -> Iterator[Place]:
    """All memory that a command names."""
    if isinstance(command, Launch):
        for argument in command.arguments:
            yield from argument.places if isinstance(argument, Table) else ()
            yield from (argument,) if isinstance(argument, Place) else ()
    else:
        yield from (
            (command.a, command.b, command.out)
            if isinstance(command, Gemm)
            else (
                command.source,
                command.target,
            )
        )


MANY = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))


@MANY
@given(chains(), ways())
def test_whatever_is_accepted_is_emitted(graph: Graph, way: Way) -> None:
    fused = graph.copy()
    Fuse(Target("any", FUSIONS | frozenset(FUSED))).run(fused)
    for either in (graph, fused):
        for node in either.topo():
            if not isinstance(node.op, Input | Read):
                operands, results = ([either.tensor(v) for v in values] for values in (node.operands, node.results))
                way(node.op, operands, results)


@MANY
@given(others(), ways())
def test_so_is_what_no_gradient_makes(made: Made, way: Way) -> None:
    op, operands = made
    way(op, operands, inferred(op, operands))


def test_groups_that_a_grid_does_not_have() -> None:
    groups, size = 70000, 3
    x, weight, y = f32(1, 8 * groups, 3, 3), f32(8 * groups, 8, size, size), f32(1, 8 * groups, 1, 1)
    sites: list[tuple[Op, list[TensorType], TensorType]] = [
        (Conv(groups=groups), [x, weight], y),
        (ConvGradInput(groups=groups, input_size=(3, 3)), [y, weight], x),
        (ConvGradWeight(groups=groups, size=(3, 3)), [y, x], weight),
    ]
    for op, operands, result in sites:
        lying = [(type_, Layout("f32", True)) for type_ in (*operands, result)]
        emission = emit(site_of(op, lying[:-1], lying[-1:], GPUS["sm_90"], "tf32"))
        assert "grid" in emission.reason
        check(emission, GPUS["sm_90"])


def test_numbers_beyond_an_int() -> None:
    assert CUDA.constant("N", 2**31 - 1) == "constexpr int N = 2147483647;\n"
    assert CUDA.constant("N", 2**31) == "constexpr index_t N = 2147483648;\n"


# --- with the limits taken down ---------------------------------------------------------------------------------------


@needs_gxx
@BOTH
def test_normalisation_through_memory(channels_last: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a pixel had too many channels for a block, and a map windows too large."""
    monkeypatch.setattr(normalize, "MOST_ELEMENTS", 0)
    options: dict[str, Any] = {"channels_last": channels_last, "gpu": replace(CRAMPED, shared=64)}
    for op in (replace(STRONG, groups=2), LocalNorm(5, 1, 0.3, 0.75)):
        both_ways(run, op, (2, 8, 4, 5), **options)
        both_ways(run, op, (1, 6, 3, 2), stored="bf16", result_stored="bf16", **options)
        fused, operands = masked(gradient(op), [normal(2, 8, 3, 5, seed=1), normal(2, 8, 3, 5, seed=2)], ReluGrad())
        agree(run, fused, operands, **options)
    for op, operands in together(STRONG, MaxPool(3, 2), (2, 8, 5, 7)):
        agree(run, op, operands, machine=HostMachine(check=True), **options)


@needs_gxx
@pytest.mark.parametrize("last", [(True, True, True), (False, True, False)])
def test_more_elements_than_ints(last: tuple[bool, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pointwise, "INTS", 1)
    monkeypatch.setattr(views, "INTS", 1)
    x, y = normal(2, 6, 3, 5), normal(2, 6, 3, 5, seed=1)
    agree(run, Add(), [x, y], channels_last=last)
    agree(run, BatchNormInference(), [x, *np.abs(normal(4, 6))], channels_last=[last[0], *[False] * 4, last[-1]])
    agree(run, shape.Concat(), [x, y], channels_last=last)


@needs_gxx
def test_more_images_than_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relayout, "MOST_BLOCKS", 2)
    operands = [normal(3, 12, 4, 3), normal(4, 12, 3, 3)]
    agree(run, Conv(pad=1), operands, channels_last=[False, False, True])


@needs_gxx
@pytest.mark.parametrize("rule", [update.Sgd, update.Adam])
def test_more_parameters_than_a_launch_takes(rule: type[update.UpdateOp], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "MOST_PARAMETERS", 2)
    op, operands = parameters(rule, [(5,), (3, 7), (2, 3, 1, 2), (1,), (9,)])
    agree(run, op, operands)
