"""From the text of a model file to its syntax tree."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Literal

from lark import Lark, Token, UnexpectedToken

from alexnet_ir.diagnostics import Diagnostics, Source, error
from alexnet_ir.dsl import syntax
from alexnet_ir.dsl.tokens import scan, span_of
from alexnet_ir.dsl.trees import Node, Reader, check_depth

Start = Literal["start", "expression"]


def parse(source: Source) -> syntax.File:
    """The syntax tree of a model file."""
    return Reader(source).file(_tree(source, "start"))


def parse_expression(source: Source) -> syntax.Expr:
    """The syntax tree of a lone expression, as in `--set net.act=tanh`."""
    return Reader(source).expr(_tree(source, "expression").children[0])


def _tree(source: Source, start: Start) -> Node:
    found = Diagnostics()
    tokens = [token for token in scan(source, found) if token.type != "COMMENT"]
    found.raise_errors()
    try:
        tree = _build(tokens, start)
    except UnexpectedToken as stop:
        raise error("unexpected here", code="P010", span=span_of(source, stop.token)) from None
    check_depth(tree, source, found)
    found.raise_errors()
    return tree


def _build(tokens: list[Token], start: Start) -> Node:
    machine = grammar().parse_interactive(start=start)
    for token in tokens:
        tree = machine.feed_token(token)
    return tree


@cache
def grammar() -> Lark:
    """The LALR tables of grammar.lark. Building them takes longer than all other start-up, so they are kept on disk."""
    text = Path(__file__).with_name("grammar.lark").read_text(encoding="utf-8")
    return Lark(
        text,
        parser="lalr",
        lexer="basic",
        start=["start", "expression"],
        propagate_positions=True,
        maybe_placeholders=True,
        cache=_cache_file() or False,
    )


def _cache_file() -> str | None:
    """Where the tables are kept. Lark checks them against the grammar and rebuilds what is missing, old or broken."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        base = os.path.expanduser("~/.cache")
    folder = os.path.join(base, "alexnet-ir")
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError:
        return None
    return os.path.join(folder, "grammar.tables")
