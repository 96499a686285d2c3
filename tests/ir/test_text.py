"""The text form: what it looks like, the way back, and that broken text raises nothing but TextError."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alexnet_ir.diagnostics import Source, Span
from alexnet_ir.ir.graph import Graph
from alexnet_ir.ir.initial import Constant, Normal, Uniform
from alexnet_ir.ir.op import Input
from alexnet_ir.ir.text import TextError, attributes_text, compact, print_graph, value_text
from alexnet_ir.ir.types import On, Partial, Split, TensorType, f32
from alexnet_ir.ir.verify import verify
from alexnet_ir.ops.conv import Conv
from alexnet_ir.ops.dense import BiasAdd
from alexnet_ir.ops.placing import Reshard
from alexnet_ir.ops.pool import MaxPool
from alexnet_ir.ops.shape import Copy
from alexnet_ir.ops.table import OPS, parse
from alexnet_ir.ops.update import Sgd

from .grow import graphs, table_rows

ROWS = table_rows()

TEXT = """\
graph Small {
  input %image : f32[2, 3, 8, 8] loc(model.alx:3:11)
  input %seed : i64[] = 0
  input %lr : f32[] = 0.01
  input %one : f32[] = 1.0
  state %conv1.weight : f32[4, 3, 3, 2] = normal(std = 0.01) {lr_mult = 2.0, decay_mult = 0.5} loc(model.alx:4:8)
  state %conv1.bias : f32[4] = constant(value = 1.0)
  state %conv1.bias.velocity : f32[4] = constant(value = 0.0) {role = "slot"}
  state %table : f32[8] split(0) = uniform(low = -0.5, high = 0.5)
  state %mean : f32[] on(1) = constant(value = 0.0) {role = "statistic"}
  %conv1 = conv(%image, %conv1.weight) {stride = 2, pad = ((0, 1), (1, 1)), round = "up"} : f32[2, 4, 4, 5] \
loc(model.alx:4:8)
  %conv1.bias_add = bias_add(%conv1, %conv1.bias) : f32[2, 4, 4, 5] loc(model.alx:4:8)
  %pool1, %pool1.argmax = maxpool(%conv1.bias_add) {size = 2, stride = (1, 2), round = "down"} : f32[2, 4, 3, 2], \
u8[2, 4, 3, 2] loc(model.alx:5:8)
  %next, %next.velocity = sgd(%conv1.bias, %conv1.bias.velocity, %conv1.bias, %lr, %one, %one, %one, %one) : \
f32[4], f32[4]
  output pooled = %pool1
  output where = %pool1.argmax
  update %conv1.bias = %next
  update %conv1.bias.velocity = %next.velocity
}
"""


def small() -> Graph:
    """The graph that TEXT describes."""
    file = Source("model.alx")
    graph = Graph("Small")
    image = graph.input("image", f32(2, 3, 8, 8), span=Span(file, 3, 11, 3, 25))
    graph.input("seed", TensorType("i64", ()), default=0)
    lr, one = graph.input("lr", f32(), default=0.01), graph.input("one", f32(), default=1.0)
    layer = Span(file, 4, 8, 4, 30)
    weight = graph.state("conv1.weight", f32(4, 3, 3, 2), Normal(0.01), lr_mult=2.0, decay_mult=0.5, span=layer)
    bias = graph.state("conv1.bias", f32(4), Constant(1))
    velocity = graph.state("conv1.bias.velocity", f32(4), Constant(0), role="slot")
    graph.state("table", TensorType("f32", (8,), Split(0)), Uniform(-0.5, 0.5))
    graph.state("mean", TensorType("f32", (), On(1)), Constant(0), role="statistic")
    out = graph.emit(Conv(2, ((0, 1), (1, 1)), round="up"), image, weight, name="conv1", span=layer)
    out = graph.emit(BiasAdd(), out, bias, name="conv1.bias_add", span=layer)
    pool = MaxPool(2, (1, 2), round="down")
    pooled, argmax = graph.emit_all(pool, out, name="pool1", span=Span(file, 5, 8, 5, 9))
    new, moved = graph.emit_all(Sgd(), bias, velocity, bias, lr, one, one, one, one, name="next")
    graph.outputs = {"pooled": pooled, "where": argmax}
    graph.set_update("conv1.bias", new)
    graph.set_update("conv1.bias.velocity", moved)
    return graph


def test_a_graph_as_text() -> None:
    assert print_graph(small()) == TEXT


def test_and_back() -> None:
    graph, wanted = parse(TEXT), small()
    verify(graph)
    assert print_graph(graph) == TEXT
    assert graph.inputs == wanted.inputs
    assert graph.states == wanted.states
    assert graph.outputs == wanted.outputs
    for node, other in zip(graph.topo(), wanted.topo(), strict=True):
        assert (node.op, node.operands, node.types, node.name) == (other.op, other.operands, other.types, other.name)
        assert str(node.span) == str(other.span)


def test_an_empty_graph() -> None:
    assert print_graph(parse("graph g {\n}\n")) == "graph g {\n}\n"


def test_a_whole_default_stays_whole() -> None:
    """A seed of 64 bits does not fit a float."""
    text = f"graph g {{\n  input %seed : i64[] = {2**63 - 1}\n}}\n"
    (seed,) = parse(text).topo()
    assert isinstance(seed.op, Input)
    assert seed.op.default == 2**63 - 1
    assert print_graph(parse(text)) == text


def test_placements_come_back() -> None:
    for placement in (Split(2), On(0), Partial()):
        graph = Graph("g")
        value = graph.input("x", TensorType("u8", (1, 2, 3), placement))
        assert parse(print_graph(graph)).type(value) == graph.type(value)


def test_an_attribute_at_its_default_is_left_out() -> None:
    assert attributes_text(Conv()) == ""
    assert attributes_text(Conv(1, 0, 1, 1, "exact")) == ""
    assert attributes_text(MaxPool(3)) == "size = 3, stride = 3"
    assert attributes_text(Conv((2, 1), (0, 3), 2)) == "stride = (2, 1), pad = (0, 3), groups = 2"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (((2, 2), (2, 2)), "2"),
        (((0, 3), (0, 3)), "(0, 3)"),
        (((1, 1), (2, 2)), "((1, 1), (2, 2))"),
        ((3,), "3"),
        (None, "none"),
    ],
)
def test_pairs_are_shown_as_short_as_they_can_be_given(value: object, shown: str) -> None:
    assert value_text(compact(value)) == shown


def test_values() -> None:
    assert [value_text(v) for v in (2, 0.5, 1e-5, True, "up", (3,), ())] == [
        "2", "0.5", "1e-05", "true", '"up"', "(3,)", "()",
    ]  # fmt: skip


# --- graphs that grow ---------------------------------------------------------------------------------------------


def test_rows_have_every_op() -> None:
    assert {type(op) for op, _ in ROWS} == set(OPS.values()) - {Copy, Reshard}


@pytest.mark.parametrize(("op", "types"), ROWS, ids=lambda x: getattr(x, "name", ""))
def test_every_op_comes_back(op: object, types: list[TensorType]) -> None:
    graph = Graph("one")
    operands = [graph.input(f"x{i}", type_) for i, type_ in enumerate(types)]
    graph.emit(op, *operands, name="y")  # type: ignore[arg-type]
    again = parse(print_graph(graph))
    assert again.node(again.named("y")) == graph.node(graph.named("y"))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graphs(ROWS))
def test_round_trip(graph: Graph) -> None:
    verify(graph)
    text = print_graph(graph)
    again = parse(text)
    verify(again)
    assert print_graph(again) == text
    assert print_graph(graph.copy()) == text
    assert len(again) == len(graph)
    for node in graph.topo():
        other = again.node(again.named(node.name))
        assert (other.op, other.types, str(other.span)) == (node.op, node.types, str(node.span))
    assert {s.name: (s.role, s.lr_mult, s.decay_mult, s.initial) for s in again.states.values()} == {
        s.name: (s.role, s.lr_mult, s.decay_mult, s.initial) for s in graph.states.values()
    }


# --- broken text --------------------------------------------------------------------------------------------------

BROKEN = [
    ("", 'expected "graph NAME {"'),
    ("graph g {\n", 'expected "graph NAME {"'),
    ("graph {\n}", 'expected "graph NAME {"'),
    ("graph g {\n  banana\n}", "line 2: expected whole, input, state, a node, output or update"),
    ("graph g {\n  input x : f32[2]\n}", "line 2: expected a name like %conv1, found 'x'"),
    ("graph g {\n  input %x : f64[2]\n}", "line 2: f64[2] is no type"),
    ("graph g {\n  input %x : f32[2\n}", "line 2: f32[2 is no type"),
    ("graph g {\n  input %x : f32[2] spilt(1)\n}", "line 2: spilt(1) is no placement"),
    ("graph g {\n  input %x : f32[2] split\n}", "line 2"),
    ("graph g {\n  input %x : f32[2] = one\n}", "line 2: could not convert string to float"),
    ("graph g {\n  input %x : f32[2]\n  input %x : f32[2]\n}", "line 3: the graph has a `x` already"),
    ("graph g {\n  state %w : f32[2]\n}", "line 2: expected initial(...) {...}"),
    ("graph g {\n  state %w : f32[2] = gauss(std = 1)\n}", "line 2: 'gauss'"),
    ("graph g {\n  state %w : f32[2] = normal(std = -1)\n}", "line 2: `std` of `normal`: expected a number"),
    ("graph g {\n  state %w : f32[2] = normal(std = 1) {role = \"king\"}\n}", "line 2: expected {role = ..., lr_mult"),
    ("graph g {\n  state %w : f32[2] = normal(std = 1) {lr_mult = \"x\"}\n}", "line 2: expected {role = ..., lr_mult"),
    ("graph g {\n  state %w : f32[2] = normal(std = 1) {speed = 1}\n}", "line 2"),
    ("graph g {\n  %y = relu(%x) : f32[2]\n}", "line 2: '%x'"),
    ("graph g {\n  %y = fly() : f32[2]\n}", "line 2: 'fly'"),
    ("graph g {\n  %y = fill() {value = 1} : f32[2]\n}", "line 2: the type rule says f32[], the text f32[2]"),
    ("graph g {\n  %y = fill() {value = } : f32[]\n}", "line 2: expected a value at"),
    ("graph g {\n  %y = fill() {value 1} : f32[]\n}", "line 2: expected name = value at"),
    ("graph g {\n  %y = fill() {value = 1, size = 2} : f32[]\n}", "line 2"),
    ("graph g {\n  %y = fill() {value = \"1\"} : f32[]\n}", "line 2: `value` of `fill`: expected a number, found '1'"),
    ("graph g {\n  %y, %z = fill() {value = 1} : f32[]\n}", "line 2: its results are called %y, or one is taken"),
    ("graph g {\n  %y fill() {value = 1} : f32[]\n}", "line 2: expected %result = op(%operand, ...) {...} : type"),
    ("graph g {\n  %y = fused() {rule = \"\", parts = [], yields = (0,)} : f32[]\n}", "line 2: `parts` of `fused`"),
    ("graph g {\n  %y = fused() {parts = [fly(0)]} : f32[]\n}", "line 2: 'fly'"),
    ("graph g {\n  %y = fused() {parts = [relu(%x)]} : f32[]\n}", "line 2: expected op(numbers) at 'relu(%x)]'"),
    ("graph g {\n  %y = fused() {parts = [scale(0) {factor = 2]} : f32[]\n}", "line 2: expected name = value at"),
    ("graph g {\n  %y = fill() {value = 1}} : f32[]\n}", "line 2: expected name = value at '}'"),
    ("graph g {\n  %y = relu() : f32[]\n}", "line 2: `relu` takes 1 operands, found 0"),
    ("graph g {\n  output y = %y\n}", "line 2: '%y'"),
    ("graph g {\n  input %x : f32[2]\n  update %w = %x\n}", "line 3: 'w'"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BROKEN)
def test_broken_text(text: str, message: str) -> None:
    with pytest.raises(TextError) as caught:
        parse(text)
    assert message in str(caught.value)


def test_a_name_that_is_taken() -> None:
    node = "  %y = fill() {value = 1.0} : f32[]\n"
    with pytest.raises(TextError, match=r"line 3: its results are called %y\.2, or one is taken"):
        parse(f"graph g {{\n{node}{node}}}\n")


TOKENS = [
    *"%()[]{},;:=\"'. \n\t-019ax", "f32", "i64", "split(1)", "on(0)", "none", "true", "1e999", "nan", "(((",
    "loc(x:1:1)", "groups = 0", "groups = 2", "stride = 9", "%image", "%pool1.argmax", "conv", "batchnorm", "lrn",
    "normal", "99999999999999999999", "é", "[relu(0); relu(1)]", "; ", "yields = (1, 2)",
]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_mutated_text_is_parsed_or_refused(data: st.DataObject) -> None:
    """Nothing but TextError comes out, and what is accepted is a graph that prints and comes back."""
    text = data.draw(st.sampled_from(CORPUS))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = start + data.draw(st.sampled_from([0, 0, 1, 1, 2, 5, 20]))
        text = text[:start] + data.draw(st.sampled_from(["", *TOKENS])) + text[end:]
    try:
        graph = parse(text)
    except TextError:
        return
    printed = print_graph(graph)
    assert print_graph(parse(printed)) == printed


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_lines_lost_doubled_or_swapped(data: st.DataObject) -> None:
    lines = data.draw(st.sampled_from(CORPUS)).splitlines()
    at = st.integers(0, len(lines) - 1)
    first, second = data.draw(at), data.draw(at)
    kind = data.draw(st.sampled_from(["lost", "doubled", "swapped"]))
    if kind == "lost":
        del lines[first]
    elif kind == "doubled":
        lines.insert(second, lines[first])
    else:
        lines[first], lines[second] = lines[second], lines[first]
    try:
        parse("\n".join(lines))
    except TextError:
        return


def test_brackets_too_deep_to_follow() -> None:
    with pytest.raises(TextError):
        parse(f"graph g {{\n  %y = fill() {{value = 1, shape = {'(' * 100_000}}} : f32[]\n}}\n")


def _every_op() -> str:
    """A text with every op in it."""
    graph = Graph("all")
    known: dict[TensorType, object] = {}
    for i, (op, types) in enumerate(ROWS):
        for type_ in types:
            if type_ not in known:
                known[type_] = graph.input(f"x{len(known)}", type_)
        graph.emit(op, *(known[t] for t in types), name=f"y{i}")  # type: ignore[arg-type]
    return print_graph(graph)


CORPUS = [TEXT, _every_op()]
