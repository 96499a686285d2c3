"""Batches: the order of an epoch, and the images as the net sees them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from alexnet_ir.data.dataset import Split
from alexnet_ir.data.preprocessing import Floats, Preprocessing
from alexnet_ir.diagnostics import error
from alexnet_ir.philox import Domain, Key, random_bits


def epoch_order(seed: int, epoch: int, count: int) -> NDArray[np.intp]:
    """The order in which an epoch takes its samples: a permutation of `count`, a pure function of its arguments."""
    return np.argsort(random_bits(Key(seed, Domain.ORDER, step=epoch), count), kind="stable")


def train_batches(
    split: Split, preprocessing: Preprocessing, batch: int, epoch: int, first: int = 0
) -> Iterator[tuple[Floats, NDArray[np.int32]]]:
    """The epoch's images, float32 [batch, channels, rows, columns], and labels, from batch number `first` on; the last
    short batch is dropped. AlexnetError where the set is smaller than one batch."""
    if len(split) < batch:
        raise error(
            f"the training set has {len(split)} images, fewer than one batch of {batch}",
            helps=(f"batch: {len(split)} or less", "more images"),
        )
    order = epoch_order(preprocessing.seed, epoch, len(split))
    for start in range(first * batch, len(split) - batch + 1, batch):
        samples = order[start : start + batch]
        yield preprocessing.train_images(split.images[samples], samples, epoch), split.labels[samples]


def eval_batches(
    split: Split, preprocessing: Preprocessing, batch: int
) -> Iterator[tuple[Floats, NDArray[np.int32], int]]:
    """Every image once, in order: images and labels as in training, and how many of them count. The last batch is
    filled up with zeros, so that all have the same shape."""
    for start in range(0, len(split), batch):
        images = preprocessing.eval_images(split.images[start : start + batch], start)
        labels = split.labels[start : start + batch]
        valid, fill = len(labels), batch - len(labels)
        if fill:
            images = np.concatenate([images, np.zeros((fill, *images.shape[1:]), np.float32)])
            labels = np.concatenate([labels, np.zeros(fill, np.int32)])
        yield images, labels, valid
