"""Images with the labels that a net gives them: the left half of the paper's figure 4."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from alexnet_ir.pictures.canvas import BLUE, RED, axes_at, draw, photograph, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS, LABELS = 4, 5
"""Images in a row, and bars below each."""
WIDTH, SIDE, BAR, ROOM = 220, 172, 22, 58
"""In pixels: of a cell, of its image, the height of a bar, and what a cell is higher than image and bars."""
MARGIN, SHARE = 10, 44
"""At the sides of a cell, and for the percentage at the end of a bar, in pixels."""


@dataclass(frozen=True, eq=False)
class Answer:
    """An image [channels, rows, columns] of 0 to 255, its class, and the probabilities [classes] that the net gives."""

    image: NDArray[Any]
    label: int
    probabilities: NDArray[np.floating[Any]]


def answers_png(answers: Sequence[Answer], classes: Sequence[str]) -> bytes:
    """A PNG: under each image its class and the five most probable ones as bars, the right one in red."""
    down, across = -(-len(answers) // ACROSS), min(ACROSS, len(answers))
    return draw(across * WIDTH, down * _height(classes), "png", partial(_paint, answers, classes))


def _height(classes: Sequence[str]) -> int:
    """Of a cell."""
    return SIDE + ROOM + BAR * min(LABELS, len(classes))


def _paint(answers: Sequence[Answer], classes: Sequence[str], figure: Figure) -> None:
    for number, answer in enumerate(answers):
        top, left = number // ACROSS * _height(classes), number % ACROSS * WIDTH
        image = axes_at(figure, left + (WIDTH - SIDE) / 2, top + 8, SIDE, SIDE)
        photograph(image, answer.image)
        name = shortened(classes[answer.label], WIDTH - 2 * MARGIN, 11, bold=True)
        image.set_xlabel(name, fontsize=11, fontweight="bold")
        bars = axes_at(figure, left + MARGIN, top + SIDE + 36, WIDTH - 2 * MARGIN, _height(classes) - SIDE - ROOM)
        _bars(bars, answer, classes)


def _bars(axes: Axes, answer: Answer, classes: Sequence[str]) -> None:
    best = np.argsort(-answer.probabilities, kind="stable")[:LABELS]
    colours = [RED if label == answer.label else BLUE for label in best]
    axes.barh(range(len(best)), answer.probabilities[best], color=colours, alpha=0.55, height=0.84)
    for place, label in enumerate(best):
        name = shortened(classes[label], WIDTH - 2 * MARGIN - SHARE, 9)
        axes.text(0.02, place, name, va="center", fontsize=9)
        share = f"{answer.probabilities[label]:.0%}"
        axes.text(0.99, place, share, va="center", ha="right", fontsize=8, color="#505050")
    axes.set(xlim=(0, 1), ylim=(len(best) - 0.5, -0.5))
    axes.set_axis_off()
