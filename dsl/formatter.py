"""One style for model files. Only white space changes: the tokens and the comments stay as they are.

The author's line breaks are kept before `->`, `then` and `else`, between elements of lists, and around brackets; every
item, statement, field and rule begins a line, save in a `{ ... }` that was on one line and still fits there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from lark import Token

from alexnet_ir.diagnostics import Diagnostics, Source
from alexnet_ir.dsl.brackets import NAMES, PAIRS
from alexnet_ir.dsl.parser import parse
from alexnet_ir.dsl.syntax import Definition, Field, File, Let, Rule, Section
from alexnet_ir.dsl.tokens import END, scan

WIDTH = 100
INDENT = 2
_CLOSERS = set(PAIRS.values())
_ITEM = 2  # how many line ends separate items
_CONTINUES = ("ARROW", "THEN", "ELSE")
_OPERAND = {*NAMES, "NUMBER", "STRING", "RPAR", "RSQB"}


def format_source(source: Source) -> str:
    """The text of `source` in the one style."""
    file, tokens = parse(source), list(scan(source, Diagnostics()))
    version = next(token for token in tokens if token.type != "COMMENT")
    return _Page(tokens, {(version.line, version.column), *_statement_starts(file)}).text()


def _statement_starts(file: File) -> Iterator[tuple[int, int]]:
    """Line and column of every item, statement, field and rule but `defaults` and `return`, which show themselves."""
    parts: list[Definition | Section | Rule | Let | Field] = [*file.definitions, *file.sections]
    for definition in file.definitions:
        parts += [*definition.body.defaults, *definition.body.lets]
    for section in file.sections:
        parts += section.fields
    return ((part.span.line, part.span.column) for part in parts)


@dataclass
class _Line:
    """A line of the result: its tokens' indices and columns, and the statement that it is part of."""

    indent: int
    statement: int
    blank_before: bool
    text: str = ""
    comment: str = ""
    columns: list[tuple[int, int]] = field(default_factory=list)

    @property
    def width(self) -> int:
        return self.indent + len(self.text)

    def whole(self) -> str:
        return (" " * self.indent + self.text + self.comment).rstrip()


@dataclass
class _Frame:
    """An open bracket: where its closer stands, its elements, and the line that the present element began on."""

    closer: int
    content: int
    element: int


class _Page:
    """The tokens of a file, and where lines end between them; tokens are spoken of by their index."""

    def __init__(self, tokens: list[Token], starts: set[tuple[int | None, int | None]]) -> None:
        self.tokens = tokens
        self.starts = [self._is_start(i, starts) for i in range(len(tokens))]
        self.around, self.depths, self.inline = self._brackets()
        self.broken: set[int] = set()  # tokens that begin a line because theirs was too long

    def text(self) -> str:
        lines = self._lines()
        while self._shorten(lines):
            lines = self._lines()
        _align_comments(lines)
        return "".join("\n" * line.blank_before + line.whole() + "\n" for line in lines)

    def _is_start(self, i: int, starts: set[tuple[int | None, int | None]]) -> bool:
        token = self.tokens[i]
        if token.type == "DEFAULTS" and self.tokens[i + 1].type == "LBRACE":
            return True
        return token.type == "RETURN" or (token.line, token.column) in starts

    def _brackets(self) -> tuple[list[int | None], list[int], set[int]]:
        """The innermost bracket around each token, their number, and the `{` that close on their own line."""
        around: list[int | None] = []
        depths: list[int] = []
        inline: set[int] = set()
        opened: list[int] = []
        for i, token in enumerate(self.tokens):
            around.append(opened[-1] if opened else None)
            depths.append(len(opened))
            if token.type in PAIRS:
                opened.append(i)
            elif token.type in _CLOSERS:
                opener = opened.pop()
                if token.type == "RBRACE" and token.line == self.tokens[opener].line:
                    inline.add(opener)
        return around, depths, inline

    def _breaks(self, i: int) -> int:
        """How many line ends stand before token `i`."""
        if i == 0:
            return 0
        token, before = self.tokens[i], self.tokens[i - 1]
        authored = self._line_ends(i)
        if token.type == "ARROW" and self.tokens[i + 1].type != "COMMENT":
            authored = authored or self._line_ends(i + 1)
        if before.type in PAIRS or token.type in _CLOSERS:
            authored = min(authored, 1)
        if token.type == "COMMENT":
            return _ITEM if authored and self._ended_item(i) else authored
        needed = before.type == "COMMENT" or i in self.broken
        if self.depths[i] == 0 and self.starts[i]:
            return _ITEM if self._ended_item(i) else max(1, authored)
        if self.starts[i] or token.type == "RBRACE":
            return int(needed) if self.around[i] in self.inline else max(1, authored)
        return max(needed, authored if self._may_break(i) else 0)

    def _line_ends(self, i: int) -> int:
        """How many line ends the author put before token `i`, a blank line counting as two."""
        return min((self.tokens[i].line or 0) - (self.tokens[i - 1].end_line or 0), 2)

    def _ended_item(self, i: int) -> bool:
        """Whether the last token before `i` ends an item or the version; a comment on its line goes with it."""
        last = i - 1
        if self.tokens[last].type == "COMMENT" and last and self.tokens[last].line == self.tokens[last - 1].end_line:
            last -= 1
        return self.depths[i] == 0 and self.tokens[last].type in ("RBRACE", "NUMBER")

    def _may_break(self, i: int) -> bool:
        token, before = self.tokens[i], self.tokens[i - 1]
        return token.type in (*_CONTINUES, "RPAR", "RSQB") or before.type in ("COMMA", "LPAR", "LSQB")

    def _lines(self) -> list[_Line]:
        lines: list[_Line] = []
        frames, statement = [_Frame(0, 0, 0)], 0
        for i, token in enumerate(self.tokens):
            if token.type == END:
                break
            statement += self.starts[i]
            breaks = self._breaks(i)
            if breaks or not lines:
                lines.append(_Line(self._indent(i, frames[-1]), statement, breaks > 1))
            line = lines[-1]
            if token.type == "COMMENT":
                line.comment = token.rstrip()
                continue
            if self._starts_element(i):
                frames[-1].element = line.indent
            if line.text and self._space(i):
                line.text += " "
            line.columns.append((i, line.width))
            line.text += token
            if token.type in PAIRS:
                closer = frames[-1].element if token.type == "LBRACE" else line.indent
                frames.append(_Frame(closer, closer + INDENT, closer))
            elif token.type in _CLOSERS:
                frames.pop()
        return lines

    def _indent(self, i: int, frame: _Frame) -> int:
        """How far a line that begins with token `i` is indented; a comment stands where the next token would."""
        code = next(j for j in range(i, len(self.tokens)) if self.tokens[j].type != "COMMENT")
        if self.tokens[code].type in _CLOSERS:
            return frame.closer if code == i else frame.content
        if self._starts_element(code) or self.tokens[code].type == END:
            return frame.content
        return frame.element + INDENT

    def _starts_element(self, i: int) -> bool:
        if self.starts[i]:
            return True
        before = next((self.tokens[j].type for j in range(i - 1, -1, -1) if self.tokens[j].type != "COMMENT"), "")
        bracket = self.around[i]
        return before in PAIRS or (before == "COMMA" and bracket is not None and self.tokens[bracket].type != "LBRACE")

    def _space(self, i: int) -> bool:
        """Whether a space stands between token `i` and the one before it on its line."""
        token, before = self.tokens[i].type, self.tokens[i - 1].type
        if before in ("LPAR", "LSQB") or token in ("RPAR", "RSQB", "COMMA", "COLON"):
            return False
        if token == "LPAR" and before in NAMES:
            return False
        if before == "LBRACE" and token == "RBRACE":
            return False
        if before == "MINUS" and self.tokens[i - 2].type not in _OPERAND:
            return False
        return not (self._is_fraction(i) or self._is_fraction(i - 1))

    def _is_fraction(self, i: int) -> bool:
        """Whether token `i` is the stroke of `1/10`."""
        around = (self.tokens[i - 1].type, self.tokens[i].type, self.tokens[i + 1].type)
        return around == ("NUMBER", "SLASH", "NUMBER")

    def _shorten(self, lines: list[_Line]) -> bool:
        """Find a new line end in each line that is too long; False if there is nothing left to do."""
        changed = False
        for line in lines:
            if line.width > WIDTH:
                changed |= self._shorten_line(line)
        return changed

    def _shorten_line(self, line: _Line) -> bool:
        for i, _ in line.columns:
            if i in self.inline:
                self.inline.remove(i)
                return True
        places = [(self._tightness(i), end, i) for i, end in line.columns[1:] if self._tightness(i)]
        if not places:
            return False
        least = min(places)[0]
        loosest = [(end, i) for tightness, end, i in places if tightness == least]
        fitting = [i for end, i in loosest if end <= WIDTH]
        self.broken.add(fitting[-1] if fitting else loosest[0][1])
        return True

    def _tightness(self, i: int) -> int:
        """How tightly what stands around token `i` belongs together: brackets, then arrows, then commas; 0 for others,
        before which no line ends for its length."""
        if self.tokens[i - 1].type == "COMMA" and self.tokens[i].type not in _CLOSERS:
            return 2 * self.depths[i] + 1
        return 2 * self.depths[i] + 2 if self.tokens[i].type == "ARROW" else 0


def _align_comments(lines: list[_Line]) -> None:
    """Comments behind code stand in one column in neighbouring lines and throughout a statement."""
    group: list[tuple[int, _Line]] = []
    for number, line in enumerate(lines):
        if not (line.comment and line.text):
            continue
        if group:
            last_number, last = group[-1]
            apart = number > last_number + 1 or line.blank_before
            if apart and line.statement != last.statement:
                _align(group)
                group = []
        group.append((number, line))
    _align(group)


def _align(group: list[tuple[int, _Line]]) -> None:
    column = max((line.width for _, line in group), default=0) + 2
    for _, line in group:
        line.text = line.text.ljust(column - line.indent)
