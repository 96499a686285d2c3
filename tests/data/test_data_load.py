"""Sources and `holdout`: what a `data` section becomes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from alexnet_ir.data.dataset import Split, holdout_mask
from alexnet_ir.data.load import load, load_for
from alexnet_ir.data.statistics import statistics_of
from alexnet_ir.diagnostics import AlexnetError, Source
from alexnet_ir.dsl import spec as dsl
from alexnet_ir.dsl.model import load as load_model
from alexnet_ir.dsl.model import read_source
from alexnet_ir.dsl.spec import Cifar10, DataSpec, Digits, Folder, Mnist, RandomCrop, Resize, Synthetic
from tests.data.containers import write_container

LABELS = arrays(np.int32, st.integers(1, 300), elements=st.integers(0, 6))


def spec(source: dsl.Source, holdout: float | None = None, base: Path = Path(), **steps: Any) -> DataSpec:
    return DataSpec("d", source, steps.get("train", ()), steps.get("eval", ()), holdout, base)


def write_cifar10(directory: Path, batches: dict[str, list[int]]) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, labels in batches.items():
        records = np.zeros((len(labels), 3073), np.uint8)
        records[:, 0] = labels
        records.tofile(directory / f"{name}.bin")
    return directory


def refusal(section: DataSpec, image: tuple[int, int, int] = (3, 32, 32)) -> str:
    with pytest.raises(AlexnetError) as caught:
        load(section, image, seed=0)
    return str(caught.value)


@given(labels=LABELS, fraction=st.floats(0.01, 0.99), seed=st.integers(0, 2**64 - 1))
def test_holdout_takes_its_share_of_each_class(labels: np.ndarray, fraction: float, seed: int) -> None:
    held = holdout_mask(labels, fraction, seed)
    for label in range(7):
        of_class = labels == label
        assert abs(held[of_class].sum() - fraction * of_class.sum()) <= 0.5 + 1e-9
    np.testing.assert_array_equal(held, holdout_mask(labels.copy(), fraction, seed))


def test_holdout_depends_on_the_seed() -> None:
    labels = np.zeros(100, np.int32)
    chosen = {holdout_mask(labels, 0.2, seed).tobytes() for seed in range(5)}
    assert len(chosen) == 5


def test_digits() -> None:
    data = load(spec(Digits(), holdout=0.2), (1, 8, 8), seed=0)
    assert (len(data.train), len(data.eval)) == (1438, 359)
    assert data.train.images.shape == (1438, 1, 8, 8)
    assert (data.train.images.min(), data.train.images.max()) == (0, 255)
    assert data.train.labels.dtype == np.int32
    assert data.classes == tuple("0123456789")


def test_digits_needs_holdout() -> None:
    found = refusal(spec(Digits()))
    assert "digits(...) has no evaluation set of its own" in found
    assert "holdout: 20%" in found


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert 'pip install "alexnet-ir[examples]"' in refusal(spec(Digits(), holdout=0.2))


def test_holdout_that_leaves_nothing() -> None:
    assert "leaves one of the two sets empty" in refusal(spec(Synthetic(8, 8), holdout=0.2))


def test_directories_count_from_the_model_file(tmp_path: Path) -> None:
    write_cifar10(tmp_path / "sets", {"data_batch_1": [1, 2], "data_batch_5": [3]})
    source = Cifar10("sets", train=(1,), eval=(5,))
    data = load(spec(source, base=tmp_path), (3, 32, 32), seed=0)
    assert (data.train.labels.tolist(), data.eval.labels.tolist()) == ([1, 2], [3])
    moved = load(spec(source, base=Path("/nowhere")), (3, 32, 32), seed=0, data_dir=tmp_path / "sets")
    assert moved.train.labels.tolist() == [1, 2]


def test_holdout_replaces_the_sources_own_evaluation_set(tmp_path: Path) -> None:
    write_cifar10(tmp_path, {"data_batch_1": [0] * 10 + [1] * 20})
    data = load(spec(Cifar10(str(tmp_path), train=(1,)), holdout=0.1), (3, 32, 32), seed=0)
    assert np.bincount(data.train.labels).tolist() == [9, 18]
    assert np.bincount(data.eval.labels).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (Cifar10("x", train=(1, 2), eval=(2,)), "batch 2 is named twice"),
        (Cifar10("x", train=(1, 1)), "batch 1 is named twice"),
        (Cifar10("x", train=()), "`train` is an empty list of batches"),
        (Cifar10("x", train=(1,), eval=()), "cifar10(...) has no evaluation set of its own"),
        (Mnist("nowhere"), "nowhere: expected the folder with MNIST"),
    ],
)
def test_refusals(source: dsl.Source, expected: str) -> None:
    assert expected in refusal(spec(source))


def test_synthetic_is_a_function_of_the_seed() -> None:
    section = spec(Synthetic(50, 4))
    data, same, other = (load(section, (3, 13, 10), seed) for seed in (1, 1, 2))
    assert data.train.images.shape == (50, 3, 13, 10)
    assert data.train.images.dtype == np.uint8
    assert data.train.images.max() > 127
    assert len(data.eval) == 5
    assert data.classes == ("0", "1", "2", "3")
    assert np.bincount(data.train.labels).tolist() == [13, 13, 12, 12]
    np.testing.assert_array_equal(data.train.images, same.train.images)
    assert not np.array_equal(data.train.images, other.train.images)
    assert not np.array_equal(data.train.images[:5], data.eval.images)


def test_synthetic_classes_can_be_told_apart() -> None:
    data = load(spec(Synthetic(400, 4)), (1, 8, 8), seed=0)
    train, test = data.train.images.astype(float), data.eval.images.astype(float)
    means = np.stack([train[data.train.labels == label].mean(axis=0) for label in range(4)])
    nearest = ((test[:, None] - means) ** 2).sum(axis=(2, 3, 4)).argmin(axis=1)
    assert (nearest == data.eval.labels).all()


def write_photographs(folder: Path, counts: dict[str, int], size: tuple[int, int] = (40, 30)) -> Path:
    """PNGs of one colour each, its red the number of the class and its green that of the image."""
    for label, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Image.new("RGB", size, (label, number, 7)).save(folder / name / f"{number}.png")
    return folder


def test_a_folder_of_classes(tmp_path: Path) -> None:
    write_photographs(tmp_path / "animals", {"cat": 3, "bird": 5})
    section = spec(Folder("animals"), 0.4, tmp_path, train=(Resize(16), RandomCrop(12)), eval=(Resize(14),))
    data = load(section, (3, 12, 12), seed=0)
    assert data.classes == ("bird", "cat")
    assert data.train.images.shape == (5, 3, 16, 16)
    assert np.bincount(data.train.labels).tolist() == [3, 2]
    assert np.bincount(data.eval.labels).tolist() == [2, 1]
    # `cat` was written first and is class 1.
    np.testing.assert_array_equal(data.train.images[:, 0, 3, 4], 1 - data.train.labels)
    assert load(spec(Folder("animals"), 0.4, tmp_path), (3, 12, 12), seed=0).train.images.shape == (5, 3, 256, 256)


def test_a_folder_with_a_set_for_evaluation(tmp_path: Path) -> None:
    write_photographs(tmp_path / "train", {"a": 3, "b": 2})
    write_photographs(tmp_path / "val", {"a": 1, "b": 1})
    section = spec(Folder("elsewhere"), train=(Resize(8),), eval=(Resize(8),))
    data = load(section, (3, 8, 8), seed=0, data_dir=tmp_path)
    assert (data.train.labels.tolist(), data.eval.labels.tolist()) == ([0, 0, 0, 1, 1], [0, 1])
    assert data.train.images[:][:, 1, 0, 0].tolist() == [0, 1, 2, 0, 1]


def test_a_container(tmp_path: Path) -> None:
    data = load(spec(Synthetic(30, 3)), (3, 9, 8), seed=0)
    write_container(tmp_path / "set", data.train, data.eval)
    found = load(spec(Folder("set"), base=tmp_path), (3, 8, 8), seed=0)
    assert found.classes == ("class 0", "class 1", "class 2")
    for one, other in ((found.train, data.train), (found.eval, data.eval)):
        assert not isinstance(one.images, np.ndarray)
        np.testing.assert_array_equal(one.images[:], other.images)
        np.testing.assert_array_equal(one.labels, other.labels)
    known, counted = statistics_of(found.train), statistics_of(data.train)
    np.testing.assert_array_equal(known.mean, counted.mean)
    np.testing.assert_allclose(known.covariance, counted.covariance, rtol=1e-9)


def test_statistics_of_a_part_of_a_container(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (70, 3, 5, 4), np.uint8)
    write_container(tmp_path / "set", Split(images, np.arange(70, dtype=np.int32) % 2), None)
    data = load(spec(Folder("set"), 0.5, tmp_path), (3, 5, 4), seed=0)
    own = data.train.images[:]
    assert len(own) == 34
    found = statistics_of(data.train)
    np.testing.assert_array_equal(found.mean, own.mean(axis=0, dtype=np.float64).astype(np.float32))
    pixels = own.transpose(1, 0, 2, 3).reshape(3, -1)
    np.testing.assert_allclose(found.covariance, np.cov(pixels, bias=True), rtol=1e-9)
    np.testing.assert_array_equal(statistics_of(data.train, colours=False).mean, found.mean)


def test_folders_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = refusal(spec(Folder("imagenet"), base=tmp_path))
    assert "imagenet: expected a prepared set or a folder of photographs (--data DIR names another one)" in missing
    assert "https://image-net.org" in missing
    assert "1d675b47d978889d74fa0da5fadfb00e" in missing
    folder = write_photographs(tmp_path / "a", {"x": 2, "y": 2})
    (folder / "x" / "broken.png").write_bytes(b"no image")
    assert "x/broken.png cannot be read" in refusal(spec(Folder("a"), 0.5, tmp_path))
    monkeypatch.setattr("alexnet_ir.data.folder.MOST_BYTES", 5 * 3 * 256**2 - 1)
    found = refusal(spec(Folder("a"), 0.5, tmp_path))
    assert f"prepare it first: alexnet-ir prepare {folder} OUT" in found


NET = """alx 1
net Small(classes = 3) {{
  image = input(3, 8, 8)
  return image -> flatten -> fc1: fc(classes)
}}
data d {{ source: folder("set")  train: [{train}]  eval: [center_crop(8)] }}
train t {{ net: Small(classes = {classes})  batch: 2  stop: epochs(1)  optimizer: sgd(lr = 0.1) }}
"""


@pytest.mark.parametrize(
    ("classes", "train", "expected"),
    [
        (4, "random_crop(8)", "error[R005]: `Small` scores 4 classes, `folder` has 3"),
        (2, "random_crop(8)", "error[R005]: `Small` scores 2 classes, `folder` has 3"),
        (3, "", "error[R006]: `Small` reads images of 3 x 8 x 8, the data gives 3 x 9 x 10"),
        (3, "resize(7)", "error[R006]: `Small` reads images of 3 x 8 x 8, the data gives 3 x 7 x 8"),
        (3, "resize(7), random_crop(8)", "a crop of 8 is larger than the image, 3 x 7 x 8"),
    ],
)
def test_data_that_does_not_suit_the_net(tmp_path: Path, classes: int, train: str, expected: str) -> None:
    data = load(spec(Synthetic(12, 3)), (3, 9, 10), seed=0)
    write_container(tmp_path / "set", data.train, data.eval)
    path = tmp_path / "model.alx"
    path.write_text(NET.format(classes=classes, train=train))
    with pytest.raises(AlexnetError) as caught:
        load_for(load_model(read_source(path)), 0)
    assert expected in str(caught.value)
    fitting = load_model(Source(str(path), NET.format(classes=3, train="resize(8), random_crop(8)")))
    assert len(load_for(fitting, 0).train) == 12
