"""Where something stands in a file, and how the user is told that it is wrong there.

Every room reports a user's mistake as a `Diagnostic`; nothing else is shown to users. Mistakes are collected in a
`Diagnostics` and raised together as one `AlexnetError`, so that the first does not hide the others.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Source:
    """A text that spans point into. `name` is what messages call it: a path as the user gave it, or `--set`."""

    name: str
    text: str = field(default="", repr=False, compare=False)

    def line(self, number: int) -> str:
        """Line `number`, counted from 1, without its newline; empty if there is none."""
        lines = self.text.split("\n")
        return lines[number - 1].rstrip("\r") if 1 <= number <= len(lines) else ""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a source; lines and columns count from 1, the end column is the first one after the stretch."""

    source: Source
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line}:{self.column}"

    def to(self, other: Span) -> Span:
        """From the start of this span to the end of `other`."""
        return Span(self.source, self.line, self.column, other.end_line, other.end_column)


ANSI = {"error": "\x1b[1;31m", "warning": "\x1b[1;33m", "plain": "\x1b[0m"}


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One message. `label` stands under the underlined span; `notes` say why, `helps` how to mend it."""

    code: str
    message: str
    span: Span | None = None
    label: str = ""
    notes: tuple[str, ...] = ()
    helps: tuple[str, ...] = ()
    severity: Literal["error", "warning"] = "error"

    def render(self, *, color: bool = False) -> str:
        """The message as it is shown: file, line, column, the source line, the span underlined, notes and helps. In
        colour, severity and underline stand out by ANSI escapes."""
        code = f"[{self.code}]" if self.code else ""
        begin, end = (ANSI[self.severity], ANSI["plain"]) if color else ("", "")
        out = [f"{begin}{self.severity}{code}{end}: {self.message}"]
        gutter = " "
        if self.span is not None:
            number = str(self.span.line)
            gutter = " " * len(number)
            out.append(f"{gutter}--> {self.span}")
            text = self.span.source.line(self.span.line)
            if text:
                out += [
                    f"{gutter} |",
                    f"{number} | {text.expandtabs(1)}",
                    f"{gutter} | {begin}{self._underline(text)}{end}",
                ]
        out += [f"{gutter} = note: {note}" for note in self.notes]
        out += [f"{gutter} = help: {help_}" for help_ in self.helps]
        return "\n".join(out)

    def _underline(self, text: str) -> str:
        assert self.span is not None
        start = self.span.column
        one_line = self.span.end_line == self.span.line
        end = self.span.end_column if one_line else len(text.rstrip()) + 1
        carets = " " * (start - 1) + "^" * max(1, end - start)
        return f"{carets} {self.label}".rstrip()

    def to_json(self) -> dict[str, object]:
        """The same as plain data, for `--json`."""
        where = None
        if self.span is not None:
            where = {
                "file": self.span.source.name,
                "line": self.span.line,
                "column": self.span.column,
                "end_line": self.span.end_line,
                "end_column": self.span.end_column,
            }
        return {
            "severity": self.severity,
            "code": self.code,
            "message": self.message,
            "span": where,
            "label": self.label,
            "notes": list(self.notes),
            "helps": list(self.helps),
        }


class AlexnetError(Exception):
    """Everything that is the user's to mend: one or more diagnostics, printed without a traceback."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n\n".join(d.render() for d in self.diagnostics))


def error(
    message: str,
    *,
    code: str = "",
    span: Span | None = None,
    label: str = "",
    notes: Iterable[str] = (),
    helps: Iterable[str] = (),
) -> AlexnetError:
    """One error, ready to raise."""
    return AlexnetError([Diagnostic(code, message, span, label, tuple(notes), tuple(helps))])


class Diagnostics:
    """Collects what is wrong, each once: a block called twice reports a mistake in its body one time."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, Span | None, str], Diagnostic] = {}

    def add(self, diagnostic: Diagnostic) -> None:
        """Keep `diagnostic` unless one with the same code stands at the same place."""
        anywhere = diagnostic.message if diagnostic.span is None else ""
        self._seen.setdefault((diagnostic.code, diagnostic.span, anywhere), diagnostic)

    def error(
        self,
        code: str,
        message: str,
        span: Span | None,
        *,
        label: str = "",
        notes: Iterable[str] = (),
        helps: Iterable[str] = (),
    ) -> None:
        """Report an error at `span`."""
        self.add(Diagnostic(code, message, span, label, tuple(notes), tuple(helps)))

    def warning(
        self, code: str, message: str, span: Span | None, *, label: str = "", helps: Iterable[str] = ()
    ) -> None:
        """Report a warning at `span`: it is shown and stops nothing."""
        self.add(Diagnostic(code, message, span, label, (), tuple(helps), "warning"))

    @property
    def all(self) -> tuple[Diagnostic, ...]:
        """Everything reported, in the order of the source."""

        def place(d: Diagnostic) -> tuple[str, int, int]:
            return (d.span.source.name, d.span.line, d.span.column) if d.span else ("", 0, 0)

        return tuple(sorted(self._seen.values(), key=place))

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """The errors among them."""
        return tuple(d for d in self.all if d.severity == "error")

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """The warnings among them."""
        return tuple(d for d in self.all if d.severity == "warning")

    def raise_errors(self) -> None:
        """Raise what was collected, warnings included, if there is an error among it."""
        if self.errors:
            raise AlexnetError(self.all)


def counted(count: int, noun: str) -> str:
    """`1 value`, `2 values`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listed(words: Iterable[str]) -> str:
    """`a, b and c`."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was probably meant to be, or None."""
    by_small = {name.lower(): name for name in known}
    matches = difflib.get_close_matches(word.lower(), by_small, n=1, cutoff=0.6)
    if not matches or (len(word) <= 3 and matches[0][0] != word[0].lower()):  # `mse` is no misspelt `set`
        return None
    return by_small[matches[0]]
