"""The mean image of a training set, and the covariance of its colours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from alexnet_ir.data.dataset import Split, Statistics

_CHUNK = 32
"""Images at a time."""


def statistics_of(split: Split, *, colours: bool = True) -> Statistics:
    """As known beforehand, or counted in one pass over all images; without `colours` the covariance may be zero.
    Sums of bytes are exact, so that their order is of no matter."""
    if split.statistics is not None:
        return split.statistics
    channels = split.images.shape[1]
    total, products = np.zeros(split.images.shape[1:]), np.zeros((channels, channels))
    for start in range(0, len(split), _CHUNK):
        part = split.images[start : start + _CHUNK]
        total += part.sum(axis=0, dtype=np.float64)
        if colours:
            products += _products(part)
    mean = total / len(split)
    middle = mean.mean(axis=(1, 2)) - 128
    covariance = products / (len(split) * mean[0].size) - np.outer(middle, middle)
    return Statistics(mean.astype(np.float32), covariance if colours else np.zeros_like(products))


def _products(images: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float64]:
    """Of the channels about 128, summed over all pixels: [channels, channels]."""
    pixels = np.moveaxis(images, 1, 0).reshape(images.shape[1], -1) - 128.0
    return np.asarray(pixels @ pixels.T)
