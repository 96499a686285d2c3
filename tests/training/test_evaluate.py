"""Error rates against plain counting; the centre crop, ten crops and several runs against sums by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from alexnet_ir.cli.main import main
from alexnet_ir.compiler import read_model
from alexnet_ir.data.dataset import Split
from alexnet_ir.data.preprocessing import Preprocessing
from alexnet_ir.dsl.spec import CenterCrop, Scale, SubtractMean, TenCrop
from alexnet_ir.setup import setup_of
from alexnet_ir.training.evaluate import Errors, evaluate, probabilities, ranks, scored
from alexnet_ir.training.step import Predictor
from alexnet_ir.training.weights import read_weights
from tests.data.containers import write_container
from tests.data.stepwise import center, ten_crops

from .models import TINY

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (37, 3, 9, 8), np.uint8)
SPLIT = Split(IMAGES, RNG.integers(0, 7, 37).astype(np.int32))
NET = """alx 1
net Small(classes = 7) {
  image = input(3, 6, 6)
  return image -> conv1: conv(4, 3, weight = normal(0.02)) -> relu -> flatten -> fc1: fc(classes, weight = normal(0.5))
}
data d { source: folder("set")  train: [subtract_mean(), random_crop(6), random_flip()]
         eval: [subtract_mean(), CROP(6)] }
train t { batch: 16  stop: steps(2)  loss: LOSS()  optimizer: sgd(lr = 0.001) }
"""


def model(crop: str = "center_crop", loss: str = "softmax_cross_entropy") -> str:
    return NET.replace("CROP", crop).replace("LOSS", loss)


def net(loss: str = "softmax_cross_entropy") -> Predictor:
    return Predictor(read_model(model(loss=loss)), setup_of("cpu"))


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores.astype(np.float64))
    return powers / powers.sum(axis=-1, keepdims=True)


SCORES = arrays(np.float32, st.tuples(st.integers(1, 8), st.integers(1, 9)), elements=st.integers(-3, 3))


@given(scores=SCORES, data=st.data())
def test_a_label_is_wrong_where_enough_others_score_as_high(scores: np.ndarray, data: st.DataObject) -> None:
    count, classes = scores.shape
    labels = np.array(data.draw(st.lists(st.integers(0, classes - 1), min_size=count, max_size=count)))
    above = [sum(s >= row[label] for s in row) - 1 for row, label in zip(scores, labels, strict=True)]
    found = Errors.of(ranks(scores, labels))
    assert found.images == count
    assert found.top1 == np.mean([n >= 1 for n in above])
    assert found.top5 == np.mean([n >= 5 for n in above])


def test_scores_that_are_no_numbers_are_wrong() -> None:
    scores = np.array([[1, np.nan, 0], [np.nan, 5, 6], [2, 1, 0]], np.float32)
    assert (ranks(scores, np.array([0, 0, 0])) > 0).tolist() == [True, True, False]


def test_each_image_once_by_its_centre() -> None:
    own = net()
    expected = own.predict(center(IMAGES.astype(np.float32), 6))
    for steps in ((CenterCrop(6),), (TenCrop(6),)):
        preprocessing = Preprocessing((), steps, 0, None)
        (found, labels) = (np.concatenate(parts) for parts in zip(*scored(own, SPLIT, preprocessing), strict=True))
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        np.testing.assert_array_equal(labels, SPLIT.labels)
        assert evaluate(own, SPLIT, preprocessing) == Errors.of(ranks(expected, SPLIT.labels))


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "hinge"])
def test_ten_crops_are_averaged(loss: str) -> None:
    own, mean = net(loss), IMAGES.mean(axis=0).astype(np.float32)
    views = own.predict(ten_crops((IMAGES - mean) / 4, 6)).reshape(37, 10, 7)
    expected = (softmax(views) if loss == "softmax_cross_entropy" else views).mean(axis=1)
    preprocessing = Preprocessing((), (SubtractMean(), TenCrop(6), Scale(0.25)), 0, mean)
    (found, _) = (
        np.concatenate(parts) for parts in zip(*scored(own, SPLIT, preprocessing, ten_crop=True), strict=True)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    ten = evaluate(own, SPLIT, preprocessing, ten_crop=True)
    assert ten == Errors.of(ranks(expected, SPLIT.labels))
    assert ten != evaluate(own, SPLIT, preprocessing)


def test_probabilities_of_large_scores() -> None:
    found = probabilities(net(), np.array([[1000.0, 999, -1000]], np.float32))
    np.testing.assert_allclose(found, [[1 / (1 + np.exp(-1)), 1 / (1 + np.e), 0]], rtol=1e-12)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a container and a model of ten crops."""
    monkeypatch.chdir(tmp_path)
    write_container(tmp_path / "set", SPLIT, SPLIT.take(np.arange(30)))
    (tmp_path / "model.alx").write_text(model("ten_crop"))
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(["eval", *arguments]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(["eval", *arguments]) == 1
    error = capsys.readouterr().err
    assert sum(line.startswith("error") for line in error.splitlines()) == 1
    return error


def test_eval_of_one_run_and_of_several(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--run-dir", "a"]) == main(["train", "--run-dir", "b", "--seed", "5"]) == 0
    (final,) = [r for r in map(json.loads, Path("a/metrics.jsonl").read_text().splitlines()) if r["kind"] == "final"]
    one = json.loads(printed(capsys, "a", "--json"))
    assert (one["top1"], one["ten_crop"]["top1"]) == (final["center"]["top1"], final["ten_crop"]["top1"])
    assert one["images"] == 30
    centre, ten = printed(capsys, "a").splitlines()
    assert centre.startswith(f"a/final.safetensors: 30 images of folder, centre crop: top-1 error {one['top1']:.2%}")
    assert ten.startswith(
        f"a/final.safetensors: 30 images of folder, ten crops: top-1 error {one['ten_crop']['top1']:.2%}"
    )

    both = json.loads(printed(capsys, "a", "b", "--json"))
    assert both["runs"][0] == one
    crops = center(IMAGES - IMAGES.mean(axis=0, dtype=np.float32), 6)[:30]
    total = np.zeros((30, 7))
    for name in "ab":
        own = net()
        own.load(read_weights(Path(name, "final.safetensors")).tensors)
        total += softmax(own.predict(crops))
    assert both["average"]["top1"] == Errors.of(ranks(total, SPLIT.labels[:30])).top1
    *_, last = printed(capsys, "a", "b").splitlines()
    assert last.startswith("average of 2 runs: 30 images of folder, ten crops: top-1 error")


def test_ten_crops_where_the_data_has_one(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--run-dir", "ten"]) == 0
    Path("model.alx").write_text(model("center_crop"))
    assert main(["train", "--run-dir", "one"]) == 0
    assert len(printed(capsys, "one").splitlines()) == 1
    asked = printed(capsys, "one", "--ten-crop").replace("one/", "ten/")
    assert asked == printed(capsys, "ten")
    *rows, average = printed(capsys, "one", "ten").splitlines()
    assert len(rows) == 3
    assert average.startswith("average of 2 runs: 30 images of folder: top-1 error")


def test_refusals(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--run-dir", "a"]) == 0
    assert "leave out --ten-crop and other runs" in refused(capsys, "a", "--ten-crop", "--dense", "8x8")
    Path("set").rename("moved")
    missing = refused(capsys, "a")
    assert "set: expected a prepared set or a folder of photographs (--data DIR names another one)" in missing
    assert printed(capsys, "a", "--data", "moved")
    Path("model.alx").write_text(TINY)
    assert main(["train", "--run-dir", "b"]) == main(["train", "--run-dir", "c", "--seed", "8"]) == 0
    assert "--ten-crop: evaluation takes whole images" in refused(capsys, "b", "--ten-crop")
    assert "b/final.safetensors and c/final.safetensors are not evaluated on the same" in refused(capsys, "b", "c")
