"""Containers: the array that they stand for, and what happens to damaged ones."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from alexnet_ir.data.container.layout import MANIFEST, Manifest, sealed
from alexnet_ir.data.container.reading import is_container, open_container
from alexnet_ir.data.container.verify import damage
from alexnet_ir.data.dataset import Split
from alexnet_ir.diagnostics import AlexnetError
from tests.data.containers import write_container


def split_of(count: int, shape: tuple[int, int, int] = (3, 5, 4), seed: int = 0) -> Split:
    """Smooth images, so that JPEG changes them little."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (count, shape[0], 2, 2))
    rows, columns = (np.linspace(0, 1, n) for n in shape[1:])
    down, across = np.stack([1 - rows, rows], 1), np.stack([1 - columns, columns], 1)
    images = np.einsum("ncij,ri,wj->ncrw", coarse, down, across).astype(np.uint8)
    return Split(images, random.integers(0, 4, count).astype(np.int32))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of JPEGs: 20 images to train on, in three shards, and 3 to judge by."""
    train, evaluation = split_of(20, (3, 24, 30)), split_of(3, (3, 24, 30), seed=1)
    return write_container(tmp_path_factory.mktemp("sets") / "jpeg", train, evaluation, "jpeg")


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))


def decoded(path: Path) -> NDArray[np.uint8]:
    return open_container(path).train.images[:]


def lines_of_damage(path: Path) -> list[str]:
    return [line for line in damage(path, Manifest.read(path)) if line]


@settings(max_examples=30)
@given(
    count=st.integers(1, 30),
    shard=st.integers(1, 31),
    shape=st.tuples(st.sampled_from([1, 3]), st.integers(1, 6), st.integers(1, 6)),
    data=st.data(),
)
def test_stands_for_an_array(
    tmp_path_factory: pytest.TempPathFactory, count: int, shard: int, shape: tuple[int, int, int], data: st.DataObject
) -> None:
    split = split_of(count, shape)
    path = write_container(tmp_path_factory.mktemp("raw"), split, None, shard_images=shard)
    container = open_container(path)
    store, array = container.train.images, split.images
    assert container.eval is None
    assert (store.shape, store.dtype, len(store)) == (array.shape, array.dtype, count)
    np.testing.assert_array_equal(container.train.labels, split.labels)
    places = np.array(data.draw(st.lists(st.integers(0, count - 1))), int)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    for chosen in (slice(None), slice(1, None, 2), places, mask):
        np.testing.assert_array_equal(store[chosen], array[chosen])
    np.testing.assert_array_equal(store.take(mask)[:], array[mask])
    np.testing.assert_array_equal(store.take(places).take(places < 5)[:], array[places[places < 5]])


def test_jpeg_is_near_and_always_the_same(made: Path) -> None:
    container = open_container(made)
    images = container.train.images[:]
    expected = split_of(20, (3, 24, 30)).images
    assert np.abs(images.astype(int) - expected).mean() < 4
    for out in (np.empty((3, 24, 30), np.uint8), np.moveaxis(np.empty((24, 30, 3), np.uint8), 2, 0)):
        for sample in (0, 7, 19):
            container.train.images.read(sample, out)
            np.testing.assert_array_equal(out, images[sample])


def test_classes_and_evaluation_set(made: Path) -> None:
    container = open_container(made)
    assert container.eval is not None
    assert container.eval.images.shape == (3, 3, 24, 30)
    assert container.ids == ("n00000000", "n00000001", "n00000002", "n00000003")
    assert container.classes[2] == "class 2"
    assert is_container(made)
    assert not is_container(made.parent)


def test_statistics_are_those_of_the_decoded_pixels(made: Path) -> None:
    train = open_container(made).train
    images = train.images[:].astype(np.float64)
    assert train.statistics is not None
    np.testing.assert_array_equal(train.statistics.mean, images.mean(axis=0).astype(np.float32))
    covariance = np.cov(images.transpose(1, 0, 2, 3).reshape(3, -1), bias=True)
    np.testing.assert_allclose(train.statistics.covariance, covariance, rtol=1e-12)


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_bit_of_the_data_is_watched(made: Path, place: float, bit: int) -> None:
    """The damaged image is named, when it is read and by `verify`; the others are read as before."""
    whole = decoded(made)
    path = made / "train-00001.data"
    content = path.read_bytes()
    at = int(place * len(content))
    try:
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])
        container = open_container(made)
        bad = int(np.searchsorted(container.train.images.places["offset"][7:14], at, side="right")) + 6
        with pytest.raises(AlexnetError) as caught:
            container.train.images[bad : bad + 1]
        assert f"train-00001.data: image {bad - 7} (image-{bad}) is damaged" in str(caught.value)
        assert "alexnet-ir data verify" in str(caught.value)
        others = np.arange(20) != bad
        np.testing.assert_array_equal(container.train.images[others], whole[others])
        assert f"{path}: image-{bad} is damaged" in lines_of_damage(made)
    finally:
        path.write_bytes(content)
    assert lines_of_damage(made) == []


@pytest.mark.parametrize(
    "name", ["train-00000.data", "train-00002.index", "eval-00000.index", "statistics.safetensors"]
)
@pytest.mark.parametrize("how", ["missing", "short"])
def test_files_that_are_missing_or_short(copy: Path, name: str, how: str) -> None:
    path = copy / name
    content = path.read_bytes()
    path.unlink()
    if how == "short":
        path.write_bytes(content[:-1])
    with pytest.raises(AlexnetError) as caught:
        open_container(copy)
    assert name in str(caught.value)
    assert any(name in line for line in lines_of_damage(copy))


@given(place=st.floats(0, 1, exclude_max=True), change=st.binary(min_size=1, max_size=3))
def test_a_damaged_manifest_is_refused_or_means_the_same(made: Path, place: float, change: bytes) -> None:
    path = made / MANIFEST
    content, manifest = path.read_bytes(), Manifest.read(made)
    at = int(place * len(content))
    try:
        path.write_bytes(content[:at] + change + content[at + len(change) :])
        with contextlib.suppress(AlexnetError):
            assert Manifest.read(made) == manifest
    finally:
        path.write_bytes(content)


def test_what_is_no_manifest_of_this_version(tmp_path: Path) -> None:
    for content, found in (
        (b"{}", "damaged"),
        (b"[1]", "damaged"),
        (sealed({}).replace(b"data 1", b"data 2"), "found 'alexnet-ir data 2'"),
        (sealed({"plan": {}}), "without sense"),
    ):
        (tmp_path / MANIFEST).write_bytes(content)
        with pytest.raises(AlexnetError) as caught:
            open_container(tmp_path)
        assert found in str(caught.value)


def test_no_container(tmp_path: Path) -> None:
    with pytest.raises(AlexnetError, match="alexnet-ir prepare SOURCE OUT"):
        open_container(tmp_path)
