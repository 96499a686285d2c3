"""The mean image of a training set, and the covariance of its colours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from alexnet_ir.data.dataset import Images, Split, Store

_CHUNK = 256
"""Images at a time."""


def mean_image(split: Split) -> NDArray[np.float32]:
    """The mean of the stored images, [channels, rows, columns]: as known beforehand, or of all of them."""
    if split.statistics is not None:
        return split.statistics.mean
    if isinstance(split.images, np.ndarray):
        return np.asarray(split.images.mean(axis=0, dtype=np.float64), np.float32)
    total = np.zeros(split.images.shape[1:])
    for start in range(0, len(split), _CHUNK):
        total += split.images[start : start + _CHUNK].sum(axis=0, dtype=np.float64)
    return np.asarray(total / len(split), np.float32)


def colour_covariance(split: Split) -> NDArray[np.float64]:
    """The covariance of the channels over all pixels of all images, [channels, channels]: as known beforehand, or of
    all of them."""
    return _covariance(split.images) if split.statistics is None else split.statistics.covariance


def _covariance(images: Images | Store) -> NDArray[np.float64]:
    channels = images.shape[1]
    total, products, pixels = np.zeros(channels), np.zeros((channels, channels)), 0
    for start in range(0, len(images), _CHUNK):
        # Bytes about their middle: their sums of products are exact.
        part = np.moveaxis(images[start : start + _CHUNK].astype(np.float64) - 128, 1, 0).reshape(channels, -1)
        total, products, pixels = total + part.sum(axis=1), products + part @ part.T, pixels + part.shape[1]
    mean = total / pixels
    return np.asarray(products / pixels - np.outer(mean, mean))
