"""The formatter: one style, reached in one step, that changes nothing but white space."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet_ir.diagnostics import AlexnetError, Diagnostics, Source
from alexnet_ir.dsl.formatter import WIDTH, format_source
from alexnet_ir.dsl.tokens import scan

HERE = Path(__file__).parent
PROGRAMS = [path.read_text(encoding="utf-8") for path in sorted(HERE.glob("programs/*.alx"))]
PIECES = [re.findall(r'#[^\n]*|"[^"]*"|\s+|->|\de-\d|[\w.%]+|.', text) for text in PROGRAMS]


def tidy(text: str) -> str:
    return format_source(Source("model.alx", text))


def tokens(text: str) -> list[tuple[str, str]]:
    """The tokens of a text, comments among them, without their places."""
    return [(token.type, token.rstrip()) for token in scan(Source("model.alx", text), Diagnostics())]


@pytest.mark.parametrize("path", sorted(HERE.glob("format/*.alx")), ids=lambda path: path.stem)
def test_goldens(path: Path, golden: Callable[[Path, str], None]) -> None:
    golden(path.with_suffix(".txt"), tidy(path.read_text(encoding="utf-8")))


def test_programs_of_the_language_page_stay_as_they_are_but_for_aligned_columns() -> None:
    for text in PROGRAMS:
        old = [re.sub(" +", " ", line.strip()) for line in text.split("\n") if len(line) <= WIDTH]
        new = [re.sub(" +", " ", line.strip()) for line in tidy(text).split("\n")]
        assert [line for line in old if line not in new] == [
            line for line in old if line.startswith("net: net(") or line.startswith("place place")
        ]


def test_layout_of_alexnet() -> None:
    lines = tidy(PROGRAMS[0]).split("\n")
    assert lines[8:11] == [
        "  features = image",
        "    -> conv1: conv(96, 11, stride = 4, pad = (0, 3))  # 224 -> 55; the 2012 code rounded up",
        "    -> relu",
    ]
    assert "  schedule: plateau(factor = 1/10, max_drops = 3)" in lines


@pytest.mark.parametrize(
    ("loose", "tight"),
    [
        ("x=f( a ,b=[ 1,2 ] )", "x = f(a, b = [1, 2])"),
        ("x=- 1+2*-y/3", "x = -1 + 2 * -y / 3"),
        ("x = 1 / 10 - - y", "x = 1/10 - -y"),
        ("x=a->l:f( 1 )*2->( g->h )*n", "x = a -> l: f(1) * 2 -> (g -> h) * n"),
        ("x=if c then(a->f)else b->( if d then f else g )", "x = if c then (a -> f) else b -> (if d then f else g)"),
        ("a ,b=c", "a, b = c"),
    ],
)
def test_spaces(loose: str, tight: str) -> None:
    assert tidy(f"alx 1 block b(x){{{loose} return x}}") == f"alx 1\n\nblock b(x) {{ {tight} return x }}\n"


def test_an_arrow_at_the_end_of_a_line_goes_to_the_next() -> None:
    assert "  y = x\n    -> relu\n" in tidy("alx 1 block b(x) {\ny = x ->\nrelu\nreturn y }")


def test_what_does_not_parse_is_not_formatted() -> None:
    with pytest.raises(AlexnetError):
        tidy("alx 1 net A {")


@st.composite
def untidy(draw: st.DrawFn) -> str:
    """A program with white space between its tokens changed and comments put in."""
    pieces = list(draw(st.sampled_from(PIECES)))
    spaces = st.sampled_from(
        [" ", "  ", "\n", "\n\n\n", "\t", "\r\n", " # a note\n", "\n# a line of its own\n\n", "\n  #\n"]
    )
    for _ in range(draw(st.integers(0, 30))):
        i = draw(st.integers(0, len(pieces) - 1))
        if pieces[i].isspace():
            pieces[i] = draw(spaces)
        elif not pieces[i].startswith("#"):
            pieces[i] += draw(spaces)
    return "".join(piece + "\n" if piece.startswith("#") else piece for piece in pieces)


@given(untidy())
@settings(max_examples=150, deadline=None)
def test_formatting_is_idempotent_and_keeps_tokens_and_comments(text: str) -> None:
    once = tidy(text)
    assert tokens(once) == tokens(text)
    assert tidy(once) == once
    assert once.endswith("\n")
    assert not once.endswith("\n\n")
    assert "\n\n\n" not in once
    assert not re.search(r"[ \t]\n", once)
