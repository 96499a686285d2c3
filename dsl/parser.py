"""From the text of a model file to its syntax tree."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Literal

from lark import Lark, Token, UnexpectedToken

from alexnet_ir.diagnostics import Diagnostics, Source, error
from alexnet_ir.dsl import syntax
from alexnet_ir.dsl.brackets import Balancer
from alexnet_ir.dsl.mistakes import Recogniser, report
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
    if start == "start":
        _check_version(tokens, source)
    balancer = Balancer(source, found)
    doubtful = [d.span for d in found.all if d.span]
    balancer.run(tokens)
    machine = grammar().parse_interactive(start=start)
    try:
        results = [machine.feed_token(token) for token in balancer.tokens]
    except UnexpectedToken:
        conf = machine.parser_state.parse_conf
        recogniser = Recogniser(conf.states, conf.start_state, conf.end_state)
        report(recogniser, balancer.tokens, doubtful + balancer.doubtful, source, found)
    found.raise_errors()
    tree: Node = results[-1]  # what END completes
    check_depth(tree, source, found)
    found.raise_errors()
    return tree


def _check_version(tokens: list[Token], source: Source) -> None:
    """Another version may be another language, so nothing else is said of its text."""
    word, number = tokens[0], tokens[min(1, len(tokens) - 1)]
    if word.type == "ALX" and number.type == "NUMBER" and str(number) != "1":
        raise error(
            f"this is version {number} of the language, which this release does not know",
            code="P008",
            span=span_of(source, number),
            label="expected 1",
            helps=["write `alx 1`, or install a newer release"],
        )


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
