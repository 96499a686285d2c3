"""Graphs that Hypothesis grows: any op, values read again and again, gradients, states, placements, spans."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from alexnet_ir.diagnostics import Source, Span
from alexnet_ir.ir.graph import ROLES, Builder, Graph, Value
from alexnet_ir.ir.initial import Constant, Initial, Normal, Uniform
from alexnet_ir.ir.op import NotDifferentiableError, Op, Part, TypeRuleError
from alexnet_ir.ir.types import DTYPES, On, Partial, Placement, Split, TensorType, f32
from alexnet_ir.ops.conv import Conv
from alexnet_ir.ops.dense import BiasAdd
from alexnet_ir.ops.elementwise import Add, LeakyRelu, Relu, Scale, Tanh
from alexnet_ir.ops.normalize import Lrn
from alexnet_ir.ops.pool import AvgPool, L2Pool, MaxPool
from alexnet_ir.ops.shape import Concat, Fill, Flatten, Slice, Unflatten
from alexnet_ir.ops.table import OPS

NAMES = ["x", "conv1", "inception_3a/conv2", "stage2/bottleneck1", "a.b", "_1"]
reals = st.floats(allow_nan=False, allow_infinity=False)
odd = st.integers(0, 3).map(lambda n: 2 * n + 1)
count = st.integers(1, 3)
sizes = st.tuples(count, count)
paddings = st.integers(0, 2) | sizes | st.tuples(sizes, sizes)
rounds = st.sampled_from(["exact", "down", "up"])
initials: st.SearchStrategy[Initial] = st.one_of(
    reals.map(Constant), reals.map(abs).map(Normal), st.builds(Uniform, reals, reals)
)
sources = st.sampled_from(["model.alx", "a b/net (1).alx", "C:\\nets\\x.alx", "--set", "loc(x):1"]).map(Source)
spans = st.none() | st.builds(
    lambda source, line, column: Span(source, line, column, line, column + 4),
    sources,
    st.integers(1, 999),
    st.integers(1, 99),
)
placements: st.SearchStrategy[Placement] = st.one_of(
    st.integers(0, 3).map(Split), st.integers(0, 3).map(On), st.just(Partial())
)

unary: st.SearchStrategy[Op] = st.one_of(
    st.just(Relu()),
    st.just(Tanh()),
    st.just(Flatten()),
    st.builds(LeakyRelu, st.floats(0, 9)),
    st.builds(Scale, reals),
    st.builds(Lrn, odd, st.just(2), st.floats(0, 1), st.just(0.75)),
    st.builds(MaxPool, sizes, st.none() | count, st.integers(0, 1), rounds),
    st.builds(AvgPool, sizes, count, paddings, rounds, st.booleans()),
    st.builds(L2Pool, count, sizes, st.integers(0, 1), rounds),
    st.builds(Slice, st.integers(0, 1), st.integers(1, 3)),
    st.just(Unflatten((3, 1, 1))),
)


@st.composite
def graphs(draw: st.DrawFn, rows: Sequence[tuple[Op, Sequence[TensorType]]], most: int = 12) -> Graph:
    """A graph without errors. `rows` are ops with types of operands that fit them, such as a test table has."""
    grower = _Grower(Graph(draw(st.sampled_from(["AlexNet", "g"]))), draw)
    for _ in range(draw(st.integers(1, 3))):
        grower.source(f32(2, 3, 4, 4))
    for _ in range(draw(st.integers(1, most))):
        grower.step(rows)
    grower.finish()
    return grower.graph


class _Grower:
    """Adds nodes to a graph as drawn."""

    def __init__(self, graph: Graph, draw: st.DrawFn) -> None:
        self.graph, self.draw = graph, draw

    def values(self, type_: TensorType | None = None) -> list[Value]:
        """All values, or those of one type."""
        found = [v for node in self.graph.topo() for v in node.results]
        return found if type_ is None else [v for v in found if self.graph.type(v) == type_]

    def name(self) -> str:
        """One that is free."""
        return f"{self.draw(st.sampled_from(NAMES))}.{len(self.graph)}"

    def source(self, type_: TensorType) -> Value:
        """A new input or state."""
        name, span = self.name(), self.draw(spans)
        if self.draw(st.booleans()):
            default = self.draw(st.none() | reals | st.integers(-(2**63), 2**63))
            return self.graph.input(name, type_, default=default, span=span)
        role, factors = self.draw(st.sampled_from(ROLES)), st.just(1.0) | reals | st.integers(0, 9)
        lr_mult, decay_mult = self.draw(factors), self.draw(factors)
        return self.graph.state(
            name, type_, self.draw(initials), role=role, lr_mult=lr_mult, decay_mult=decay_mult, span=span
        )

    def operand(self, type_: TensorType) -> Value:
        """A value of this type: one that is there, or a new source."""
        there = self.values(type_)
        return self.draw(st.sampled_from(there)) if there and self.draw(st.booleans()) else self.source(type_)

    def step(self, rows: Sequence[tuple[Op, Sequence[TensorType]]]) -> None:
        """One more op, if what is drawn fits."""
        kind = self.draw(st.sampled_from(["row", "row", "row", "unary", "binary", "weights", "gradient", "placed"]))
        if kind == "row":
            op, types = self.draw(st.sampled_from(rows))
            self.emit(op, *map(self.operand, types))
        elif kind == "gradient":
            self.differentiate()
        elif kind == "placed":
            self.source(self.draw(st.builds(TensorType, st.sampled_from(DTYPES), sizes, placements)))
        else:
            value = self.draw(st.sampled_from(self.values()))
            type_ = self.graph.tensor(value)
            if kind == "unary":
                self.emit(self.draw(unary), value)
            elif kind == "binary":
                other = self.draw(st.sampled_from([value, *self.values(type_)]))
                self.emit(self.draw(st.sampled_from([Add(), Concat()])), value, other)
            elif len(type_.shape) == 4 and type_.dtype == "f32":
                weight = self.operand(f32(2, type_.shape[1], *self.draw(sizes)))
                op = Conv(self.draw(sizes), self.draw(paddings), round=self.draw(rounds))
                self.emit(BiasAdd(), self.emit(op, value, weight) or value, self.operand(f32(2)))

    def emit(self, op: Op, *operands: Value) -> Value | None:
        """Add a node if its rule holds."""
        try:
            return self.graph.emit(op, *operands, name=self.name(), span=self.draw(spans))
        except TypeRuleError:
            return None

    def differentiate(self) -> None:
        """The gradient nodes of some node."""
        node = self.draw(st.sampled_from(self.graph.topo()))
        grad = self.graph.emit(Fill(1.0, self.graph.tensor(node.results[0]).shape), name=f"{node.name}.grad")
        try:
            node.op.gradient(Builder(self.graph, node), node, grad)
        except (NotDifferentiableError, TypeRuleError):  # placed otherwise than its gradient
            return

    def finish(self) -> None:
        """Outputs and updates."""
        for i in range(self.draw(st.integers(0, 3))):
            self.graph.outputs[f"out{i}"] = self.draw(st.sampled_from(self.values()))
        for state in list(self.graph.states.values()):
            self.graph.set_update(
                state.name, self.draw(st.none() | st.sampled_from(self.values(self.graph.tensor(state.read))))
            )


def table_rows() -> list[tuple[Op, list[TensorType]]]:
    """A few rows for every op, with operands that fit."""
    map_, vector, scalar = f32(2, 3, 4, 4), f32(2, 3), f32()
    labels = TensorType("i32", (2,))
    c = f32(3)
    found: list[tuple[Op, list[TensorType]]] = []

    def row(name: str, *operands: TensorType, **attributes: object) -> None:
        found.append((OPS[name](**attributes), list(operands)))

    pooled = {"size": 2, "stride": 2}
    half = f32(2, 3, 2, 2)
    row("conv", map_, f32(6, 1, 3, 3), groups=3, pad=((0, 1), (2, 0)), stride=2, round="up")
    row("conv_grad_input", f32(2, 2, 3, 3), f32(2, 3, 2, 2), input_size=4)
    row("conv_grad_weight", f32(2, 2, 3, 3), map_, size=2)
    row("local", map_, f32(2, 3, 2, 2, 3, 3))
    row("local_grad_input", f32(2, 2, 3, 3), f32(2, 3, 2, 2, 3, 3), input_size=(4, 4))
    row("local_grad_weight", f32(2, 2, 3, 3), map_, size=(2, 2))
    row("fc", vector, f32(5, 3))
    row("fc_grad_input", f32(2, 5), f32(5, 3))
    row("fc_grad_weight", f32(2, 5), vector)
    row("bias_add", map_, c)
    row("bias_grad", map_, per_channel=False)
    for name in ("identity", "relu", "tanh", "sigmoid", "abs"):
        row(name, map_)
    for name in ("relu_grad", "tanh_grad", "sigmoid_grad", "abs_grad", "add"):
        row(name, map_, map_)
    row("leaky_relu", map_, slope=0.25)
    row("leaky_relu_grad", map_, map_, slope=1e-30)
    row("scale", vector, factor=1e22)
    row("channel_squares", map_, c)
    row("batchnorm_grad_weight", map_, map_, c, c, eps=0.5)
    row("batchnorm_grad_input", map_, map_, *[c] * 5, count=32)
    row("row_max", vector)
    row("maximum", c, c)
    row("row_exp_sum", vector, f32(2))
    row("softmax_cross_entropy_share", vector, labels, f32(2), f32(2), first=3)
    window = {"k": 2, "alpha": 1e-4, "beta": 0.75}
    row("lrn", map_, n=5, groups=3, **window)
    row("lrn_grad", map_, map_, n=5, **window)
    row("local_norm", map_, size=3, **window)
    row("local_norm_grad", map_, map_, size=3, **window)
    row("maxpool", map_, **pooled)
    row("maxpool_grad", half, TensorType("u8", half.shape), input_size=4, **pooled)
    row("avgpool", map_, count_pad=True, **pooled)
    row("avgpool_grad", half, input_size=4, **pooled)
    row("l2pool", map_, size=(2, 4), stride=None, pad=0)
    row("l2pool_grad", half, map_, half, input_size=4, **pooled)
    row("global_avgpool", map_)
    row("global_avgpool_grad", vector, input_size=(4, 5))
    row("batchnorm", map_, c, c, eps=0.001)
    row("batchnorm_grad", map_, map_, c, c, c)
    row("batchnorm_inference", map_, c, c, c, c)
    row("running_average", c, c, momentum=0.25, correction=8 / 7)
    row("dropout", map_, TensorType("i64", ()), TensorType("i64", ()), p=0.5, scale="train", stream=3)
    row("flatten", map_)
    row("unflatten", f32(2, 12), shape=(3, 2, 2))
    row("concat", map_, map_, map_)
    row("slice", map_, start=1, stop=3)
    row("fill", value=-0.5, shape=(2,))
    row("softmax_cross_entropy", vector, labels)
    row("softmax_cross_entropy_grad", scalar, vector, labels)
    row("hinge", vector, labels)
    row("hinge_grad", scalar, vector)
    parts = (Part(OPS["relu"](), (0,)), Part(OPS["maxpool"](**pooled), (1,)))
    row("fused", map_, rule="lrn_maxpool", parts=parts, yields=(2, 3), names=("argmax",))
    whole = Part(OPS["fused"](rule="", parts=parts, yields=(2,)), (0,))
    row("fused", map_, map_, rule="a", parts=(whole, Part(OPS["scale"](factor=1e-9), (1,))), yields=(3,))
    row("sgd", *[map_] * 3, *[scalar] * 5)
    row("adam", *[map_] * 4, *[scalar] * 8)
    return found
