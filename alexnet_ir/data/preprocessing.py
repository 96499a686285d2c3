"""From stored images to what the net sees: a `data` section's transforms, in the order written, a batch at a time.

Every step takes the mean image along with the images: it is cropped and scaled as they are, so that `subtract_mean`
means the same wherever it stands. After a random crop, it subtracts the centre of the mean, as the 2012 code did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from alexnet_ir.data.dataset import Split
from alexnet_ir.diagnostics import error
from alexnet_ir.dsl.spec import CenterCrop, DataSpec, RandomCrop, RandomFlip, Scale, SubtractMean, Transform
from alexnet_ir.philox import Domain, Key, random_blocks

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """The transforms and all they need, so that evaluation can do without the training set. `mean`, float32 [channels,
    rows, columns], is that of the stored training images, or None where no step subtracts it."""

    train: tuple[Transform, ...]
    eval: tuple[Transform, ...]
    seed: int
    mean: Floats | None

    @classmethod
    def of(cls, spec: DataSpec, seed: int, training: Split) -> Preprocessing:
        """The section's transforms, with the mean of the training images if one of them subtracts it."""
        needed = _subtract_mean((*spec.train, *spec.eval))
        mean = training.images.mean(axis=0, dtype=np.float64).astype(np.float32) if needed else None
        return cls(spec.train, spec.eval, seed, mean)

    def __post_init__(self) -> None:
        if self.mean is None and _subtract_mean((*self.train, *self.eval)):
            raise error("subtract_mean(...) needs the mean of the training images, and it is missing")

    def train_images(self, images: NDArray[Any], samples: ArrayLike, epoch: int) -> Floats:
        """What the net trains on: float32, C-contiguous. `samples` are the images' places in the training set: what is
        random is drawn by (seed, epoch, sample), so that the rest of the batch is of no matter."""
        return self._run(self.train, images, samples, epoch)

    def eval_images(self, images: NDArray[Any], first: int = 0) -> Floats:
        """What the net is evaluated on: float32, C-contiguous. `first` is the first image's place in its set, which
        matters where a step is random."""
        return self._run(self.eval, images, np.arange(first, first + len(images)), 0)

    def _run(self, steps: tuple[Transform, ...], images: NDArray[Any], samples: ArrayLike, epoch: int) -> Floats:
        mean = np.zeros(images.shape[1:], np.float32) if self.mean is None else self.mean
        if mean.shape != images.shape[1:]:
            raise error(f"the mean image is {_size(mean.shape)}, but the images are {_size(images.shape[1:])}")
        images = np.array(images, np.float32)
        for position, step in enumerate(steps):
            key = Key(self.seed, Domain.AUGMENT, position, epoch)
            images, mean = _apply(step, images, mean, key, samples)
        return np.ascontiguousarray(images)


def _subtract_mean(steps: tuple[Transform, ...]) -> bool:
    return any(isinstance(step, SubtractMean) for step in steps)


def _apply(step: Transform, images: Floats, mean: Floats, key: Key, samples: ArrayLike) -> tuple[Floats, Floats]:
    """One step, on images that it may change in place; a sample's random words are its block of the key's row."""
    match step:
        case SubtractMean(per=per):
            shift = mean if per == "pixel" else mean.mean(axis=(1, 2), keepdims=True)
            images -= shift
            return images, mean - shift
        case Scale(factor=factor):
            images *= np.float32(factor)
            return images, mean * np.float32(factor)
        case CenterCrop(size=size):
            return _center(images, size), _center(mean, size)
        case RandomCrop(size=size):
            return _crop(images, size, random_blocks(key, samples)), _center(mean, size)
        case RandomFlip():
            flipped = random_blocks(key, samples)[0] < 2**31
            images[flipped] = images[flipped, ..., ::-1]
            return images, mean
    raise error(f"{step.name}(...) is accepted by check, but nothing runs it yet")


def _center(images: Floats, size: int) -> Floats:
    """The middle square; of an odd rest, the smaller half is on the top and on the left."""
    top, left = (room // 2 for room in _room(images, size))
    return images[..., top : top + size, left : left + size]


def _crop(images: Floats, size: int, words: NDArray[np.uint32]) -> Floats:
    """A square of each image; of its words, uint32 [4, n], two choose the corner: word * places / 2**32."""
    places = np.array(_room(images, size), np.uint64)[:, None] + np.uint64(1)
    rows, columns = words[:2] * places >> np.uint64(32)
    windows = sliding_window_view(images, (size, size), axis=(2, 3))
    cropped: Floats = windows[np.arange(len(images)), :, rows, columns]
    return cropped


def _room(images: Floats, size: int) -> tuple[int, int]:
    """How far a square of `size` can move down and across."""
    rows, columns = images.shape[-2:]
    if min(rows, columns) < size:
        raise error(f"a crop of {size} is larger than the image, {_size(images.shape[-3:])}")
    return rows - size, columns - size


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
