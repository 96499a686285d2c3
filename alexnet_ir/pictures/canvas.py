"""Matplotlib without a screen: pictures as the bytes of a file, the same for the same input."""

from __future__ import annotations

import importlib.util
import io
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from alexnet_ir.diagnostics import error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, RED, GREY = "#4878a8", "#c8503c", "#8a8a8a"
DPI = 100
EXTRA = 'pip install "alexnet-ir[plot]"'
MISSING = "they are drawn by matplotlib, which is not installed"
STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "legend.frameon": False,
    "svg.hashsalt": "alexnet-ir",
    "text.parse_math": False,  # a class may be called $x$
}


def installed() -> bool:
    """Whether there is a matplotlib to draw with."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(width: float, height: float, kind: Literal["svg", "png"], paint: Callable[[Figure], None]) -> bytes:
    """A picture of `width` x `height` pixels, painted by `paint`; AlexnetError where matplotlib is not installed."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise error("pictures are drawn by matplotlib, which is not installed", helps=[EXTRA]) from None
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph ")  # of a script that the font has not: a box stands for it
        figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
        paint(figure)
        content = io.BytesIO()
        figure.savefig(content, format=kind, metadata={"Date": None} if kind == "svg" else {})
    return content.getvalue()


def pixels(image: NDArray[Any]) -> NDArray[np.uint8]:
    """An image [channels, rows, columns] of 0 to 255 as [rows, columns, 3]; grey where it has not three channels."""
    shown = image if len(image) == 3 else np.repeat(image[:1], 3, axis=0)
    return np.asarray(np.clip(np.rint(shown), 0, 255), np.uint8).transpose(1, 2, 0)


def axes_at(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place given in pixels from the figure's upper left corner."""
    wide, high = figure.get_size_inches() * DPI
    return figure.add_axes((left / wide, 1 - (top + height) / high, width / wide, height / high))


def photograph(axes: Axes, image: NDArray[Any]) -> None:
    """An image [channels, rows, columns] without ticks, in a thin frame."""
    axes.imshow(pixels(image))
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=True, color="#c0c0c0", linewidth=0.5)


def shortened(name: str, width: float, size: float, *, bold: bool = False) -> str:
    """As much of a name as a line of `width` pixels holds in letters of `size` points; an ellipsis for the rest."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font, whole = FontProperties(size=size, weight="bold" if bold else "normal"), " ".join(name.split())

    def fits(text: str) -> bool:
        points, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
        return bool(points * DPI / 72 <= width)

    parts = (f"{whole[:end].rstrip()}…" for end in range(min(len(whole), int(width)), 0, -1))
    return whole if fits(whole) else next(filter(fits, parts), "…")
