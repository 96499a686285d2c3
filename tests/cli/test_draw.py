"""`alexnet-ir draw`: well-formed pictures in which nothing lies on something else."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet_ir.drawing.layers import GAP_X, Arrow, Key, Size, place

from .conftest import EXAMPLES, Run

HERE = Path(__file__).parent
Rect = tuple[float, float, float, float]


def rects(element: ET.Element, x: float = 0, y: float = 0) -> Iterator[tuple[str, Rect]]:
    """Class and absolute corners of every rectangle."""
    for child in element:
        if move := re.match(r"translate\((\S+) (\S+)\)", child.get("transform", "")):
            yield from rects(child, x + float(move[1]), y + float(move[2]))
        elif child.get("class"):
            width, height = float(child.get("width", 0)), float(child.get("height", 0))
            yield child.get("class", ""), (x, y, x + width, y + height)


def apart(a: Rect, b: Rect) -> bool:
    return a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def holds(a: Rect, b: Rect) -> bool:
    return a[0] <= b[0] and a[1] <= b[1] and a[2] >= b[2] and a[3] >= b[3]


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.alx")))
def test_boxes_and_frames_do_not_overlap(run: Run, tmp_path: Path, name: str) -> None:
    path = tmp_path / "net.svg"
    assert run("draw", EXAMPLES / f"{name}.alx", "-o", path).code == 0
    found = [(kind, rect) for kind, rect in rects(ET.parse(path).getroot()) if kind.split()[0] in ("box", "frame")]
    assert found
    for (kind, a), (other, b) in itertools.combinations(found, 2):
        assert apart(a, b) or (kind == "frame" and holds(a, b)) or (other == "frame" and holds(b, a))


@pytest.mark.parametrize("suffix", ["svg", "dot"])
def test_the_picture(run: Run, small: Path, golden: Callable[[Path, str], None], suffix: str) -> None:
    small.write_text("""alx 1
block shortcut(x) { return x -> conv(4, 1) -> batchnorm }
block residual(x) { return add(x -> conv(4, 3, pad = 1) -> relu -> conv(4, 3, pad = 1), x -> shortcut) -> relu }
net A {
  image = input(1, 8, 8)
  y = image -> conv1: conv(4, 3, pad = 1) -> relu -> stage: (residual -> residual)
  return y -> global_avgpool -> fc(10), y -> flatten -> fc(10)
}
""")
    done = run("draw", small, "-o", f"net.{suffix}")
    assert (done.code, done.out) == (0, f"wrote net.{suffix}\n")
    golden(HERE / f"net.{suffix}", Path(f"net.{suffix}").read_text())


@pytest.mark.parametrize("name", ["net.png", "net", "missing/net.svg"])
def test_what_cannot_be_written_is_one_error(run: Run, small: Path, name: str) -> None:
    done = run("draw", small, "-o", name)
    assert (done.code, done.out, done.err.count("error")) == (1, "", 1)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[Key, Size], list[Arrow]]:
    count = draw(st.integers(1, 9))
    keys: list[Key] = [("v", str(i)) for i in range(count)]
    sizes = {
        key: Size(draw(st.integers(1, 99)), draw(st.integers(1, 50)), draw(st.sampled_from([1.0, 1e-4])))
        for key in keys
    }
    pairs = draw(st.sets(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))))
    return sizes, [Arrow(keys[a], keys[b], str(a)) for a, b in sorted(pairs) if a < b]


@given(graphs())
def test_any_graph_is_laid_out_downwards_and_with_gaps(graph: tuple[dict[Key, Size], list[Arrow]]) -> None:
    sizes, arrows = graph
    placed = place(sizes, arrows)
    for arrow in arrows:
        assert placed.ranks[arrow.source][1] < placed.ranks[arrow.target][0]
    for a, b in itertools.combinations(sizes, 2):
        if placed.ranks[a] == placed.ranks[b]:
            assert abs(placed.xs[a] - placed.xs[b]) >= (sizes[a].width + sizes[b].width) / 2 + GAP_X - 1e-6
    for key, size in sizes.items():
        assert placed.xs[key] - size.width / 2 >= -1e-6
        assert placed.xs[key] + size.width / 2 <= placed.width + 1e-6
