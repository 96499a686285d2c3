"""Learning curves: panels over one axis, and those of a run."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from alexnet_ir.pictures.canvas import GREY, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 900, 270
"""Of a panel, in pixels."""
FEW = 40
"""Of so many points, each is a dot."""
MOST_MARKS = 12
CLOSE = 0.025
"""Of the width: a mark nearer than this to the one before it has no text."""
JUMP = 1.2
"""A rate that changes by less than this factor at once is no drop but a part of a slope."""


@dataclass(frozen=True)
class Line:
    """Points in order; `faint` lines stand behind the others."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    faint: bool = False


@dataclass(frozen=True)
class Panel:
    """Lines with one vertical axis: in logarithms, or of fractions shown as percentages."""

    label: str
    lines: Sequence[Line]
    log: bool = False
    percent: bool = False


def curves(panels: Sequence[Panel], marks: Sequence[tuple[float, str]] = (), x: str = "epoch") -> bytes:
    """An SVG of panels below each other, over the same `x`; vertical lines through all of them at the `marks`."""
    return draw(WIDTH, HEIGHT * len(panels) + 40, "svg", partial(_paint, panels, marks, x))


def _paint(panels: Sequence[Panel], marks: Sequence[tuple[float, str]], x: str, figure: Figure) -> None:
    from matplotlib.ticker import MaxNLocator

    figure.set_layout_engine("constrained")
    rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for panel, axes in zip(panels, rows, strict=True):
        _panel(axes, panel)
        for place, _ in marks:
            axes.axvline(place, color=GREY, linewidth=1, linestyle=":", zorder=0)
    rows[-1].set_xlabel(x)
    rows[-1].set_xlim(left=0)
    rows[-1].xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    written, close = -math.inf, CLOSE * rows[-1].get_xlim()[1]
    for place, text in marks:
        if place - written < close:
            continue
        rows[0].annotate(
            text, (place, 1), xycoords=("data", "axes fraction"), xytext=(2, -2), textcoords="offset points",
            rotation=90, verticalalignment="top", color="#606060", fontsize=9,
        )  # fmt: skip
        written = place


def _panel(axes: Axes, panel: Panel) -> None:
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter, PercentFormatter

    bold = 0  # a faint line has the colour of the bold one that follows
    for line in panel.lines:
        few = {"marker": "o", "markersize": 3.5} if len(line.x) <= FEW else {}
        style: Any = {"alpha": 0.35, "linewidth": 1} if line.faint else {"linewidth": 1.8, **few}
        axes.plot(line.x, line.y, color=f"C{bold}", label=line.label, **style)
        bold += not line.faint
    axes.set_ylabel(panel.label)
    if panel.log:
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
        axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(bottom=0)
    if panel.percent:
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    if len(panel.lines) > 1:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(panel.lines), borderaxespad=0.2)


def run_curves(records: Sequence[Mapping[str, Any]]) -> bytes | None:
    """The curves of a run's metrics: loss, errors and, where it changes, the rate. None where nothing is known yet."""
    epochs = [r for r in records if r["kind"] == "epoch"]
    steps = [r for r in records if r["kind"] == "step"]
    if not steps and not epochs:
        return None
    scale, x = max((r["step"] / r["epoch"] for r in epochs), default=1.0), "epoch" if epochs else "step"

    def line(label: str, of: Sequence[Mapping[str, Any]], key: str, faint: bool = False) -> Line:
        return Line(label, [r["step"] / scale for r in of], [r[key] for r in of], faint)

    loss = [line("training, single batches", steps, "loss", faint=bool(epochs))]
    panels = [Panel("loss", loss + [line("training, mean of an epoch", epochs, "loss")] * bool(epochs))]
    if epochs:
        named = (("training", "error"), ("validation, top-1", "eval_top1"), ("validation, top-5", "eval_top5"))
        panels.append(Panel("error", [line(label, epochs, key) for label, key in named], percent=True))
    rates = sorted((r for r in records if "lr" in r), key=lambda r: float(r["step"]))
    if len({r["lr"] for r in rates}) > 1:
        panels.append(Panel("learning rate", [line("learning rate", rates, "lr")], log=True))
    return curves(panels, _drops(rates, scale), x)


def _drops(rates: Sequence[Mapping[str, Any]], scale: float) -> list[tuple[float, str]]:
    """Where the rate changes at once, and to what; none where that is all the time."""
    pairs = [(a["lr"], b["lr"], b["step"] / scale) for a, b in itertools.pairwise(rates)]
    found = [(place, f"rate {new:.2g}") for old, new, place in pairs if min(old, new) * JUMP < max(old, new)]
    return found if len(found) <= MOST_MARKS else []
