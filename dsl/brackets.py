"""Pairing brackets before parsing, so that one left open is reported where it opened and not where the file ends.

The parser then reads a balanced text: what is missing is put in, what is too much is left out.
"""

from __future__ import annotations

from lark import Token

from alexnet_ir.diagnostics import Diagnostics, Source, Span
from alexnet_ir.dsl.tokens import END, KEYWORDS, RESERVED, span_of

PAIRS = {"LPAR": "RPAR", "LSQB": "RSQB", "LBRACE": "RBRACE"}
MARK = {"LPAR": "(", "RPAR": ")", "LSQB": "[", "RSQB": "]", "LBRACE": "{", "RBRACE": "}"}
NAMES = {"NAME", *KEYWORDS.values()} - {word.upper() for word in RESERVED}
ITEMS = {"NET", "BLOCK", "DATA", "TRAIN", "PLACE"}


def first_on_line(tokens: list[Token], i: int) -> bool:
    """Whether token `i` begins its line."""
    return i == 0 or tokens[i].line != tokens[i - 1].line


def starts_item(tokens: list[Token], i: int) -> bool:
    """Whether an item begins at token `i`, however the brackets before it stand."""
    if tokens[i].type not in ITEMS or not first_on_line(tokens, i) or i + 2 >= len(tokens):
        return False
    return tokens[i + 1].type in NAMES and tokens[i + 2].type in ("LPAR", "LBRACE")


class Balancer:
    """One walk over the tokens. `tokens` is the balanced text, `doubtful` the stretches that the parser may misread."""

    def __init__(self, source: Source, found: Diagnostics) -> None:
        self.source = source
        self.found = found
        self.tokens: list[Token] = []
        self.doubtful: list[Span] = []
        self._open: list[Token] = []
        self._indent: dict[int | None, int] = {}
        self._suspect: Token | None = None

    def run(self, tokens: list[Token]) -> None:
        for i, token in enumerate(tokens):
            self._indent.setdefault(token.line, token.column or 1)
            if token.type == END or starts_item(tokens, i):
                self._close_above(0, token)
            elif token.type == "RETURN" and first_on_line(tokens, i):
                self._close_above(self._innermost("LBRACE"), token)
            if token.type in PAIRS.values():
                self._close(token)
            else:
                self.tokens.append(token)
                if token.type in PAIRS:
                    self._open.append(token)

    def _innermost(self, *kinds: str) -> int:
        """How many brackets are open up to and with the innermost of these kinds; 0 if none is."""
        return next((i for i in range(len(self._open), 0, -1) if self._open[i - 1].type in kinds), 0)

    def _close(self, token: Token) -> None:
        match = self._innermost(next(left for left, right in PAIRS.items() if right == token.type))
        brace = self._innermost("LBRACE")
        if match and match >= brace:
            self._close_above(match, token)
            self._note_indent(token)
            self._open.pop()
            self.tokens.append(token)
        elif len(self._open) > brace and token.type != "RBRACE":
            self._mismatch(token)
        else:
            self.found.error("P006", f"this `{token}` closes nothing", span_of(self.source, token))

    def _note_indent(self, token: Token) -> None:
        """A `}` further left than the line of its `{` more likely belongs to a brace outside of it."""
        opener = self._open[-1]
        begins_line = self._indent[token.line] == token.column
        if token.type == "RBRACE" and begins_line and self._indent[opener.line] > self._indent[token.line]:
            self._suspect = self._suspect or opener

    def _mismatch(self, token: Token) -> None:
        opener = self._open.pop()
        wanted = MARK[PAIRS[opener.type]]
        self.found.error(
            "P006",
            f"`{token}` does not close `{opener}`",
            span_of(self.source, token),
            label=f"expected `{wanted}`",
            notes=[f"the `{opener}` is on line {opener.line}, column {opener.column}"],
        )
        self.tokens.append(self._closer(opener, token))

    def _close_above(self, depth: int, at: Token) -> None:
        """Report all brackets that are open beyond `depth`, noticed before `at`, and put in what closes them."""
        for opener in reversed(self._open[depth:]):
            self.tokens.append(self._closer(opener, at))
            blamed = self._suspect if opener.type == "LBRACE" and self._suspect else opener
            span = span_of(self.source, blamed)
            end = "the file ends" if at.type == END else f"`{at}` on line {at.line} comes"
            closer = MARK[PAIRS[opener.type]]
            self.found.error(
                "P005",
                f"this `{blamed}` is never closed",
                span,
                notes=[f"{end} before its `{closer}`"],
            )
            self.doubtful.append(span.to(span_of(self.source, at)))
        del self._open[depth:]

    def _closer(self, opener: Token, at: Token) -> Token:
        kind = PAIRS[opener.type]
        return Token.new_borrow_pos(kind, MARK[kind], at)
