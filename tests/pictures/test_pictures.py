"""Each picture is read back: which pixels, bars and words are where."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from alexnet_ir.compiler import read_model
from alexnet_ir.diagnostics import AlexnetError
from alexnet_ir.ir.op import Array
from alexnet_ir.pictures import canvas
from alexnet_ir.pictures.answers import Answer, answers_png
from alexnet_ir.pictures.curves import Line, Panel, curves, run_curves
from alexnet_ir.pictures.kernels import GAP, GROUP_GAP, Kernels, first_kernels, kernel_grid, kernels_png
from alexnet_ir.pictures.neighbours import GAP as APART
from alexnet_ir.pictures.neighbours import SIDE, TEXT, Shown, neighbours_png
from alexnet_ir.placement import Placing

RANDOM = np.random.default_rng(0)


def opened(png: bytes) -> Array:
    """[rows, columns, 3], 0 to 255."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def plain(colour: int, channels: int = 3) -> Array:
    return np.full((channels, 8, 8), colour, "u1")


# --- kernels ----------------------------------------------------------------------------------------------------------


def net(*layers: str) -> str:
    return f"alx 1\nnet N {{ image = input(3, 8, 8)  return image -> {' -> '.join(layers)} -> flatten -> fc(2) }}"


def first_of(*layers: str, placing: Placing | None = None) -> Kernels | None:
    model = read_model(net(*layers))
    shapes = {name: model.graph.tensor(state.read).shape for name, state in model.graph.states.items()}
    return first_kernels(model, {name: RANDOM.standard_normal(shape) for name, shape in shapes.items()}, placing)


def test_groups_are_what_the_next_convolution_reads_apart() -> None:
    halves = first_of("conv1: conv(8, 3)", "relu", "lrn(3, 2, 1e-4, 0.75)", "conv(4, 3, groups = 2)")
    assert halves is not None
    assert (halves.layer, halves.values.shape, halves.groups) == ("conv1", (8, 3, 3, 3), 2)
    one = first_of("conv1: conv(8, 3)", "relu", "conv(4, 3)", "conv(4, 1, groups = 2)")
    assert one is not None
    assert one.groups == 1


def test_groups_are_the_devices_that_have_kernels_of_their_own() -> None:
    for mode, groups in (("channels", 4), ("batch", 1)):
        found = first_of("conv1: conv(8, 3)", placing=Placing("p", 4, {"conv1": mode}))  # type: ignore[dict-item]
        assert found is not None
        assert found.groups == groups


def test_weights_of_units_lie_over_the_image_and_untied_kernels_are_no_picture() -> None:
    units = first_of("flatten", "fc(5)")
    assert units is not None
    assert units.values.shape == (5, 3, 8, 8)
    assert first_of("local(4, 3)") is None
    assert first_of("maxpool(2)", "flatten", "fc(5)") is None


def test_zero_is_grey_and_all_kernels_have_one_range() -> None:
    values = np.zeros((4, 3, 2, 2))
    values[1, 0], values[2], values[3] = 1, -1, 0.5
    grid = kernel_grid(Kernels("conv1", values))
    scale = 24
    tiles = [grid[GAP : GAP + 2 * scale, GAP + n * (2 * scale + GAP) :][:, : 2 * scale] for n in range(4)]
    colours = [{tuple(pixel) for pixel in tile.reshape(-1, 3).tolist()} for tile in tiles]
    assert colours == [{(128, 128, 128)}, {(255, 128, 128)}, {(0, 0, 0)}, {(191, 191, 191)}]
    assert (grid[:GAP] == 255).all()


def test_a_grid_has_each_value_as_a_square_and_groups_apart() -> None:
    values = RANDOM.uniform(-1, 1, (40, 1, 3, 3))
    grid = kernel_grid(Kernels("conv1", values, 2))
    tile = 48 + GAP
    block = 2 * tile + GAP  # 20 kernels of a group in rows of 16
    assert grid.shape == (2 * block + GROUP_GAP, 16 * tile + GAP, 3)
    assert (grid[block : block + GROUP_GAP] == 255).all()
    reach = np.percentile(np.abs(values), 99.5)
    last = grid[block + GROUP_GAP + tile + GAP :][:48, GAP + 3 * tile :][:, :48]  # the fourth of its second row
    expected = np.clip(127.5 + 127.5 * values[39, 0] / reach, 0, 255)
    np.testing.assert_allclose(last[8::16, 8::16, 0], expected, atol=1)
    np.testing.assert_array_equal(last, np.kron(last[8::16, 8::16, 0], np.ones((16, 16), "u1"))[..., None] * [1, 1, 1])


def test_kernels_as_a_file() -> None:
    kernels = Kernels("conv1", RANDOM.standard_normal((32, 4, 5, 5)), 2)
    picture, grid = opened(kernels_png(kernels)), kernel_grid(kernels)
    np.testing.assert_array_equal(picture[-len(grid) :, : grid.shape[1]], grid)
    assert (picture[: -len(grid)] < 100).any()  # the title
    assert kernels_png(kernels) == kernels_png(kernels)


def test_weights_that_are_all_zero_are_grey() -> None:
    grid = kernel_grid(Kernels("conv1", np.zeros((1, 1, 3, 3))))
    assert set(grid.ravel().tolist()) == {128, 255}


# --- answers ----------------------------------------------------------------------------------------------------------


def test_the_right_answer_has_another_colour_and_bars_their_lengths() -> None:
    probabilities = np.array([0.1, 0.6, 0.05, 0.2, 0.03, 0.02])
    picture = opened(answers_png([Answer(plain(40), 3, probabilities)], tuple("abcdef"))).astype(int)
    assert picture.shape == (340, 220, 3)
    assert picture[100, 110].tolist() == [40, 40, 40]
    red = (picture[..., 0] - picture[..., 2] > 40).sum(axis=1)
    blue = (picture[..., 2] - picture[..., 0] > 40).sum(axis=1)
    bars = np.flatnonzero(np.diff(np.r_[0, (red + blue > 0).astype(int), 0])).reshape(-1, 2)
    lengths = [(red[a:b].max(), blue[a:b].max()) for a, b in bars]
    width = 200 + 1
    for (found_red, found_blue), share, right in zip(
        lengths, (0.6, 0.2, 0.1, 0.05, 0.03), (0, 1, 0, 0, 0), strict=True
    ):
        assert (found_red if right else found_blue) == pytest.approx(width * share, abs=2)
        assert not (found_blue if right else found_red)


def test_fewer_classes_than_bars_and_more_images_than_a_row() -> None:
    answers = [Answer(plain(n * 20, 1), n % 2, np.array([0.25, 0.75])) for n in range(6)]
    picture = opened(answers_png(answers, ("a", "b")))
    height = 340 - 3 * 22
    assert picture.shape == (2 * height, 4 * 220, 3)
    middles = [picture[height * (n // 4) + 100, 220 * (n % 4) + 110, 0] for n in range(6)]
    assert middles == [0, 20, 40, 60, 80, 100]


def test_names_are_cut_to_the_width_that_they_have() -> None:
    pytest.importorskip("matplotlib")
    assert canvas.shortened("an ant", 100, 9) == "an ant"
    assert canvas.shortened("one\nline", 100, 9) == "one line"
    narrow, wide = (canvas.shortened(letter * 60, 100, 9) for letter in "iW")
    assert narrow.rstrip("…") == "i" * (len(narrow) - 1)
    assert len(narrow) > 2 * len(wide) > 8
    assert len(canvas.shortened("W" * 60, 100, 9, bold=True)) < len(wide)


def test_any_name_can_be_drawn(recwarn: pytest.WarningsRecorder) -> None:
    names = ("$\\nothing$", "漢字", "bicycle-built-for-two, tandem bicycle, tandem")
    answers_png([Answer(plain(40), 1, np.array([0.2, 0.5, 0.3]))], names)
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


# --- neighbours -------------------------------------------------------------------------------------------------------


def test_neighbours_stand_beside_their_image_in_their_order() -> None:
    rows = [(Shown(plain(n), "an image"), [Shown(plain(n + k), "another") for k in (1, 2, 3)]) for n in (10, 60)]
    picture = opened(neighbours_png(rows))
    assert picture.shape == (2 * (SIDE + TEXT), 4 * SIDE + APART, 3)
    for row, first in enumerate((10, 60)):
        y = row * (SIDE + TEXT) + TEXT + SIDE // 2
        found = [picture[y, SIDE * k + SIDE // 2 + (APART if k else 0), 0] for k in range(4)]
        assert found == [first, first + 1, first + 2, first + 3]
        assert (picture[y, SIDE : SIDE + APART] == 255).all()


# --- curves -----------------------------------------------------------------------------------------------------------


def words(svg: bytes) -> list[str]:
    """Matplotlib draws text as outlines, and leaves it in comments."""
    ElementTree.fromstring(svg)
    return [text.strip() for text in re.findall(r"<!--(.*?)-->", svg.decode())]


def test_curves_of_lists() -> None:
    lines = [Line("ours", [1, 2, 3], [0.5, 0.25, 0.2]), Line("theirs", [1, 2, 3], [0.5, 0.4, 0.3])]
    found = words(curves([Panel("error", lines, percent=True), Panel("rate", lines[:1], log=True)], [(2, "a drop")]))
    assert {"error", "rate", "ours", "theirs", "a drop", "epoch", "50%"} <= set(found)
    assert found.count("ours") == 1  # one line needs no legend


def epoch(number: int, step: int, lr: float) -> dict[str, object]:
    errors = {"error": 0.5 / number, "eval_top1": 0.6 / number, "eval_top5": 0.1 / number}
    return {"kind": "epoch", "epoch": number, "step": step, "lr": lr, "loss": 2.0 / number} | errors


def steps(lr: float, *places: int) -> list[dict[str, object]]:
    return [{"kind": "step", "step": step, "loss": 1.0, "lr": lr} for step in places]


def test_a_run_before_and_after_its_first_epoch() -> None:
    assert run_curves([]) is None
    early = words(run_curves(steps(0.1, 5, 10)) or b"")
    assert "step" in early
    assert "error" not in early
    later = words(run_curves([*steps(0.1, 5, 10), epoch(1, 10, 0.1)]) or b"")
    assert {"epoch", "error", "training", "validation, top-1", "validation, top-5"} <= set(later)
    assert "learning rate" not in later  # which never changed


def test_drops_of_the_rate_are_marked_and_a_slope_is_not() -> None:
    dropped = [*steps(0.1, 5, 10), {"kind": "rate", "step": 10, "lr": 0.01, "reason": "drops"}, *steps(0.01, 15, 20)]
    found = words(run_curves([*dropped, epoch(1, 10, 0.1), epoch(2, 20, 0.01)]) or b"")
    assert "rate 0.01" in found
    assert "learning rate" in found
    close = [*dropped[:3], {"kind": "rate", "step": 10.1, "lr": 0.001, "reason": "drops"}, *steps(0.001, 15, 20)]
    found = words(run_curves([*close, epoch(1, 10, 0.1), epoch(2, 20, 0.001)]) or b"")
    assert [text for text in found if text.startswith("rate ")] == ["rate 0.01"]  # another has no place beside it
    slope = [record for n in range(40) for record in steps(0.1 * 0.7**n, n)]
    assert not [text for text in words(run_curves([*slope, epoch(1, 40, 1e-7)]) or b"") if text.startswith("rate ")]


def test_a_loss_that_is_not_finite_is_no_reason_to_fail() -> None:
    bad = [{"kind": "step", "step": 3, "loss": float("nan"), "lr": 0.1}, *steps(0.1, 4)]
    assert b"nan" not in (run_curves(bad) or b"nan")


# --- without matplotlib -----------------------------------------------------------------------------------------------


def test_without_matplotlib_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(AlexnetError, match=r'pip install "alexnet-ir\[plot\]"'):
        canvas.draw(10, 10, "png", lambda figure: None)
    assert not canvas.installed()
