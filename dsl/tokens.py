"""Cutting a text into tokens. Misspellings that have one obvious meaning are reported and mended on the way."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import cast

from lark import Token
from lark.tree import Meta

from alexnet_ir.diagnostics import Diagnostics, Source, Span

MARKS = {
    "->": "ARROW",
    "(": "LPAR",
    ")": "RPAR",
    "[": "LSQB",
    "]": "RSQB",
    "{": "LBRACE",
    "}": "RBRACE",
    ",": "COMMA",
    ":": "COLON",
    "=": "EQUAL",
    "+": "PLUS",
    "-": "MINUS",
    "*": "STAR",
    "/": "SLASH",
}
SECTIONS = ("data", "train", "place")
RESERVED = ("if", "then", "else", "return")
KEYWORDS = {word: word.upper() for word in ("alx", "net", "block", *SECTIONS, "defaults", *RESERVED)}
MISSPELT = {"-->": "->", "=>": "->", "|>": "->", "→": "->", ":=": "=", "==": "=", ";": ""}
END = "$END"

_NUMBER = re.compile(r"(?:D(?:\.D)?|\.D)(?:[eE][+-]?D)?%?".replace("D", "[0-9]+(?:_[0-9]+)*"))
_TOKEN = re.compile(
    r"""
    (?P<space>[\s\ufeff]+)
  | (?P<comment>\#[^\n]*)
  | (?P<slashes>//[^\n]*)
  | (?P<number>\.?[0-9](?:[eE][+-](?!>)|[\w.%])*)
  | (?P<name>[^\W\d]\w*)
  | (?P<string>"[^"\n]*")
  | (?P<open>"[^"\n]*?(?=[])},\s]*(?:\#[^\n]*)?$))
  | (?P<quoted>'[^'\n]*')
  | (?P<misspelt>-->|=>|\|>|→|:=|==|;)
  | (?P<mark>->|[-+*/()\[\]{},:=])
  | (?P<other>[^\s\x21-\x7e]+|.)
    """,
    re.VERBOSE | re.MULTILINE,
)


def span_of(source: Source, place: Token | Meta) -> Span:
    """Where a token or a tree stands."""
    place_numbers = (place.line, place.column, place.end_line, place.end_column)
    return Span(source, *cast("tuple[int, int, int, int]", place_numbers))


def number_value(text: str) -> int | float | None:
    """The value of a number as it is written; None if it is malformed or larger than a machine's."""
    if not _NUMBER.fullmatch(text):
        return None
    digits = text.replace("_", "")
    if digits.isdigit():
        return int(digits) if len(digits) < 25 and int(digits) < 2**63 else None
    value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    return value if math.isfinite(value) else None


def scan(source: Source, found: Diagnostics) -> Iterator[Token]:
    """The tokens of `source`, comments among them, and an END just after the last; mistakes go to `found`."""
    line, line_start, last = 1, 0, Token(END, "", 0, 1, 1, 1, 1, 0)
    for match in _TOKEN.finditer(source.text):
        kind, text, start = match.lastgroup or "", match.group(), match.start()
        if kind == "space":
            if "\n" in text:
                line += text.count("\n")
                line_start = start + text.rindex("\n") + 1
            continue
        column = start - line_start + 1
        token = Token(kind, text, start, line, column, line, column + len(text), match.end())
        token.type = _type(kind, token, source, found)
        if token.type:
            yield token
            if token.type != "COMMENT":
                last = token
    yield Token(END, "", last.end_pos, last.end_line, last.end_column, last.end_line, last.end_column, last.end_pos)


def _type(kind: str, token: Token, source: Source, found: Diagnostics) -> str:
    """The grammar's name for a token, after the report of what is wrong with it; empty for one to be left out."""
    text = str(token)
    _report(kind, text, span_of(source, token), found)
    match kind:
        case "mark":
            return MARKS[text]
        case "name":
            return KEYWORDS.get(text, "NAME")
        case "misspelt":
            return MARKS.get(MISSPELT[text], "")
        case "open" | "quoted":
            return "STRING"
        case "number" | "string" | "comment":
            return kind.upper()
    return ""


def _report(kind: str, text: str, span: Span, found: Diagnostics) -> None:
    match kind:
        case "other":
            _unexpected(text, span, found)
        case "name" if not text.isascii():
            _unexpected(text, span, found)
        case "number" if number_value(text) is None:
            _bad_number(text, span, found)
        case "open":
            found.error("P002", "this string is not closed", span, label='no `"` before the end of the line')
        case "quoted":
            found.error("P004", "a string stands in double quotes", span, helps=[f'write "{text[1:-1]}"'])
        case "slashes":
            found.error("P004", "a comment starts with `#`", span, helps=["write `#` for `//`"])
        case "misspelt":
            _misspelt(text, span, found)


def _unexpected(text: str, span: Span, found: Diagnostics) -> None:
    odd = next((c for c in text if not c.isascii()), text[0])
    shown = f"`{odd}`" if odd.isprintable() else f"U+{ord(odd):04X}"
    helps = ["names are made of the letters a to z and A to Z, digits and `_`"] if odd.isalnum() else []
    found.error("P001", f"unexpected character {shown}", span, helps=helps)


def _bad_number(text: str, span: Span, found: Diagnostics) -> None:
    number = re.match(r"\.?[0-9](?:[0-9_.]*[0-9])?(?:[eE][+-]?[0-9]+)?", text)
    start = number.group() if number else text
    if _NUMBER.fullmatch(text):
        found.error("P003", f"`{text}` is too large", span, helps=["a number is less than 2 to the power of 63"])
    elif start.count(".") > 1:
        found.error("P003", f"`{text}` is not a number", span, label="it has more than one decimal point")
    elif text == start + ".":
        found.error("P003", f"`{text}` is not a number", span, helps=[f"write `{start}` or `{start}.0`"])
    else:
        rest = text[len(start) :]
        helps = [f"write `{start}`; sizes are counts of pixels and have no unit"] if rest == "px" else []
        found.error("P003", f"`{text}` is not a number", span, label=f"`{rest}` after the number {start}", helps=helps)


def _misspelt(text: str, span: Span, found: Diagnostics) -> None:
    meant = MISSPELT[text]
    if text == "==":
        helps = ["a condition is `true`, `false`, or a parameter that is one; to give a value, write `=`"]
        found.error("P004", "nothing is compared by `==`", span, helps=helps)
    elif meant:
        found.error("P004", f"`{text}` is written `{meant}`", span, helps=[f"write `{meant}` for `{text}`"])
    else:
        helps = [f"leave `{text}` out: the next statement starts wherever the last one ends"]
        found.error("P004", f"nothing is separated by `{text}`", span, helps=helps)
