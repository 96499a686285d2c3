"""Images and those that are most like them to a net: the right half of the paper's figure 4."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from alexnet_ir.pictures.canvas import axes_at, draw, photograph, shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE, TEXT, GAP = 128, 26, 28
"""In pixels: of an image, of the line above it, between the first column and the others."""
SIZE = 8.5
"""Of the letters, in points."""


@dataclass(frozen=True, eq=False)
class Shown:
    """An image [channels, rows, columns] of 0 to 255, and what stands above it."""

    image: NDArray[Any]
    text: str


def neighbours_png(rows: Sequence[tuple[Shown, Sequence[Shown]]]) -> bytes:
    """A PNG: in each row an image, and apart from it those that are nearest, in their order."""
    width = SIDE * (1 + max(len(found) for _, found in rows)) + GAP
    return draw(width, (SIDE + TEXT) * len(rows), "png", partial(_paint, rows))


def _paint(rows: Sequence[tuple[Shown, Sequence[Shown]]], figure: Figure) -> None:
    for row, (query, found) in enumerate(rows):
        for column, shown in enumerate((query, *found)):
            left, top = column * SIDE + (GAP if column else 0), row * (SIDE + TEXT) + TEXT
            axes = axes_at(figure, left + 4, top, SIDE - 8, SIDE - 8)
            photograph(axes, shown.image)
            name = shortened(shown.text, SIDE - 8, SIZE, bold=not column)
            axes.set_title(name, fontsize=SIZE, pad=3, fontweight=None if column else "bold")
