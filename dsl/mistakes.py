"""What to say of a text that the grammar does not accept.

The tokens are read once more without building a tree; after a mistake the next statement, field or item is looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from lark import Token

from alexnet_ir.diagnostics import Diagnostic, Diagnostics, Source, Span, nearest
from alexnet_ir.dsl.brackets import ITEMS, NAMES, first_on_line, starts_item
from alexnet_ir.dsl.tokens import END, KEYWORDS, MARKS, RESERVED, span_of

Table: TypeAlias = Mapping[int, Mapping[str, tuple[Any, Any]]]

_TEXT = {"NAME": "a name", "NUMBER": "a number", "STRING": "a string"}
_TEXT |= {kind: f"`{text}`" for text, kind in (KEYWORDS | MARKS).items()}
_TEXT[END] = "the end of the text"
_OPERATORS = {"ARROW", "PLUS", "MINUS", "STAR", "SLASH"}
_EXPRESSION = {"NAME", "NUMBER", "STRING", "LPAR", "LSQB", "MINUS", "IF"}


@dataclass(frozen=True)
class Stop:
    """Where the grammar stopped: token `i`, and the types that it would have accepted there."""

    tokens: list[Token]
    i: int
    expected: frozenset[str]
    source: Source

    @property
    def kind(self) -> str:
        return self.tokens[self.i].type

    def at(self, offset: int) -> Token:
        """The token so many places away, END beyond either end."""
        i = self.i + offset
        return self.tokens[i] if 0 <= i < len(self.tokens) else self.tokens[-1]

    def error(self, code: str, message: str, offset: int = 0, label: str = "", *helps: str) -> Diagnostic:
        return Diagnostic(code, message, span_of(self.source, self.at(offset)), label, (), helps)


class Recogniser:
    """The LALR machine without a tree: it tells what is expected and can be set back to go on after a mistake."""

    def __init__(self, table: Table, start: int, end: int) -> None:
        self.table, self.end, self.stack = table, end, [start]

    def advance(self, kind: str, stack: list[int] | None = None) -> bool:
        """Take a token of this kind; False, and nothing changes, if the grammar has none here."""
        trial = list(self.stack if stack is None else stack)
        while not (kind == END and trial[-1] == self.end):
            _, argument = self.table[trial[-1]].get(kind, (None, None))
            if argument is None:
                return False
            if isinstance(argument, int):
                trial.append(argument)
                break
            del trial[len(trial) - len(argument.expansion) :]
            trial.append(self.table[trial[-1]][argument.origin.name][1])
        self.stack = trial
        return True

    def expected(self) -> frozenset[str]:
        before = self.stack
        kinds = [kind for kind in self.table[before[-1]] if kind.isupper() and self.advance(kind, before)]
        self.stack = before
        return frozenset(kinds)

    def fall_back(self, kind: str, ends: tuple[str, ...]) -> bool:
        """Leave as few unfinished constructs as possible to be where this kind and one of `ends` can follow."""
        before = self.stack
        for depth in range(len(before), 0, -1):
            place = before[:depth]
            if any(self.advance(end, place) for end in ends) and self.advance(kind, place):
                return True
        self.stack = before
        return False


def report(machine: Recogniser, tokens: list[Token], doubtful: list[Span], source: Source, found: Diagnostics) -> None:
    """Report every mistake in `tokens`, save those that a mistake already reported may have caused."""
    depths, i = _depths(tokens), 0
    while i < len(tokens):
        if machine.advance(tokens[i].type):
            i += 1
            continue
        stop = Stop(tokens, i, machine.expected(), source)
        diagnostic = explain(stop)
        here = span_of(source, stop.at(-1 if i else 0)).to(span_of(source, stop.at(0)))
        if not any(_overlap(here, other) for other in doubtful):
            found.add(diagnostic)
        i = _go_on(machine, stop, diagnostic.code, depths)


def _go_on(machine: Recogniser, stop: Stop, code: str, depths: list[int]) -> int:
    """The token to go on with, the machine made ready for it."""
    tokens, i = stop.tokens, stop.i
    if code == "P011":
        return i + 1
    if code == "P007":
        machine.advance("ALX")
        machine.advance("NUMBER")
        return i + 2 if stop.at(1).type == "NUMBER" else i
    if code in ("P016", "P021"):
        closers = (j for j in range(i, len(tokens)) if tokens[j].type == "RBRACE")
        i = next(closers, len(tokens)) + (code == "P016")
    for j in range(i, len(tokens)):
        ends = _where(tokens, j, depths)
        if ends and machine.fall_back(tokens[j].type, ends):
            return j + 1
    return len(tokens)


def _where(tokens: list[Token], i: int, depths: list[int]) -> tuple[str, ...]:
    """If something new begins at token `i`: what could stand there too, so that the place for it is known."""
    token = tokens[i]
    if token.type == "RBRACE" or (token.type == "RETURN" and first_on_line(tokens, i)):
        return (token.type,)
    if starts_item(tokens, i):
        return (END,)
    statement = token.type in NAMES and first_on_line(tokens, i) and depths[i] == 0
    return ("RETURN", "RBRACE") if statement and tokens[i + 1].type in ("EQUAL", "COLON") else ()


def _depths(tokens: list[Token]) -> list[int]:
    """How many round and square brackets are open before each token."""
    depths, depth = [], 0
    for token in tokens:
        depths.append(depth)
        depth += (token.type in ("LPAR", "LSQB")) - (token.type in ("RPAR", "RSQB"))
    return depths


def _overlap(a: Span, b: Span) -> bool:
    starts, ends = ((a.line, a.column), (b.line, b.column)), ((a.end_line, a.end_column), (b.end_line, b.end_column))
    return max(starts) < min(ends)


def explain(stop: Stop) -> Diagnostic:
    """The first explanation that fits, or else what was expected and what was found."""
    return next(filter(None, (attempt(stop) for attempt in _EXPLANATIONS)), None) or _plain(stop)


def _version(stop: Stop) -> Diagnostic | None:
    helps = ("write `alx 1` first",)
    if stop.expected == {"NUMBER"} and stop.at(-1).type == "ALX":
        return stop.error("P007", "the version has no number", -1, "", *helps)
    if stop.expected != {"ALX"}:
        return None
    if stop.kind == END:
        return stop.error("P009", "the file is empty", 0, "", "start with `alx 1` and a net: `alexnet-ir new alexnet`")
    return stop.error("P007", "a model file starts with its version", 0, "expected `alx 1`", *helps)


def _comma(stop: Stop) -> Diagnostic | None:
    if stop.kind != "COMMA" or not (stop.expected & {"RETURN", "RBRACE"} and "NAME" in stop.expected):
        return None
    what = "statements" if "RETURN" in stop.expected else "rules of `defaults`"
    if "RBRACE" in stop.expected and stop.expected & {"ARROW"}:
        what = "fields of a section"
    return stop.error("P011", f"{what} are not separated by commas", 0, "", "leave this `,` out")


def _stage(stop: Stop) -> Diagnostic | None:
    if stop.at(-1).type != "ARROW":
        return None
    if stop.kind == "IF":
        help_ = "inside a chain write `(if c then a else b)`, with the brackets"
        return stop.error("P014", "`if` stands in brackets inside a chain", 0, "", help_)
    label = f"expected a stage, found {_found(stop.at(0))}"
    return stop.error("P014", "a stage is missing after `->`", -1, label, "write an op, a block or a `(group)`")


def _label(stop: Stop) -> Diagnostic | None:
    if stop.at(-1).type != "COLON" or "NAME" not in stop.expected or "NUMBER" in stop.expected:
        return None
    label = f"expected an op, a block or a group, found {_found(stop.at(0))}"
    return stop.error("P013", f"the label `{stop.at(-2)}` has nothing to name", -2, label)


def _return(stop: Stop) -> Diagnostic | None:
    if stop.kind == "RBRACE" and "RETURN" in stop.expected:
        return stop.error("P012", "this body has no `return`", 0, "expected `return`", "end it with `return NAME`")
    if stop.kind in NAMES and "RBRACE" in stop.expected and "COMMA" in stop.expected:
        if stop.at(1).type in ("EQUAL", "COMMA"):
            return stop.error("P021", "nothing follows `return`", 0, "", "`return` is the last statement of a body")
        name = stop.at(0)
        return stop.error("P020", f"`->` is missing before `{name}`", 0, "", f"to go on with the chain: `-> {name}`")
    return None


def _reserved(stop: Stop) -> Diagnostic | None:
    if stop.kind.lower() not in RESERVED or "NAME" not in stop.expected or "NUMBER" in stop.expected:
        return None
    if stop.at(-1).type == "ARROW" and stop.at(1).type != "COLON":
        return None
    word = stop.at(0)
    message = f"expected {_list(stop.expected)}, found the reserved word `{word}`"
    help_ = f"choose another, such as `{word}_`; only `if`, `then`, `else` and `return` are reserved"
    return stop.error("P015", message, 0, "", help_)


def _defaults(stop: Stop) -> Diagnostic | None:
    if stop.kind != "LBRACE" or stop.at(-1).type != "DEFAULTS":
        return None
    return stop.error("P016", "`defaults` stands first in a body, and once", -1, "", "move it up, behind the `{`")


def _else(stop: Stop) -> Diagnostic | None:
    if "ELSE" not in stop.expected:
        return None
    for token in stop.tokens[stop.i :]:
        if token.type == "ELSE":
            return None
        if token.type in ("RETURN", "RBRACE", "EQUAL"):
            break
    label = f"expected `else`, found {_found(stop.at(0))}"
    return stop.error("P017", "this `if` has no `else`", 0, label, "write both: `if c then a else b`")


def _colon(stop: Stop) -> Diagnostic | None:
    name = stop.at(-1)
    if stop.kind == "EQUAL" and "COLON" in stop.expected:
        what = "rule of `defaults`" if "COMMA" in stop.expected else "field"
        return stop.error("P019", f"the name of a {what} is followed by `:`", 0, "", f"write `{name}: ...`")
    if stop.kind == "COLON" and {"EQUAL", "RPAR"} <= stop.expected:
        return stop.error("P019", "an argument is given with `=`", 0, "", f"write `{name} = ...`")
    return None


def _statement(stop: Stop) -> Diagnostic | None:
    if stop.expected != {"EQUAL", "COMMA"}:
        return None
    name, helps = stop.at(-1), []
    if stop.at(-2).type != "LBRACE":
        helps.append(f"to go on with the chain: `-> {name}`")
    helps.append(f"to name a value: `{name} = ...`")
    if stop.kind == "ARROW":
        helps.append(f"to end the body with it: `return {name} -> ...`")
    return stop.error("P020", f"`{name}` begins a statement, but no `=` follows", -1, "", *helps)


_EXPLANATIONS: tuple[Callable[[Stop], Diagnostic | None], ...] = (
    _version,
    _comma,
    _reserved,
    _stage,
    _label,
    _return,
    _defaults,
    _else,
    _colon,
    _statement,
)


def _plain(stop: Stop) -> Diagnostic:
    token, helps = stop.at(0), []
    if {"COMMA", "RPAR"} <= stop.expected and stop.kind in _EXPRESSION:
        helps.append("put a `,` between two arguments")
    if stop.expected >= ITEMS and (near := nearest(token, [kind.lower() for kind in sorted(ITEMS)])):
        helps.append(f"did you mean `{near}`?")
    return stop.error("P010", f"expected {_list(stop.expected)}, found {_found(token)}", 0, "", *helps)


def _found(token: Token) -> str:
    return _TEXT[END] if token.type == END else f"`{token}`"


def _list(expected: frozenset[str]) -> str:
    """What was expected, in words: an expression and not what it may begin with; no operators if others remain."""
    words, rest = [], set(expected)
    if rest >= {"NAME", "NUMBER"}:
        words.append("a count" if "STRING" not in rest else "an expression")
        rest -= _EXPRESSION | NAMES
    elif rest >= {"NAME", "LPAR"} and not rest & _OPERATORS:
        words.append("a stage")
        rest -= {"LPAR"} | NAMES
    elif "NAME" in rest:
        rest -= NAMES - {"NAME"}
    if rest > _OPERATORS:
        rest -= _OPERATORS | {"LPAR"}
    order = list(_TEXT)
    return _words([*words, *(_TEXT[kind] for kind in sorted(rest, key=order.index))])


def _words(words: list[str] | tuple[str, ...]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))
