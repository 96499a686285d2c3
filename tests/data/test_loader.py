"""Batches: that every image is seen as often as it should be, and that who reads them, and how fast, is of no
matter."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet_ir.data.batches import AHEAD, epoch_order
from alexnet_ir.data.dataset import Images, Split, Store
from alexnet_ir.data.loader import Loader
from alexnet_ir.data.preprocessing import Preprocessing
from alexnet_ir.data.resize import Resized, resized, resized_image
from alexnet_ir.diagnostics import AlexnetError, error
from alexnet_ir.dsl.spec import CenterCrop, PcaLight, RandomCrop, RandomFlip, Resize, TenCrop

PLAIN = Preprocessing((), (), seed=5, mean=None)
AUGMENTED = Preprocessing(
    (RandomCrop(3), RandomFlip(), PcaLight(0.1)), (CenterCrop(3),), seed=5, mean=None, covariance=np.diag([900.0, 9, 1])
)


@dataclass(eq=False)
class Slow:
    """A `Store` of an array whose images take unequal times, and one of which may be damaged; counts what was read."""

    array: np.ndarray
    seconds: float = 0.0
    damaged: int | None = None
    reads: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, samples: Any) -> np.ndarray:
        return self.array[samples]

    def read(self, sample: int, out: np.ndarray) -> None:
        self.reads += 1
        time.sleep(self.seconds * (sample % 3))
        if sample == self.damaged:
            raise error(f"image {sample} is damaged")
        out[:] = self.array[sample]

    def take(self, chosen: np.ndarray) -> Store:
        return Slow(self.array[chosen])


def numbered(count: int, *, slow: bool = False, size: int = 2) -> Split:
    """Image i is full of i, and so is its label."""
    places = np.arange(count, dtype=np.int32)
    images: Images = np.ones((count, 3, size, size), np.uint8) * places[:, None, None, None].astype(np.uint8)
    return Split(Slow(images) if slow else images, places)


COUNTS = {"count": st.integers(1, 60), "batch": st.integers(1, 20), "slow": st.booleans()}


@given(epoch=st.integers(0, 5), **COUNTS)
def test_an_epoch_takes_each_sample_once_and_drops_the_short_batch(
    count: int, batch: int, epoch: int, slow: bool
) -> None:
    if count < batch:
        return
    loader, seen = Loader(numbered(count, slow=slow), PLAIN, batch), []
    for images, labels in loader.train(epoch):
        assert images.shape == (batch, 3, 2, 2)
        assert labels.dtype == np.int32
        np.testing.assert_array_equal(images.evaluate()[:, 0, 0, 0], labels)
        seen += labels.tolist()
    assert len(seen) == batch * loader.steps_per_epoch == count // batch * batch
    assert seen == epoch_order(5, epoch, count)[: len(seen)].tolist()


@given(**COUNTS)
def test_evaluation_counts_every_image_once(count: int, batch: int, slow: bool) -> None:
    seen = []
    for images, labels in Loader(numbered(count, slow=slow), PLAIN, batch).eval():
        assert 1 <= len(images) == len(labels) <= batch
        np.testing.assert_array_equal(images.evaluate()[:, 0, 0, 0], labels)
        seen += labels.tolist()
    assert seen == list(range(count))


@settings(max_examples=30)
@given(workers=st.integers(1, 9), first=st.integers(0, 5), batch=st.integers(1, 6), seconds=st.sampled_from([0, 0.001]))
def test_workers_and_restarts_change_nothing(workers: int, first: int, batch: int, seconds: float) -> None:
    images = np.random.default_rng(0).integers(0, 256, (32, 3, 5, 4), np.uint8)
    labels = np.arange(32, dtype=np.int32)
    alone = [(f.evaluate(), names) for f, names in Loader(Split(images, labels), AUGMENTED, batch).train(2)]
    loader = Loader(Split(Slow(images, seconds), labels), AUGMENTED, batch, workers)
    rest = [(f.evaluate(), names) for f, names in loader.train(2, first)]
    assert len(rest) == len(alone) - min(first, len(alone))
    for (found, names), (expected, known) in zip(rest, alone[first:], strict=True):
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(names, known)


def test_ten_crops_are_of_the_images_of_the_batch() -> None:
    loader = Loader(numbered(7, size=4), Preprocessing((), (TenCrop(3),), 0, None), 4)
    sizes = [(len(images), len(labels)) for images, labels in loader.eval(views=True)]
    assert sizes == [(40, 4), (30, 3)]
    assert [len(images) for images, _ in loader.eval()] == [4, 3]
    for images, labels in loader.eval(views=True):
        np.testing.assert_array_equal(images.evaluate()[:, 0, 0, 0], np.repeat(labels, 10))


def test_fewer_images_than_a_batch() -> None:
    with pytest.raises(AlexnetError, match="the training set has 3 images, fewer than one batch of 4"):
        Loader(numbered(3), PLAIN, 4).train(0)


def test_a_damaged_image_is_told_of_where_it_is_used_and_threads_end() -> None:
    before = threading.active_count()
    damaged = int(epoch_order(5, 0, 32)[13])
    split = numbered(32)
    assert isinstance(split.images, np.ndarray)
    batches = Loader(Split(Slow(split.images, damaged=damaged), split.labels), PLAIN, 4).train(0)
    assert [len(next(batches)[1]) for _ in range(3)] == [4, 4, 4]
    with pytest.raises(AlexnetError, match=f"image {damaged} is damaged"):
        next(batches)
    assert threading.active_count() == before


def test_leaving_early_ends_the_threads_and_reads_no_more() -> None:
    before, store = threading.active_count(), Slow(np.zeros((400, 3, 2, 2), np.uint8))
    batches = Loader(Split(store, np.zeros(400, np.int32)), PLAIN, 4).train(0)
    next(batches)
    batches.close()
    assert threading.active_count() == before
    assert store.reads <= 4 * (AHEAD + 1)


def test_reading_goes_on_while_a_batch_is_in_use() -> None:
    store = Slow(np.zeros((64, 3, 2, 2), np.uint8))
    batches = Loader(Split(store, np.zeros(64, np.int32)), PLAIN, 4).train(0)
    next(batches)
    deadline = time.monotonic() + 10
    while store.reads < 4 * (AHEAD + 1):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    batches.close()


def test_waiting_is_counted_and_training_is_not() -> None:
    images = np.zeros((8, 3, 2, 2), np.uint8)
    loader = Loader(Split(Slow(images, 0.02), np.zeros(8, np.int32)), PLAIN, 4, workers=1)
    for _ in loader.train(0):
        pass
    assert 0.02 * sum(n % 3 for n in range(8)) * 0.9 < loader.waited
    loader = Loader(Split(images, np.zeros(8, np.int32)), PLAIN, 4)
    begin = time.perf_counter()
    for _ in loader.train(0):
        time.sleep(0.05)
    assert time.perf_counter() - begin - loader.waited >= 0.1


def test_another_preprocessing_counts_from_the_next_batch() -> None:
    loader = Loader(numbered(32, slow=True, size=4), AUGMENTED, 4)
    batches = loader.train(0)
    assert next(batches)[0].shifts.any()
    loader.preprocessing = AUGMENTED.setting("pca_light", std=0)
    assert not next(batches)[0].shifts.any()
    batches.close()


GRADIENT = np.linspace(0, 250, 12 * 16).reshape(12, 16).astype(np.uint8)


@pytest.mark.parametrize("slow", [True, False])
def test_resizing_is_a_part_of_reading(slow: bool) -> None:
    images = np.stack([np.stack([GRADIENT] * 3)] * 6)
    split = Split(Slow(images) if slow else images, np.zeros(6, np.int32))
    mean = images[0].astype(np.float32)
    steps = (Resize(6), RandomCrop(5))
    loader = Loader(split, Preprocessing(steps, (Resize(9),), 0, mean), 3)
    for fed, _ in loader.train(0):
        assert fed.images.shape == (3, 3, 6, 8)
        assert fed.shape == (3, 3, 5, 5)
        np.testing.assert_array_equal(fed.images[0], resized_image(images[0], 6))
    (first, _), *_ = loader.eval()
    assert first.shape == (3, 3, 9, 12)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("size", [4, 12, 31])
def test_resizing_keeps_what_is_smooth(dtype: type, size: int) -> None:
    image = GRADIENT[None].astype(dtype)
    found = resized_image(image, size)
    assert found.dtype == dtype
    assert found.shape == (1, size, round(size * 16 / 12))
    across = (np.arange(found.shape[2]) + 0.5) * 16 / found.shape[2] - 0.5
    down = (np.arange(size) + 0.5) * 12 / size - 0.5
    plane = 250 / 191 * (16 * down[:, None] + across[None, :])
    inner = (slice(size // 4, -size // 4), slice(size // 4, -size // 4))
    np.testing.assert_allclose(found[0][inner], plane[inner], atol=3)


def test_resizing_antialiases() -> None:
    stripes = np.zeros((1, 64, 64), np.uint8)
    stripes[..., ::2] = 255
    assert 120 <= resized_image(stripes, 8).min() <= resized_image(stripes, 8).max() <= 135


def test_what_has_the_size_is_left_alone() -> None:
    images = np.zeros((2, 3, 8, 12), np.uint8)
    assert resized(images, [8]) is images
    twice = resized(images, [4, 8])
    assert isinstance(twice, Resized)
    assert twice.shape == twice[:].shape == (2, 3, 8, 12)
    assert twice.take(np.array([1])).shape[0] == len(twice.take(np.array([True, False]))) == 1
