"""Labelled images in memory, and the share of them that is set aside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from alexnet_ir.philox import Domain, Key, random_bits

Images = NDArray[np.uint8] | NDArray[np.float32]


class Store(Protocol):
    """Images that are decoded when they are asked for, to be used as the array uint8 [n, channels, rows, columns]."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array that it stands for."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8."""

    def __len__(self) -> int: ...

    def __getitem__(self, samples: NDArray[Any] | slice) -> NDArray[np.uint8]:
        """Those images, decoded by as many threads as there are cores. AlexnetError for a damaged one."""

    def read(self, sample: int, out: NDArray[np.uint8]) -> None:
        """One image into `out`, uint8 [channels, rows, columns] of any strides; for threads to share work by."""

    def take(self, chosen: NDArray[Any]) -> Store:
        """The images that a mask or an index array chooses; none is decoded."""


@dataclass(frozen=True, eq=False)
class Statistics:
    """Of the pixels of a training set, 0 to 255: `mean`, float32 [channels, rows, columns], and the `covariance` of the
    channels over all pixels, float64 [channels, channels]."""

    mean: NDArray[np.float32]
    covariance: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Split:
    """Images [n, channels, rows, columns], RGB or grey, 0 to 255, and their labels, int32 [n]. `statistics` are known
    beforehand of a container's training set."""

    images: Images | Store
    labels: NDArray[np.int32]
    statistics: Statistics | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: NDArray[Any]) -> Split:
        """The samples that a mask or an index array chooses."""
        images = self.images[chosen] if isinstance(self.images, np.ndarray) else self.images.take(chosen)
        return Split(images, self.labels[chosen])


@dataclass(frozen=True, eq=False)
class Dataset:
    """What is trained on, what is evaluated on, and the name of each class."""

    train: Split
    eval: Split
    classes: tuple[str, ...]


def holdout_mask(labels: NDArray[np.int32], fraction: float, seed: int) -> NDArray[np.bool_]:
    """True where a sample is set aside: `fraction` of each class, rounded; a pure function of its arguments."""
    counts = np.bincount(labels)
    order = np.lexsort((random_bits(Key(seed, Domain.HOLDOUT), len(labels)), labels))  # by class, then at random
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    quota = np.floor(counts * fraction + 0.5)
    held = np.empty(len(labels), np.bool_)
    held[order] = rank < np.repeat(quota, counts)
    return held
