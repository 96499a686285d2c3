"""Lowering: names, defaults, branches, parameters, initial values, spans; and that only diagnostics come out."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet_ir.diagnostics import AlexnetError, Diagnostics, Source
from alexnet_ir.dsl.model import Choice, Model, check, load
from alexnet_ir.ir.initial import Constant, Initial, Normal, Uniform

from ..strategies import Grown, nets

OPTIMIZER = "train t { batch: 4 stop: steps(1) optimizer: sgd(0.1) }"


def model(text: str, **settings: str) -> Model:
    choice = Choice(settings={key.replace("_", ".", 1): value for key, value in settings.items()})
    return load(Source("m.alx", f"alx 1\n{text}"), choice)


def net(body: str, before: str = "", parameters: str = "", defaults: str = "", **settings: str) -> Model:
    return model(f"{before}\nnet N{parameters} {{\n{defaults}\nimage = input(4, 8, 8)\n{body}\n}}", **settings)


def chain(text: str, before: str = "", parameters: str = "") -> list[str]:
    """The paths of the layers of `return image -> TEXT`, but the image."""
    return [layer.path for layer in net(f"return image -> {text}", before, parameters).layers[1:]]


def wrong(text: str) -> list[tuple[str, int]]:
    """The errors in a text: code and line."""
    found = check(Source("m.alx", f"alx 1\n{text}"))
    return [(d.code, d.span.line if d.span else 0) for d in found.errors]


# Names

BLOCKS = """
block b(x) { return x -> conv(4, 1) -> relu }
block two(x) { return x -> b -> last: b }
block fork(x) { return x -> relu, x -> tanh }
block wide(x, width = 4, act = relu) { return x -> conv(width, 1) -> act }
"""


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("relu -> tanh -> relu", ["relu1", "tanh1", "relu2"]),
        ("relu -> relu2: tanh -> relu", ["relu1", "relu2", "relu3"]),
        ("relu -> relu -> relu1: tanh", ["relu2", "relu3", "relu1"]),
        ("a: conv(4, 1) -> conv(4, 1)", ["a", "conv1"]),
        ("c: relu * 3", ["c1", "c2", "c3"]),
        ("relu * 2 -> relu", ["relu1", "relu2", "relu3"]),
        ("g: (relu -> relu) -> relu", ["g/relu1", "g/relu2", "relu1"]),
        ("(relu -> tanh) -> relu", ["relu1", "tanh1", "relu2"]),
        ("(relu -> a: tanh) * 2", ["repeat1/relu1", "repeat1/a", "repeat2/relu1", "repeat2/a"]),
        ("g: (relu -> tanh) * 2", ["g1/relu1", "g1/tanh1", "g2/relu1", "g2/tanh1"]),
        ("(if true then a: relu else tanh) * 2", ["repeat1/a", "repeat2/a"]),
        ("(if true then relu else tanh) * 2", ["relu1", "relu2"]),
        ("g: (if true then relu else tanh)", ["g"]),
        ("(if false then a: relu else a: tanh)", ["a"]),
        ("relu * 0 -> tanh", ["tanh1"]),
        ("(relu -> tanh) * 0 -> tanh", ["tanh1"]),
        ("b -> b", ["b1/conv1", "b1/relu1", "b2/conv1", "b2/relu1"]),
        ("b1: relu -> b", ["b1", "b2/conv1", "b2/relu1"]),
        ("b * 2", ["b1/conv1", "b1/relu1", "b2/conv1", "b2/relu1"]),
        ("x: b", ["x/conv1", "x/relu1"]),
        ("two", ["two1/b1/conv1", "two1/b1/relu1", "two1/last/conv1", "two1/last/relu1"]),
        ("s: (b -> k: b)", ["s/b1/conv1", "s/b1/relu1", "s/k/conv1", "s/k/relu1"]),
    ],
)
def test_names_of_layers(text: str, paths: list[str]) -> None:
    assert chain(text, BLOCKS) == paths


def test_paths_name_parameters() -> None:
    text = "return image -> conv1: conv(4, 1) -> inception_3a: (relu -> conv(2, 1, bias = none) -> batchnorm)"
    assert list(net(text).graph.states) == [
        "conv1.weight", "conv1.bias", "inception_3a/conv1.weight", "inception_3a/batchnorm1.weight",
        "inception_3a/batchnorm1.bias", "inception_3a/batchnorm1.running_mean", "inception_3a/batchnorm1.running_var",
    ]  # fmt: skip


def test_values_and_labels_take_names_wherever_they_stand() -> None:
    made = net("relu1 = image -> relu\nreturn relu1 -> relu -> add(relu1) -> relu3: tanh -> relu")
    assert [layer.path for layer in made.layers] == ["image", "relu2", "relu4", "add1", "relu3", "relu5"]


@pytest.mark.parametrize(
    "body",
    [
        "a = image -> relu\na = image -> tanh\nreturn a",
        "return image -> a: relu -> a: tanh",
        "a = image -> a: relu\nreturn a",
        "return image -> a1: relu -> a: tanh * 2",
    ],
)
def test_a_name_binds_once(body: str) -> None:
    with pytest.raises(AlexnetError) as raised:
        net(body)
    assert [d.code for d in raised.value.diagnostics if d.severity == "error"] == ["N005"]


def test_a_repeat_of_zero_is_the_identity() -> None:
    made = net("return image -> relu * n", parameters="(n = 0)")
    assert made.graph.outputs["score"] == made.graph.inputs["image"]


def test_a_value_may_be_read_again_and_again() -> None:
    graph = net("a = image -> conv(4, 1)\nb = add(a, a)\nreturn concat(a, b, a -> relu) -> conv(1, 1)").graph
    (add,) = [n for n in graph.topo() if n.op.name == "add"]
    (concat,) = [n for n in graph.topo() if n.op.name == "concat"]
    assert add.operands[0] == add.operands[1] == concat.operands[0]
    assert [graph.node(v).name for v in concat.operands[1:]] == ["add1", "relu1"]


def test_a_block_may_give_several_values() -> None:
    graph = net("a, b = fork(image)\nreturn b -> flatten -> fc(3), a -> flatten -> fc(3)", BLOCKS).graph
    assert list(graph.outputs) == ["score", "score.2"]
    ops = {node.name: node.op.name for node in graph.topo()}
    first = [graph.node(graph.node(graph.named(name)).operands[0]).name for name in ("flatten1", "flatten2")]
    assert [ops[name] for name in first] == ["tanh", "relu"]


# Defaults


def biases(made: Model) -> dict[str, object]:
    return {name: s.initial for name, s in made.graph.states.items() if name.endswith(".bias")}


def test_defaults_reach_into_blocks_and_the_nearest_wins() -> None:
    before = """
    block leaf(x) { return x -> conv(4, 1) -> own: conv(4, 1, bias = 9) }
    block nested(x) { defaults { conv: (bias = 2) } return x -> conv(4, 1) -> leaf }
    block through(x) { return x -> leaf }
    """
    body = "return image -> conv(4, 1) -> leaf -> through -> nested -> fc: (flatten -> fc(2))"
    made = net(body, before, defaults="defaults { conv, fc: (bias = 1) }")
    assert biases(made) == {
        "conv1.bias": Constant(1), "leaf1/conv1.bias": Constant(1), "leaf1/own.bias": Constant(9),
        "through1/leaf1/conv1.bias": Constant(1), "through1/leaf1/own.bias": Constant(9),
        "nested1/conv1.bias": Constant(2), "nested1/leaf1/conv1.bias": Constant(2),
        "nested1/leaf1/own.bias": Constant(9),
        "fc/fc1.bias": Constant(1),
    }  # fmt: skip


def test_without_defaults_weights_are_he_and_biases_zero() -> None:
    graph = net("return image -> conv(6, (3, 2), groups = 2) -> local(2, 2) -> flatten -> fc(3)").graph
    found = {name: state.initial for name, state in graph.states.items()}
    assert found == {
        "conv1.weight": Normal(math.sqrt(2 / (2 * 3 * 2))), "conv1.bias": Constant(0),
        "local1.weight": Normal(math.sqrt(2 / (6 * 2 * 2))), "local1.bias": Constant(0),
        "fc1.weight": Normal(math.sqrt(2 / (2 * 5 * 6))), "fc1.bias": Constant(0),
    }  # fmt: skip


def test_defaults_give_required_arguments() -> None:
    given = "defaults { lrn: (n = 5, k = 2, alpha = 1e-4, beta = 0.75) }"
    made = net("return image -> lrn -> lrn(n = 3)", defaults=given)
    ops = [node.op for node in made.graph.topo() if node.op.name == "lrn"]
    assert [op.n for op in ops] == [5, 3]  # type: ignore[attr-defined]


# Branches and parameters


def test_only_the_taken_branch_is_lowered() -> None:
    body = "a = if deep then image -> conv(1, 99) else image\nreturn a -> (if deep then fc(3) else relu)"
    made = net(body, parameters="(deep = false)")
    assert [layer.path for layer in made.layers] == ["image", "relu1"]


def test_both_branches_are_checked_for_names() -> None:
    text = "net N { image = input(1, 2, 2)\nreturn if true then image else (image -> rellu)\n}"
    assert wrong(text) == [("N001", 3)]


def test_ops_and_counts_are_parameters() -> None:
    body = "return image -> (conv(4, 3, pad = 1) -> act) * depth"
    parameters = "(act = relu, depth = 2)"
    assert [layer.op for layer in net(body, parameters=parameters).layers[1:]] == ["conv", "relu"] * 2
    assert [layer.op for layer in net(body, parameters=parameters, net_act="tanh", net_depth="1").layers[1:]] == [
        "conv",
        "tanh",
    ]
    made = net(body, parameters=parameters, net_act="leaky_relu(0.2)", net_depth="0 + 3")
    slopes = [node.op.slope for node in made.graph.topo() if node.op.name == "leaky_relu"]  # type: ignore[attr-defined]
    assert slopes == [0.2] * 3


def test_an_op_with_arguments_is_passed_through_blocks() -> None:
    before = BLOCKS + "block outer(x, act) { return x -> wide(act = act) -> wide(8, act) }"
    made = net("return image -> outer(act = leaky_relu(slope))", before, "(slope = 0.5)")
    assert [layer.path for layer in made.layers[1:]] == [
        "outer1/wide1/conv1", "outer1/wide1/leaky_relu1", "outer1/wide2/conv1", "outer1/wide2/leaky_relu1",
    ]  # fmt: skip
    slopes = [node.op.slope for node in made.graph.topo() if node.op.name == "leaky_relu"]  # type: ignore[attr-defined]
    assert slopes == [0.5, 0.5]


@pytest.mark.parametrize("parameters", ["(relu = relu)", "(relu = leaky_relu(0.2))", "(relu = b)"])
def test_a_parameter_may_bear_the_name_of_an_op(parameters: str) -> None:
    assert len(chain("relu", BLOCKS, parameters)) in (1, 2)


def test_a_name_may_take_the_place_of_the_op_it_is_made_of() -> None:
    made = net("leaky_relu = leaky_relu(0.2)\nreturn image -> leaky_relu -> leaky_relu")
    assert [node.op.slope for node in made.graph.topo()[1:]] == [0.2, 0.2]  # type: ignore[attr-defined]


# Initial values, factors, spans


@pytest.mark.parametrize(
    ("text", "initial"),
    [
        ("normal(0.01)", Normal(0.01)),
        ("uniform(-1, 1/2)", Uniform(-1, 0.5)),
        ("0.5", Constant(0.5)),
        ("he()", Normal(math.sqrt(2 / 18))),
        ("xavier()", Uniform(-math.sqrt(6 / (9 * (6 + 2))), math.sqrt(6 / (9 * (6 + 2))))),
    ],
)
def test_initial_values_of_a_convolution(text: str, initial: Initial) -> None:
    graph = net(f"return image -> conv(6, 3, groups = 2, weight = {text})").graph
    assert graph.states["conv1.weight"].initial == initial


def test_initial_values_of_other_layers() -> None:
    body = (
        "return image -> local(3, 5, weight = xavier()) -> flatten -> fc(5, weight = xavier()) -> fc(2, weight = he())"
    )
    states = net(body).graph.states
    bound = math.sqrt(6 / (25 * (3 + 4)))
    assert states["local1.weight"].initial == Uniform(-bound, bound)
    bound = math.sqrt(6 / (48 + 5))
    assert states["fc1.weight"].initial == Uniform(-bound, bound)
    assert states["fc2.weight"].initial == Normal(math.sqrt(2 / 5))


def test_factors_of_the_layer_win_over_those_of_the_recipe() -> None:
    recipe = "train t { batch: 2 stop: steps(1) optimizer: sgd(0.1, lr_mult = 2, bias_lr_mult = 3, decay_mult = 0.5) }"
    text = (
        "net N { image = input(1, 2, 2) return image -> flatten -> fc(2) -> fc(2, lr_mult = 7, bias_decay_mult = 0) }"
    )
    states = model(f"{text} {recipe}").graph.states
    assert {name: (state.lr_mult, state.decay_mult) for name, state in states.items()} == {
        "fc1.weight": (2, 0.5), "fc1.bias": (3, 1), "fc2.weight": (7, 0.5), "fc2.bias": (3, 0),
    }  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(nets())
def test_every_node_stands_where_its_call_begins(grown: Grown) -> None:
    lines = grown.text.split("\n")
    graph = load(Source("g.alx", grown.text)).graph
    for node in graph.topo():
        if node.name in ("train.seed", "train.step"):
            continue
        span = node.span
        assert span is not None
        word = re.match(r"\w+", lines[span.line - 1][span.column - 1 :])
        assert word is not None
        layer = node.op.name if node.op.name in grown.text else ""
        assert word[0] in ("act", "input") or word[0] == layer or node.op.name in (
            "state", "bias_add", "running_average",
        )  # fmt: skip


# Random nets are the language


@settings(max_examples=150, deadline=None)
@given(nets())
def test_grown_nets_are_accepted(grown: Grown) -> None:
    assert check(Source("g.alx", grown.text)).errors == ()
    graph = load(Source("g.alx", grown.text)).graph
    assert len(graph.outputs) == grown.results
    assert {graph.tensor(v).shape for v in graph.outputs.values()} == {(grown.batch, grown.classes)}


# Mistakes


def test_unused_names_are_warnings() -> None:
    text = "alx 1\nblock b(x, unused) { return x }\nnet N(n = 1) {\nimage = input(1, 2, 2)\na = image\n"
    found = check(Source("m.alx", text + "return image -> label: relu -> b(2)\n}"))
    assert found.errors == ()
    assert [(d.code, d.span.line if d.span else 0) for d in found.warnings] == [("N006", 2), ("N006", 3), ("N006", 5)]


def test_two_mistakes_are_two_errors() -> None:
    body = "a = image -> conv(3, 99)\nb = image -> conv(3, 1, strid = 2)\nreturn add(a, b) -> maxpool(99)"
    assert wrong(f"net N {{\nimage = input(1, 4, 4)\n{body}\n}}") == [("S012", 4), ("N002", 5)]


def test_a_mistake_in_a_block_called_twice_is_said_once() -> None:
    text = (
        "block b(x) { return x -> conv(3, 99) }\nnet N { image = input(1, 4, 4)\nreturn add(image -> b, image -> b) }"
    )
    assert wrong(text) == [("S012", 2)]


@pytest.mark.parametrize(
    "use",
    ["add(a, image) -> flatten -> fc(3)", "concat(image, a)", "a -> b", "a -> dropout(0.5) * 3",
     "a -> g: (relu -> fc(2))", "fork(a)", "add(a -> relu, b(a))"],
)  # fmt: skip
@pytest.mark.parametrize("mistake", ["conv(3, 99)", 'conv(3, "x")', "conv(3)", "fc(2)", "nothing", "relu * 1.5"])
def test_what_depends_on_a_mistake_is_silent(mistake: str, use: str) -> None:
    text = f"{BLOCKS}\nnet N {{ image = input(4, 4, 4)\na = image -> {mistake}\nreturn {use} }}"
    assert [line for _, line in wrong(text)] == [9]


@pytest.mark.parametrize(
    ("before", "text"),
    [
        ("block a(x) { return x -> a }", "a"),
        ("block a(x) { return add(a(x), a(x)) }", "a"),
        ("block a(x) { return x -> c -> c } block c(x) { return x -> a -> a }", "a"),
        ("block a(x) { return x -> " + "(" * 25 + "a" + ")" * 25 + " }", "a"),
        ("block a(x) { return " + "add(" * 25 + "a(x)" + ", x)" * 25 + " }", "a"),
        ("", "relu * 9_000_000_000_000_000_000"),
        ("", "dropout(0.5) * 1000000"),
        ("", "(relu * 0) * 1000000000"),
        ("", "((relu -> tanh) * 100000) * 100000"),
        ("block a(x) { return x }", "a * 1000000000"),
        ("", "l: batchnorm * 1000000"),
    ],
)
def test_what_has_no_end_is_refused(before: str, text: str) -> None:
    found = wrong(f"{before}\nnet N {{ image = input(1, 4, 4)\nreturn image -> {text} }}")
    assert {code for code, _ in found} == {"T012"}


@pytest.mark.parametrize(
    ("ends", "code"),
    [("image", "R003"), ("image -> flatten -> fc(3), image", "R003"),
     ("image -> flatten -> fc(3), image -> flatten -> fc(2)", "R005")],
)  # fmt: skip
def test_a_net_that_cannot_be_trained_is_refused_without_data_too(ends: str, code: str) -> None:
    assert [found for found, _ in wrong(f"net N {{ image = input(1, 2, 2)\nreturn {ends} }} {OPTIMIZER}")] == [code]


def test_a_wrong_setting_is_an_error() -> None:
    for value in ("input", "tanhh", "3", "conv(", "relu -> relu"):
        with pytest.raises(AlexnetError):
            net("return image -> act", parameters="(act = relu)", net_act=value)


# Nothing but diagnostics

TOKENS = re.compile(r'"[^"]*"|[0-9.]+(?:e-?[0-9]+)?%?|\w+|->|[^\w\s]')
WORDS = """
( ) { } [ ] , : = -> * / - + 0 1 -1 2 9e99 1.5 50% 99999999999999999 true false none image x relu conv fc add concat
input b1_ dropout if then else return defaults block net data train normal he act width round "up" Grown classes lrn
(1,2) [1,2] conv(3,3) digits() set at v1_ depth wide maxpool flatten batchnorm 3 4 5
"""
PIECES = re.findall(r"\S+", WORDS)
changes = st.lists(st.tuples(st.integers(0, 2000), st.sampled_from(PIECES), st.booleans()), min_size=1, max_size=3)


@settings(max_examples=300, deadline=None)
@given(nets(), changes)
def test_nothing_but_diagnostics_escapes(grown: Grown, changes: list[tuple[int, str, bool]]) -> None:
    tokens = TOKENS.findall(grown.text)
    for place, piece, insert in changes:
        at = place % len(tokens)
        tokens[at : at + (not insert)] = [piece]
    source = Source("g.alx", " ".join(tokens))
    found = check(source)
    assert isinstance(found, Diagnostics)
    for diagnostic in found.all:
        assert diagnostic.code
        assert diagnostic.render()
    if not found.errors:
        load(source, Choice(recipe="recipe") if "train recipe" in source.text else None)
