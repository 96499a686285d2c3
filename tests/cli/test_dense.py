"""`--dense HxW`: its section of the report, and an evaluation on larger images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from alexnet_ir.cli.dense import averaged, size_of, uncropped
from alexnet_ir.compiler import read_model
from alexnet_ir.diagnostics import AlexnetError
from alexnet_ir.dsl.spec import CenterCrop, SubtractMean
from alexnet_ir.setup import setup_of
from alexnet_ir.training.step import TrainingStep

from .conftest import EXAMPLES, Run

MADE_UP = """alx 1
net N {
  image = input(2, 6, 6)
  return image -> conv1: conv(4, 3) -> relu -> maxpool(2) -> flatten -> fc(3)
}
data made_up { source: synthetic(96, 3)  train: [scale(1/128)]  eval: [scale(1/128)] }
train t { batch: 16  stop: steps(2)  optimizer: sgd(lr = 0.05) }
"""


def test_a_section_of_the_report(run: Run) -> None:
    done = run("compile", EXAMPLES / "vgg16.alx", "--dense", "384x384")
    assert (done.code, done.err) == (0, "")
    title, image, scores, windows, *padding = done.out.split("\n\n")[-1].splitlines()
    assert title == "dense evaluation"
    assert image.split(maxsplit=1) == ["image", "384 x 384"]
    assert scores.split(maxsplit=1) == ["scores", "6 x 6"]
    assert windows.split(maxsplit=1) == ["windows", "224 x 224, 32 x 32 pixels apart"]
    assert "13 layers" in padding[0]
    assert all(len(line) <= 100 for line in padding)
    exact = run("compile", EXAMPLES / "vgg16.alx", "--dense", "224x224").out.splitlines()[-1]
    assert exact.split(maxsplit=1) == ["equal", "to the net's own scores on each window"]


def test_as_json(run: Run, small: Path) -> None:
    assert "dense" not in json.loads(run("compile", "--json").out)
    assert json.loads(run("compile", "--json", "--dense", "9x12").out)["dense"] == {
        "net": "Small", "image": [9, 12], "window": [8, 8], "stride": [1, 1], "map": [2, 5],
        "padded": [], "exact": True,
    }  # fmt: skip


def test_as_files(run: Run, small: Path) -> None:
    out = run("compile", "--dense", "9x12", "-o", "out").out
    assert Path("out/report.txt").read_text().endswith(out[out.index("dense evaluation") :])
    assert json.loads(Path("out/report.json").read_text())["dense"]["map"] == [2, 5]


@pytest.mark.parametrize("text", ["384", "384x", "384 x 384", "axb", "-1x8", "8x8x8"])
def test_what_is_no_size(run: Run, small: Path, text: str) -> None:
    done = run("compile", f"--dense={text}")
    assert (done.code, done.out) == (1, "")
    assert f"--dense {text}: expected rows x columns" in done.err


def test_evaluation(run: Run, small: Path) -> None:
    small.write_text(MADE_UP)
    assert run("train").code == 0
    plain, same, large = (run("eval", "runs/model-1", *more) for more in ([], ["--dense=6x6"], ["--dense=8x10"]))
    assert same.out == plain.out.replace("synthetic", "synthetic at 6x6")
    assert "10 images of synthetic at 8x10: top-1 error" in large.out
    assert "the nearest sizes that do: 6 x 6 and 8 x 6" in run("eval", "runs/model-1", "--dense", "7x6").err


def test_data_of_another_size(run: Run, small: Path) -> None:
    small.write_text(MADE_UP.replace("[scale(1/128)]", "[subtract_mean()]"))
    assert run("train").code == 0
    assert "the mean image is 2 x 6 x 6, but the images are 2 x 8 x 8" in run("eval", "runs/model-1", "--dense=8x8").err


def test_scores_are_means_over_the_map() -> None:
    step = TrainingStep(read_model(MADE_UP), setup_of("cpu"))
    images = np.random.default_rng(0).standard_normal((5, 2, 8, 10)).astype("f4")
    maps = step.dense(8, 10)(images)
    assert maps.shape == (5, 3, 2, 3)
    predict = averaged(step, (8, 10))
    np.testing.assert_array_equal(predict(images), maps.mean(axis=(2, 3)))
    with pytest.raises(AlexnetError, match="gives images of 8 x 8, and --dense asks for 8 x 10"):
        predict(images[..., :8])


def test_crops_are_made_larger() -> None:
    data = read_model(MADE_UP.replace("eval: [scale(1/128)]", "eval: [subtract_mean(), ten_crop(6)]")).data
    assert data is not None
    assert uncropped(data, (32, 32)).eval == (SubtractMean(), CenterCrop(32))
    with pytest.raises(AlexnetError, match="cropped to squares by `ten_crop`"):
        uncropped(data, size_of("32x24"))
