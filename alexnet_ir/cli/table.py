"""Tables and numbers as a terminal shows them."""

from __future__ import annotations

from collections.abc import Sequence

Row = Sequence[str]


def table(rows: Sequence[Row], right: Sequence[int] = ()) -> str:
    """Rows in aligned columns, two spaces apart; those numbered in `right` are aligned on their right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        sized = enumerate(zip(row, widths, strict=True))
        cells = [cell.rjust(width) if i in right else cell.ljust(width) for i, (cell, width) in sized]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def count_text(count: float, units: Sequence[str] = ("", " k", " M", " G", " T"), step: int = 1000) -> str:
    """724406816 as `724 M`: three digits and a unit, which may be wrong by half a unit of the last."""
    unit = 0
    while count >= step and unit < len(units) - 1:
        count, unit = count / step, unit + 1
    digits = max(0, 3 - len(str(int(count)))) if unit else 0
    return f"{count:.{digits}f}{units[unit]}"


def bytes_text(count: float) -> str:
    """A number of bytes: `1.50 MiB`."""
    return count_text(count, (" B", " KiB", " MiB", " GiB", " TiB"), 1024)
