"""The parser: what it accepts, where it says things stand, and what it says of what it does not accept."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alexnet_ir.diagnostics import AlexnetError, Diagnostic, Source, Span
from alexnet_ir.dsl import syntax
from alexnet_ir.dsl.codes import CODES
from alexnet_ir.dsl.model import check
from alexnet_ir.dsl.parser import grammar, parse, parse_expression
from alexnet_ir.dsl.tokens import KEYWORDS, MARKS, RESERVED

HERE = Path(__file__).parent
PROGRAMS = {path.stem: path.read_text(encoding="utf-8") for path in sorted(HERE.glob("programs/*.alx"))}
BAD = sorted(HERE.glob("bad/*.alx"))
PIECES = [re.findall(r"\s+|\w+|->|.", text) for text in PROGRAMS.values()]


def expression(text: str) -> syntax.Expr:
    return parse_expression(Source("--set", text))


def statement(text: str) -> syntax.Expr:
    file = parse(Source("model.alx", f"alx 1 block b(x) {{ y = {text} return y }}"))
    return file.definitions[0].body.lets[0].value


def nodes(value: object) -> Iterator[object]:
    """All nodes of a syntax tree, parents first."""
    if isinstance(value, tuple):
        for item in value:
            yield from nodes(item)
    elif is_dataclass(value) and not isinstance(value, (Span, Source)):
        yield value
        for part in fields(value):
            yield from nodes(getattr(value, part.name))


def covered(span: Span) -> str:
    """The text that a span covers."""
    lines = span.source.text.split("\n")[span.line - 1 : span.end_line]
    lines[-1] = lines[-1][: span.end_column - 1]
    lines[0] = lines[0][span.column - 1 :]
    return "\n".join(lines)


def inside(span: Span) -> bool:
    lines = [len(line) for line in span.source.text.split("\n")]
    ends = ((span.line, span.column), (span.end_line, span.end_column))
    return ends[0] <= ends[1] and all(1 <= line <= len(lines) and 1 <= at <= lines[line - 1] + 1 for line, at in ends)


# What is accepted


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_of_the_language_page_parse(name: str) -> None:
    assert parse(Source(name, PROGRAMS[name])).version == 1


def test_alexnet_has_the_shape_of_the_paper() -> None:
    file = parse(Source("model.alx", PROGRAMS["alexnet"]))
    (net,) = file.definitions
    assert (net.kind, net.name, [p.name for p in net.parameters]) == ("net", "AlexNet", ["classes"])
    assert [[op.id for op in rule.ops] for rule in net.body.defaults] == [["conv", "fc"], ["lrn"]]
    image, features = net.body.lets
    assert image.names[0].id == "image"
    assert isinstance(features.value, syntax.Chain)
    labels = [stage.label for stage in features.value.stages if stage.label]
    assert labels == ["conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5"]
    assert [(s.kind, s.name) for s in file.sections] == [
        ("data", "imagenet"),
        ("train", "paper"),
        ("place", "two_gpus"),
    ]


def test_words_of_the_grammar_are_names_elsewhere() -> None:
    for word in sorted(KEYWORDS.keys() - set(RESERVED)):
        text = (
            f"alx 1 net {word}({word}) {{ {word} = {word}({word} = {word}) -> {word}: {word} * {word} return {word} }}"
        )
        definition = parse(Source("model.alx", f"{text} data {word} {{ {word}: {word} }}")).definitions[0]
        assert definition.body.lets[0].names[0].id == word


@pytest.mark.parametrize(
    ("text", "value"),
    [("10", 10), ("450_000", 450_000), ("0.5", 0.5), (".5", 0.5), ("1e-4", 1e-4), ("50%", 0.5), ("1e3", 1000.0)],
)
def test_numbers(text: str, value: float) -> None:
    number = expression(text)
    assert isinstance(number, syntax.Number)
    assert (number.value, type(number.value), number.text) == (value, type(value), text)


def test_times_multiplies_in_an_expression_and_repeats_after_a_stage() -> None:
    call = expression("f(4 * width)")
    assert isinstance(call, syntax.Call)
    assert isinstance(call.arguments[0].value, syntax.Binary)
    chain = expression("x -> f * 2 -> (g -> h) * n")
    assert isinstance(chain, syntax.Chain)
    repeats = [stage.repeat for stage in chain.stages]
    assert isinstance(repeats[0], syntax.Number)
    assert isinstance(repeats[1], syntax.Name)
    assert isinstance(chain.stages[1].unit, syntax.Group)


def test_operators_bind_as_usual() -> None:
    total = expression("1 + 2 * 3 - -4 / 5")
    assert isinstance(total, syntax.Binary)
    assert (total.op, covered(total.left.span), covered(total.right.span)) == ("-", "1 + 2 * 3", "-4 / 5")
    assert covered(expression("(1 + 2) * 3").span) == "(1 + 2) * 3"


def test_else_takes_the_whole_chain() -> None:
    choice = statement("if c then a -> f else b -> g -> h")
    assert isinstance(choice, syntax.If)
    assert (covered(choice.then.span), covered(choice.otherwise.span)) == ("a -> f", "b -> g -> h")
    chain = statement("x -> (if c then f else g(1)) -> h")
    assert isinstance(chain, syntax.Chain)
    assert isinstance(chain.stages[0].unit, syntax.StageIf)


def test_every_terminal_of_the_grammar_is_cut_by_the_scanner() -> None:
    known = {*KEYWORDS.values(), *MARKS.values(), "NAME", "NUMBER", "STRING"}
    assert {terminal.name for terminal in grammar().terminals} == known


# Where things stand

SPANS = """alx 1
net A(n = 2 * 3, act) {
  defaults { conv, fc: (bias = 0) }
  x, y = a
    -> conv1: conv(96, (3, 4), pad = -1) * n -> relu
  return x, (y)
}
data d {
  source: folder("a b")
}
"""


def test_spans_cover_exactly_what_was_written() -> None:
    file = parse(Source("model.alx", SPANS))
    net, data = file.definitions[0], file.sections[0]
    chain = net.body.lets[0].value
    assert isinstance(chain, syntax.Chain)
    stage = chain.stages[0]
    call = stage.unit
    assert isinstance(call, syntax.Call)
    assert stage.label_span
    got = [
        net.name_span,
        *(p.span for p in net.parameters),
        net.body.defaults[0].span,
        net.body.defaults[0].ops[1].span,
    ]
    assert [covered(span) for span in got] == ["A", "n = 2 * 3", "act", "conv, fc: (bias = 0)", "fc"]
    got = [net.body.lets[0].span, chain.head.span, stage.span, stage.label_span, call.span, call.name_span]
    assert [covered(span) for span in got[1:]] == [
        "a",
        "conv1: conv(96, (3, 4), pad = -1) * n",
        "conv1",
        "conv(96, (3, 4), pad = -1)",
        "conv",
    ]
    assert covered(got[0]) == "x, y = a\n    -> conv1: conv(96, (3, 4), pad = -1) * n -> relu"
    assert [covered(a.span) for a in call.arguments] == ["96", "(3, 4)", "pad = -1"]
    assert [covered(a.value.span) for a in call.arguments] == ["96", "(3, 4)", "-1"]
    assert [covered(result.span) for result in net.body.results] == ["x", "y"]
    assert covered(net.body.span) == SPANS[SPANS.index(") {") + 2 : SPANS.index("\ndata")]
    assert covered(data.span) == SPANS[SPANS.index("data") : -1]
    field = data.fields[0]
    assert (covered(field.span), covered(field.name_span)) == ('source: folder("a b")', "source")
    assert (field.span.line, field.span.column, field.span.end_line, field.span.end_column) == (9, 3, 9, 24)


@pytest.mark.parametrize("name", PROGRAMS)
def test_spans_nest_and_names_cover_themselves(name: str) -> None:
    for node in nodes(parse(Source(name, PROGRAMS[name]))):
        span = getattr(node, "span", None)
        if span is not None:
            assert inside(span)
        if isinstance(node, syntax.Name):
            assert covered(node.span) == node.id
        if isinstance(node, (syntax.Definition, syntax.Section, syntax.Field)):
            assert covered(node.name_span) == node.name
        if isinstance(node, syntax.Call):
            assert covered(node.name_span) == node.callee


# What is said of mistakes


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_bad_programs_are_explained(path: Path, golden: Callable[[Path, str], None]) -> None:
    report = check(Source("model.alx", path.read_text(encoding="utf-8")))
    assert report.all
    golden(path.with_suffix(".txt"), "\n\n".join(d.render() for d in report.all) + "\n")


@pytest.mark.parametrize("text", ["", "1 +", "a b", "f(", "a, b", "alx 1", '"'])
def test_bad_expressions_are_explained(text: str) -> None:
    with pytest.raises(AlexnetError) as caught:
        expression(text)
    assert all(d.code in CODES and d.span and inside(d.span) for d in caught.value.diagnostics)


@pytest.mark.parametrize(
    "text", ["-" * 9999 + "x", "(" * 9999 + "x" + ")" * 9999, "x -> " + "(" * 999, "1" + "+1" * 999]
)
def test_depth_is_limited_by_a_message(text: str) -> None:
    with pytest.raises(AlexnetError):
        expression(text)


def test_sixty_calls_may_be_nested() -> None:
    assert expression("f(" * 60 + "x" + ")" * 60)


def diagnostics(text: str) -> tuple[Diagnostic, ...]:
    try:
        parse(Source("model.alx", text))
    except AlexnetError as mistake:
        return mistake.diagnostics
    return ()


def refuses_politely(text: str) -> None:
    for diagnostic in diagnostics(text):
        assert diagnostic.code in CODES
        assert diagnostic.span
        assert inside(diagnostic.span)
        assert diagnostic.render()


SCRAPS = st.lists(st.sampled_from([piece for pieces in PIECES for piece in pieces])).map("".join)


@given(st.text() | st.text("()[]{}->=:,*\"'#\n\t 01.e%abx;") | SCRAPS)
@settings(max_examples=150, deadline=None)
def test_any_text_gives_a_tree_or_diagnostics(text: str) -> None:
    refuses_politely(text)
    refuses_politely("alx 1\nnet A {" + text)


@st.composite
def mutants(draw: st.DrawFn) -> str:
    """A program with a few pieces deleted, doubled, exchanged or put in."""
    pieces = list(draw(st.sampled_from(PIECES)))
    for _ in range(draw(st.integers(1, 4))):
        i, j = draw(st.integers(0, len(pieces) - 1)), draw(st.integers(0, len(pieces) - 1))
        match draw(st.sampled_from(["delete", "double", "exchange", "insert"])):
            case "delete":
                del pieces[i : i + draw(st.integers(1, 3))]
                pieces = pieces or [""]
            case "double":
                pieces.insert(i, pieces[i])
            case "exchange":
                pieces[i], pieces[j] = pieces[j], pieces[i]
            case _:
                pieces.insert(i, draw(st.sampled_from(["return", "net x {", "\n", *"()[]{}\"'#,:=*-;é.5"])))
    return "".join(pieces)


@given(mutants())
@settings(max_examples=150, deadline=None)
def test_mutated_programs_give_a_tree_or_diagnostics(text: str) -> None:
    refuses_politely(text)


@given(mutants())
@example("alx 1\nnet A {\n  0 = input(}, 2)\n  return x\n  y = x\n3")
@settings(max_examples=100, deadline=None)
def test_mutated_programs_are_checked_to_the_end(text: str) -> None:
    for diagnostic in check(Source("model.alx", text)).all:
        assert diagnostic.code in CODES
        assert diagnostic.render()


# The tables on disk


def run_check(cache: Path) -> None:
    program = "from alexnet_ir.dsl.parser import grammar; print(len(grammar().rules) > 40)"
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("True\n", "")


@pytest.mark.parametrize("damage", ["missing", "empty", "noise", "truncated", "a folder", "a file for a folder"])
def test_the_cache_may_be_in_any_state(tmp_path: Path, damage: str) -> None:
    tables = tmp_path / "alexnet-ir" / "grammar.tables"
    if damage == "a file for a folder":
        tables.parent.write_text("")
    elif damage != "missing":
        run_check(tmp_path)
        whole = tables.read_bytes()
        tables.unlink()
        if damage == "a folder":
            tables.mkdir()
        else:
            tables.write_bytes({"empty": b"", "noise": whole[:65] + b"\x80\xff" * 50, "truncated": whole[:-40]}[damage])
    run_check(tmp_path)
