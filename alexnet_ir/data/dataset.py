"""Labelled images in memory, and the share of them that is set aside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet_ir.philox import Domain, Key, random_bits

Images = NDArray[np.uint8] | NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Split:
    """Images [n, channels, rows, columns], RGB or grey, 0 to 255, and their labels, int32 [n]."""

    images: Images
    labels: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: NDArray[Any]) -> Split:
        """The samples that a mask or an index array chooses."""
        return Split(self.images[chosen], self.labels[chosen])


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
