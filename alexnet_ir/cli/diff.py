"""`alexnet-ir diff`: how two nets, their recipes, data and placements differ in meaning."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from alexnet_ir.cli.model import choice_of
from alexnet_ir.cli.table import Row, table
from alexnet_ir.diagnostics import counted, listed
from alexnet_ir.difference.compare import Comparison, compare
from alexnet_ir.difference.nets import Difference
from alexnet_ir.dsl.model import load, read_source

WIDTH = 108
CHANGE = 44
"""A change that is longer takes two lines."""
GLUED = "\u00a0=\u00a0"
"""An argument's equals sign, at which no line is broken."""
TITLES = {"net": "net", "train": "recipe", "data": "data", "place": "placement"}


def run(args: argparse.Namespace) -> int:
    """Print what differs, or all of it as JSON; differences are no error."""
    old, new = (load(read_source(Path(file)), choice_of(args)) for file in (args.old, args.new))
    comparison = compare(old, new)
    print(json.dumps(to_json(comparison), indent=2) if args.json else text(comparison))
    return 0


def to_json(comparison: Comparison) -> dict[str, object]:
    """Both sides always as `old` and `new`; an empty text or a null line is that of a side that has no such thing."""
    old, new = comparison.totals
    return {
        "same": comparison.same,
        "old": {"file": comparison.old.source.name, "net": comparison.old.net, "totals": asdict(old)},
        "new": {"file": comparison.new.source.name, "net": comparison.new.net, "totals": asdict(new)},
        "differences": [asdict(d) for d in comparison.differences],
        "consequences": [asdict(d) for d in comparison.consequences],
        "said_otherwise": [asdict(d) for d in comparison.said_otherwise],
    }


def text(comparison: Comparison) -> str:
    """The page: sections of differences, what follows from them, what only reads differently, and totals."""
    page = _Page(*_names(comparison))
    for section, title in TITLES.items():
        page.part(title, "->", [d for d in comparison.differences if d.section == section])
    page.part("what follows", "->", comparison.consequences)
    page.part("the same in other words", "=", comparison.said_otherwise)
    head = f"{comparison.old.source.name}  ->  {comparison.new.source.name}"
    return "\n\n".join([head, *page.parts(), _totals(comparison), _verdict(comparison)])


def _names(comparison: Comparison) -> tuple[str, str]:
    """What the lines call the files: without their folders, if that tells them apart."""
    old, new = comparison.old.source.name, comparison.new.source.name
    short = Path(old).name, Path(new).name
    return short if short[0] != short[1] else (old, new)


class _Page:
    """One table through all parts, with titles and notes between its rows; what a note says is said once."""

    def __init__(self, *files: str) -> None:
        self.files = files
        self.rows: list[Row] = []
        self.titles: dict[int, str] = {}
        self.notes: dict[int, str] = {}

    def part(self, title: str, sign: str, differences: Sequence[Difference]) -> None:
        """Add a part, if there is something in it."""
        if differences:
            self.titles[len(self.rows)] = title
        subject = ""
        for difference in differences:
            shown = difference.subject if difference.subject != subject else ""
            subject = difference.subject
            first, *more = self._cells(difference, sign)
            self.rows += [(shown, difference.what, *first), *(("", "", *cells) for cells in more)]
            if difference.note not in self.notes.values():
                self.notes[len(self.rows) - 1] = difference.note

    def parts(self) -> list[str]:
        """The parts as texts."""
        found: list[list[str]] = []
        lines = table(self.rows).split("\n") if self.rows else []
        indent = " " * (4 + max((len(row[0]) for row in self.rows), default=0))
        for number, line in enumerate(lines):
            if number in self.titles:
                found.append([self.titles[number]])
            note = self.notes.get(number, "")
            found[-1] += [f"  {line}", *textwrap.wrap(note, WIDTH, initial_indent=indent, subsequent_indent=indent)]
        return ["\n".join(part) for part in found]

    def _cells(self, difference: Difference, sign: str) -> list[Row]:
        """Change and places; the two sides in rows of their own where the change is long."""
        old, new = difference.old, difference.new
        places = [f"{name}:{line}" if line else "" for name, line in zip(self.files, difference.lines, strict=True)]
        if not old or not new:
            return [(part, *(places if number == 0 else ("", ""))) for number, part in enumerate(_wrapped(old or new))]
        if len(old) + len(new) + len(sign) + 4 <= CHANGE:
            return [(f"{old}  {sign}  {new}", *places)]
        upper, lower = _wrapped(old, " " * len(sign)), _wrapped(new, sign)
        return [
            *((part, places[0] if number == 0 else "", "") for number, part in enumerate(upper)),
            *((part, "", places[1] if number == 0 else "") for number, part in enumerate(lower)),
        ]


def _wrapped(text: str, sign: str = "") -> list[str]:
    """In lines of at most CHANGE characters, the first after a sign and the others under it."""
    first = f"{sign} " if sign else ""
    later = " " * (len(first) + 2)
    glued = text.replace(" = ", GLUED)
    lines = textwrap.wrap(glued, CHANGE, initial_indent=first, subsequent_indent=later, break_long_words=False)
    return [line.replace(GLUED, " = ") for line in lines]


def _totals(comparison: Comparison) -> str:
    old, new = comparison.totals
    counts = [("parameters", old.parameters, new.parameters), ("MACs an image", old.macs, new.macs)]
    rows = [("", *_names(comparison)), *((name, f"{a:,}", f"{b:,}") for name, a, b in counts)]
    return table(rows, right=(1, 2))


def _verdict(comparison: Comparison) -> str:
    count = len(comparison.differences)
    if count:
        return f"{counted(count, 'difference')} in meaning"
    model = comparison.new
    has = ["net", "recipe" * bool(model.train), "data" * bool(model.data), "placement" * bool(model.places)]
    return f"the same {listed(filter(None, has))}"
