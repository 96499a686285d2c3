"""The transforms told a second time: each step done to the pixels, one after the other, the mean taken along."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from alexnet_ir.dsl.spec import (
    CenterCrop,
    PcaLight,
    RandomCrop,
    RandomFlip,
    Scale,
    SubtractMean,
    TenCrop,
    Transform,
)
from alexnet_ir.philox import Domain, Key, normal, random_blocks

Floats = NDArray[np.float32]


def step_by_step(
    steps: tuple[Transform, ...],
    images: np.ndarray,
    samples: np.ndarray,
    *,
    seed: int,
    epoch: int,
    mean: Floats,
    covariance: np.ndarray,
) -> Floats:
    """What the steps make of stored images; all results of an image one after the other."""
    images, factor = np.array(images, np.float32), 1.0
    for position, step in enumerate(steps):
        key = Key(seed, Domain.AUGMENT, position, epoch)
        match step:
            case SubtractMean(per=per):
                shift = mean if per == "pixel" else mean.mean(axis=(1, 2), keepdims=True)
                images, mean = images - shift, mean - shift
            case Scale(factor=by):
                images, mean, factor = images * np.float32(by), mean * np.float32(by), factor * by
            case CenterCrop(size=size):
                images, mean = center(images, size), center(mean, size)
            case RandomCrop(size=size):
                images, mean = _crop(images, size, random_blocks(key, samples)), center(mean, size)
            case RandomFlip():
                flipped = random_blocks(key, samples)[0] < 2**31
                images[flipped] = images[flipped, ..., ::-1]
            case PcaLight(std=std):
                images = images + factor * std * _shifts(key, samples, covariance)[..., None, None]
            case TenCrop(size=size):
                images, mean = ten_crops(images, size), center(mean, size)
                samples = np.repeat(samples, 10)
    return np.ascontiguousarray(images, np.float32)


def center(images: Floats, size: int) -> Floats:
    top, left = ((room - size) // 2 for room in images.shape[-2:])
    return images[..., top : top + size, left : left + size]


def ten_crops(images: Floats, size: int) -> Floats:
    first, last = slice(None, size), slice(-size, None)
    five = [images[..., rows, columns] for rows in (first, last) for columns in (first, last)]
    five.append(center(images, size))
    return np.stack(five + [part[..., ::-1] for part in five], axis=1).reshape(-1, *five[0].shape[1:])


def _crop(images: Floats, size: int, words: NDArray[np.uint32]) -> Floats:
    places = np.array([[room - size + 1] for room in images.shape[2:]], np.uint64)
    rows, columns = words[:2] * places >> np.uint64(32)
    windows = sliding_window_view(images, (size, size), axis=(2, 3))
    return windows[np.arange(len(images)), :, rows, columns].copy()


def _shifts(key: Key, samples: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    vectors, values, _ = np.linalg.svd(covariance)
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(len(vectors))])
    drawn = [normal(key, len(values), 4 * int(sample)) for sample in samples]
    return np.array([sum(a * np.sqrt(v) * p for a, v, p in zip(d, values, vectors.T, strict=True)) for d in drawn])
