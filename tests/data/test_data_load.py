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

from alexnet_ir.data.dataset import holdout_mask
from alexnet_ir.data.load import load, unsupported
from alexnet_ir.diagnostics import AlexnetError
from alexnet_ir.dsl.spec import (
    CenterCrop,
    Cifar10,
    DataSpec,
    Digits,
    Folder,
    Mnist,
    PcaLight,
    Resize,
    Source,
    Synthetic,
    TenCrop,
)

LABELS = arrays(np.int32, st.integers(1, 300), elements=st.integers(0, 6))


def spec(source: Source, holdout: float | None = None, base: Path = Path(), **steps: Any) -> DataSpec:
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
def test_refusals(source: Source, expected: str) -> None:
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


def test_what_nothing_runs_yet_is_refused_all_at_once() -> None:
    section = spec(Folder("x"), train=(Resize(9), PcaLight(0.1), CenterCrop(8)), eval=(Resize(9), TenCrop(8)))
    lines = unsupported(section)
    assert lines[0] == "folder(...) is accepted by check, but nothing reads it yet"
    assert [line.split("(")[0] for line in lines] == ["folder", "resize", "pca_light", "ten_crop"]
    assert lines[3] == "ten_crop(...) is accepted by check, but nothing runs it yet"
    found = refusal(section)
    assert all(line in found for line in lines)
    assert unsupported(spec(Digits(), train=(CenterCrop(8),))) == []
