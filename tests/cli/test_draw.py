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

from alexnet_ir.compiler import Compiled, compile_step, read_model
from alexnet_ir.drawing.chart import Chart, bytes_text
from alexnet_ir.drawing.chart_svg import chart_svg
from alexnet_ir.drawing.charting import chart
from alexnet_ir.drawing.dot import chart_dot
from alexnet_ir.drawing.layers import GAP_X, Arrow, Key, Size, place
from alexnet_ir.drawing.svg import BOLD_CHAR, CHAR
from alexnet_ir.dsl.model import Choice, Model
from alexnet_ir.ir.types import On
from alexnet_ir.ops.placing import Reshard, exchanged_bytes
from alexnet_ir.ops.shape import Copy
from alexnet_ir.passes.recompute import forward
from alexnet_ir.setup import setup_of

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


# --- charts: on devices, and the whole step -------------------------------------------------------------------------

PLACED = [
    ("alexnet", "two_gpus", 2, 128),
    ("alexnet", "data", 2, 128),
    ("alexnet", "weird_trick", 4, 128),
    ("digits", "columns", 3, 33),
    ("digits", "columns", 4, 32),
    pytest.param(("resnet18", "data", 2, 4), marks=pytest.mark.slow),
    pytest.param(("googlenet", "columns", 2, 4), marks=pytest.mark.slow),
]


@pytest.fixture(scope="module", params=PLACED, ids=lambda p: "-".join(map(str, p[:3])))
def placed(request: pytest.FixtureRequest) -> tuple[Model, Compiled]:
    name, place, devices, batch = request.param
    model = read_model(EXAMPLES / f"{name}.alx", Choice(batch=batch))
    return model, compile_step(model, setup_of(",".join(["cpu"] * devices), place))


def test_every_layer_has_a_cell_on_each_device_that_has_a_share(placed: tuple[Model, Compiled]) -> None:
    model, step = placed
    net, devices = chart(model, step, whole=False), range(step.logical.devices)
    said = [" ".join(cell.lines) for cell in net.cells.values()]
    for layer in model.layers:
        where = step.logical.tensor(step.logical.named(layer.value)).placement
        alone = [where.device] if isinstance(where, On) else devices
        if layer.path in net.rows:
            found = [column.device for row, column in net.cells if row == layer.path]
            assert found == [*alone]
        else:
            assert sum(layer.op in text for text in said) >= len(alone)


def test_every_exchange_is_there_once_with_its_bytes(placed: tuple[Model, Compiled]) -> None:
    model, step = placed
    graph, net, whole = step.logical, chart(model, step, whole=False), chart(model, step, whole=True)
    for made in (net, whole):
        drawn = {exchange.name: exchange.nbytes for exchange in made.exchanges}
        assert len(drawn) == len(made.exchanges)
        for node in graph.topo():
            if isinstance(node.op, Reshard) and (made is whole or node.id in forward(graph)):
                type_ = graph.tensor(node.operands[0])
                moved = exchanged_bytes(type_.nbytes, type_.placement, node.op.target, graph.devices)
                assert drawn.get(node.name, 0) == moved
    copies = [node for node in step.local.topo() if isinstance(node.op, Copy)]
    total = sum(step.local.tensor(node.operands[0]).nbytes for node in copies)
    assert sum(exchange.nbytes for exchange in whole.exchanges) == total
    assert bytes_text(total) in whole.note


@pytest.mark.parametrize("whole", [False, True])
def test_a_chart_is_drawn_without_overlaps(placed: tuple[Model, Compiled], whole: bool) -> None:
    made = chart(*placed, whole=whole)
    root = ET.fromstring(chart_svg(made))
    found = shapes(root)
    boxes = [rect for kind, rect in found if kind.split()[0] in ("box", "pill")]
    columns = [rect for kind, rect in found if kind == "column"]
    assert len(columns) == len(made.columns)
    for several in (boxes, columns):
        for a, b in itertools.combinations(several, 2):
            assert apart(a, b), (a, b)
    cells = [rect for kind, rect in found if kind.split()[0] == "box"]
    assert len(cells) == len(made.cells)
    assert all(sum(holds(column, cell) for column in columns) == 1 for cell in cells)
    picture = (0.0, 0.0, float(root.get("width", 0)), float(root.get("height", 0)))
    texts = [(text.get("class", ""), label(text)) for text in root.findall(f"{SVG}text")]
    for kind, rect in texts:
        assert holds(picture, rect)
        if kind in ("name", "line", "note", "kind", "moved"):
            assert sum(holds(box, rect) for box in boxes) == 1


SVG = "{http://www.w3.org/2000/svg}"


def shapes(root: ET.Element) -> list[tuple[str, Rect]]:
    """Class and corners of every rectangle."""
    found = []
    for rect in root.findall(f"{SVG}rect[@class]"):
        x, y, width, height = (float(rect.get(name, 0)) for name in ("x", "y", "width", "height"))
        found.append((rect.get("class", ""), (x, y, x + width, y + height)))
    return found


def label(text: ET.Element) -> Rect:
    """About where a text stands."""
    kind, words = text.get("class", ""), text.text or ""
    width = len(words) * (BOLD_CHAR if kind in ("name", "title") else CHAR)
    x, y = float(text.get("x", 0)), float(text.get("y", 0))
    left = x if kind in ("title", "sub", "shape") else x - width / 2
    return (left, y - 9, left + width, y + 2)


def test_bytes_stand_on_the_labels(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "net.svg"
    assert run("draw", EXAMPLES / "alexnet.alx", "--place", "two_gpus", "-o", path).code == 0
    texts = [(text.get("class"), text.text) for text in ET.parse(path).getroot().findall(f"{SVG}text")]
    assert [text for kind, text in texts if kind == "kind"] == ["all_gather"] * 3 + ["gather"]
    assert [text for kind, text in texts if kind == "moved"] == ["22.2 MB", "4.72 MB", "2.10 MB", "1.05 MB"]
    assert texts.count(("shape", "48 x 55 x 55")) == 2
    assert ("note", "kernels 193-384 of 384") in texts
    shown = EXAMPLES.parent / "docs" / "alexnet-two-gpus.svg"
    assert shown.read_text(encoding="utf-8") == path.read_text(encoding="utf-8"), "draw the README's picture again"


@pytest.mark.parametrize("suffix", ["svg", "dot"])
@pytest.mark.parametrize("level", ["net", "step"])
def test_digits_on_two_devices(
    run: Run, tmp_path: Path, golden: Callable[[Path, str], None], level: str, suffix: str
) -> None:
    path = tmp_path / f"net.{suffix}"
    assert run("draw", EXAMPLES / "digits.alx", "--place", "columns", "--level", level, "-o", path).code == 0
    golden(HERE / f"digits-{level}.{suffix}", path.read_text())


def test_the_step_on_one_device_has_a_column_for_each_phase(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "net.svg"
    assert run("draw", EXAMPLES / "digits.alx", "--level", "step", "-o", path).code == 0
    root = ET.parse(path).getroot()
    texts = [(text.get("class"), text.text) for text in root.findall(f"{SVG}text")]
    assert [text for kind, text in texts if kind == "phase"] == ["forward", "backward", "update"]
    assert [kind for kind, _ in shapes(root)].count("column") == 3
    assert [text for kind, text in texts if kind == "name"].count("conv1") == 3
    assert not [kind for kind, _ in texts if kind in ("device", "kind")]


def test_dot_has_a_cluster_for_each_column_and_every_edge_its_ends(placed: tuple[Model, Compiled]) -> None:
    made: Chart = chart(*placed, whole=True)
    text = chart_dot(made)
    assert text.count("subgraph") == len(made.columns)
    nodes = set(re.findall(r'^ +("[^"]+") \[(?:label|shape)', text, re.MULTILINE))
    assert len(nodes) == len(made.cells) + len(made.exchanges)
    edges = re.findall(r'^ +("[^"]+") -> ("[^"]+")', text, re.MULTILINE)
    assert {end for edge in edges for end in edge} <= nodes
    for exchange in made.exchanges:
        name = f'"{exchange.name}"'
        assert any(target == name for _, target in edges)
        assert any(source == name for source, _ in edges)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--place", "datta"], "--place datta: no such placement\n  = help: did you mean `data`?"),
        (["--place", "data", "--devices", "abacus"], "--devices abacus: no such device"),
    ],
)
def test_what_cannot_be_placed_is_one_error(run: Run, small: Path, args: list[str], message: str) -> None:
    done = run("draw", "-o", "net.svg", *args)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: {message}")
    assert not Path("net.svg").exists()
