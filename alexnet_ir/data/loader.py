"""Batches as the net is fed them, read by threads while the step before them runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet_ir.backends.augment import Augmented
from alexnet_ir.backends.streams import cores
from alexnet_ir.data.batches import Samples, epoch_order, read_ahead
from alexnet_ir.data.dataset import Images, Split, Store
from alexnet_ir.data.preprocessing import Preprocessing
from alexnet_ir.diagnostics import error

Fed = tuple[Augmented, NDArray[np.int32]]
"""A batch and its labels. The images are only valid until the next batch is asked for: their memory is used again."""


class Loader:
    """A set's images in batches, for training or in order. Which images, in which order and how they are augmented is
    a pure function of (seed, epoch, batch number): neither `workers` (threads that read; None: one a core) nor where an
    epoch is entered change it.

    `preprocessing` may be replaced at any time, and the next batch is augmented by the new one: its `resize` steps
    must be the same. `waited` counts the seconds that whoever took the batches waited for them.
    """

    def __init__(self, split: Split, preprocessing: Preprocessing, batch: int, workers: int | None = None) -> None:
        self.split, self.preprocessing, self.batch = split, preprocessing, batch
        self.workers = workers or cores()
        self.waited = 0.0

    @property
    def steps_per_epoch(self) -> int:
        """Training batches in an epoch, the last short one dropped; AlexnetError where there is not one."""
        if len(self.split) < self.batch:
            raise error(
                f"the training set has {len(self.split)} images, fewer than one batch of {self.batch}",
                helps=(f"batch: {len(self.split)} or less", "more images"),
            )
        return len(self.split) // self.batch

    def train(self, epoch: int, first: int = 0) -> Iterator[Fed]:
        """An epoch's batches, from batch number `first` on."""
        order = epoch_order(self.preprocessing.seed, epoch, len(self.split))
        parts = (order[n * self.batch :][: self.batch] for n in range(first, self.steps_per_epoch))
        images = self.preprocessing.read_train(self.split.images)
        return self._fed(images, parts, lambda part, samples: self.preprocessing.train_batch(part, samples, epoch))

    def eval(self, *, views: bool = False) -> Iterator[Fed]:
        """Every image once, in order, the last batch as short as it comes; with `views` as often as `ten_crop`
        says."""
        order = np.arange(len(self.split))
        parts = (order[start : start + self.batch] for start in range(0, len(order), self.batch))
        images = self.preprocessing.read_eval(self.split.images)
        augment = self.preprocessing.eval_views if views else self.preprocessing.eval_batch
        return self._fed(images, parts, lambda part, samples: augment(part, int(samples[0])))

    def _fed(
        self,
        images: Images | Store,
        parts: Iterator[Samples],
        augment: Callable[[NDArray[Any], Samples], Augmented],
    ) -> Iterator[Fed]:
        begin = time.perf_counter()
        if isinstance(images, np.ndarray):
            read = _gathered(images, parts)
        else:
            read = read_ahead(images, parts, self.batch, self.workers)
        with closing(read):
            for samples, part in read:
                fed = augment(part, samples), self.split.labels[samples]
                self.waited += time.perf_counter() - begin
                yield fed
                begin = time.perf_counter()


def _gathered(images: Images, parts: Iterator[Samples]) -> Generator[tuple[Samples, NDArray[Any]], None, None]:
    """The images of each part, copied out of memory."""
    for samples in parts:
        yield samples, images[samples]
