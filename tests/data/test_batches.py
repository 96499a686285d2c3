"""The order of an epoch, and that every image is seen as often as it should be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet_ir.data.batches import epoch_order, eval_batches, train_batches
from alexnet_ir.data.dataset import Split
from alexnet_ir.data.preprocessing import Preprocessing
from alexnet_ir.diagnostics import AlexnetError
from alexnet_ir.dsl.spec import RandomCrop

PLAIN = Preprocessing((), (), seed=5, mean=None)


def numbered(count: int) -> Split:
    """Image i is full of i, and so is its label."""
    places = np.arange(count, dtype=np.int32)
    return Split(np.ones((count, 1, 2, 2), np.float32) * places[:, None, None, None], places)


@given(seed=st.integers(0, 2**64 - 1), epoch=st.integers(0, 10_000), count=st.integers(0, 500))
def test_an_order_is_a_permutation(seed: int, epoch: int, count: int) -> None:
    order = epoch_order(seed, epoch, count)
    assert sorted(order.tolist()) == list(range(count))
    np.testing.assert_array_equal(order, epoch_order(seed, epoch, count))


def test_orders_differ_by_seed_and_epoch() -> None:
    assert len({epoch_order(seed, epoch, 50).tobytes() for seed in range(3) for epoch in range(3)}) == 9


@given(count=st.integers(1, 60), batch=st.integers(1, 20), epoch=st.integers(0, 5))
def test_an_epoch_takes_each_sample_once_and_drops_the_short_batch(count: int, batch: int, epoch: int) -> None:
    if count < batch:
        return
    batches = list(train_batches(numbered(count), PLAIN, batch, epoch))
    assert len(batches) == count // batch
    for images, labels in batches:
        assert images.shape == (batch, 1, 2, 2)
        assert (images.dtype, labels.dtype) == (np.float32, np.int32)
        assert images.flags.c_contiguous
        np.testing.assert_array_equal(images[:, 0, 0, 0], labels)
    seen = np.concatenate([labels for _, labels in batches])
    np.testing.assert_array_equal(seen, epoch_order(5, epoch, count)[: len(seen)])


def test_an_epoch_can_be_entered_in_the_middle() -> None:
    split, crops = numbered(30), Preprocessing((RandomCrop(1),), (), 5, None)
    whole = list(train_batches(split, crops, 4, epoch=2))
    rest = list(train_batches(split, crops, 4, epoch=2, first=3))
    assert len(rest) == len(whole) - 3
    for (images, labels), (expected, names) in zip(rest, whole[3:], strict=True):
        np.testing.assert_array_equal(images, expected)
        np.testing.assert_array_equal(labels, names)


def test_fewer_images_than_a_batch() -> None:
    with pytest.raises(AlexnetError, match="the training set has 3 images, fewer than one batch of 4"):
        list(train_batches(numbered(3), PLAIN, 4, epoch=0))


@given(count=st.integers(0, 60), batch=st.integers(1, 20))
def test_evaluation_counts_every_image_once(count: int, batch: int) -> None:
    seen: list[int] = []
    for images, labels, valid in eval_batches(numbered(count), PLAIN, batch):
        assert images.shape == (batch, 1, 2, 2)
        assert (images.dtype, labels.dtype) == (np.float32, np.int32)
        assert 1 <= valid <= batch
        np.testing.assert_array_equal(images[:, 0, 0, 0], labels)
        assert not labels[valid:].any()
        seen += labels[:valid].tolist()
    assert seen == list(range(count))
