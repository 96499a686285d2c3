"""A net or a training step on its devices: what stands in which device's column, and what is exchanged between them.

Every column has the same rows, one for each layer; bands between rows are where exchanges cross. Which row is above
which is said by edges, which run the way of the forward pass. `charting` makes charts, `chart_svg` and `dot` draw them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from alexnet_ir.cli.table import count_text

Phase = Literal["forward", "backward", "update"]
PHASES: tuple[Phase, ...] = ("forward", "backward", "update")


@dataclass(frozen=True, slots=True, order=True)
class Column:
    """What one device does in one phase."""

    phase: Phase
    device: int


@dataclass(frozen=True, slots=True)
class Cell:
    """A device's share of a layer. `lines[0]` is its name, `note` says how the layer is cut, `shape` what leaves it;
    what stands `aside` is there for training only."""

    lines: tuple[str, ...]
    kind: str
    note: str = ""
    shape: str = ""
    aside: bool = False


@dataclass(frozen=True, slots=True)
class Exchange:
    """What is moved at once, in a band or within a row. `links` are the devices it goes between, from and to."""

    name: str
    kind: str
    nbytes: int
    phase: Phase
    row: str
    links: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Chart:
    """All of it. `rows` are in the order of the text, `bands` in that of the program; `edges` are between both."""

    title: str
    note: str
    devices: int
    phases: tuple[Phase, ...]
    rows: tuple[str, ...]
    bands: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]
    cells: Mapping[tuple[str, Column], Cell]
    exchanges: tuple[Exchange, ...]

    @property
    def columns(self) -> list[Column]:
        """From left to right."""
        return [Column(phase, device) for phase in self.phases for device in range(self.devices)]

    def reaches(self, band: str, column: Column) -> tuple[bool, bool]:
        """Whether a device has what comes to a band from above, and something that goes on below."""
        above = any(target == band and (source, column) in self.cells for source, target in self.edges)
        below = any(source == band and (target, column) in self.cells for source, target in self.edges)
        return above, below

    def wires(self, column: Column) -> Iterator[tuple[str, str]]:
        """The edges that there are in one column: those between cells, and those that end in a band."""
        for source, target in self.edges:
            if all(name in self.bands or (name, column) in self.cells for name in (source, target)):
                yield source, target


def moved_text(exchanges: Iterable[Exchange]) -> tuple[str, str]:
    """What exchanges at one place are called, and their bytes."""
    found = list(exchanges)
    return ", ".join(dict.fromkeys(e.kind for e in found)), bytes_text(sum(e.nbytes for e in found))


def bytes_text(count: float) -> str:
    """A number of bytes as it is said of links: `22.2 MB`."""
    return count_text(count, (" B", " kB", " MB", " GB", " TB"))
