"""What steps come to as they are taken one by one: for each result, the window that it shows of its image and of the
mean, a shift of its colours and a factor."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet_ir.backends.augment import Augmented
from alexnet_ir.diagnostics import error

Whole = NDArray[np.int64]


class Windows:
    """The places of windows [n] in stored pictures: top, left, and whether each is seen reflected."""

    def __init__(self, count: int, top: int = 0, left: int = 0) -> None:
        self.top: Whole = np.full(count, top, np.int64)
        self.left: Whole = np.full(count, left, np.int64)
        self.flipped: NDArray[np.bool_] = np.zeros(count, np.bool_)

    def crop(self, down: Whole, across: Whole, room: int) -> None:
        """Smaller ones inside, so far down and across as they are seen; `room` is how far across there is."""
        self.top = self.top + down
        self.left = self.left + np.where(self.flipped, room - across, across)

    def repeat(self, times: int) -> None:
        """Each so often, one after the other."""
        self.top, self.left = np.repeat(self.top, times), np.repeat(self.left, times)
        self.flipped = np.repeat(self.flipped, times)


class Views:
    """Results that begin as the images [n, channels, rows, columns] and become what steps make of them. `mean`, float32
    [channels, rows, columns], goes along: before it is subtracted each crop takes its centre, afterwards its part lies
    under each image's window."""

    def __init__(self, images: NDArray[Any], mean: NDArray[np.float32] | None) -> None:
        count, channels, *size = images.shape
        if mean is not None and mean.shape != images.shape[1:]:
            raise error(f"the mean image is {_size(mean.shape)}, but the images are {_size(images.shape[1:])}")
        self.factor = 1.0
        self._images, self._mean = images, mean
        self._image = np.arange(count)
        self._seen = Windows(count)
        self._size: tuple[int, int] = (size[0], size[1])
        self._centre = (0, 0)
        self._subtracted: Windows | None = None
        self._levels = np.zeros((channels, 1, 1), np.float32)
        self._shifts = np.zeros((count, channels))

    @property
    def is_cropped(self) -> bool:
        """Whether less than the whole image is seen."""
        return self._size != self._images.shape[2:]

    def subtract_mean(self, per: str) -> None:
        """Minus the mean, or its mean over all pixels. What goes along from there on is what is left of it: after the
        mean itself nothing, so that subtracting again changes nothing."""
        if self._subtracted is not None or self._mean is None:
            return
        top, left = self._centre
        if per == "pixel":
            self._subtracted = Windows(len(self._image), top, left)
        else:
            window = self._mean[:, top : top + self._size[0], left : left + self._size[1]]
            self._levels = window.mean(axis=(1, 2), keepdims=True)

    def center_crop(self, size: int) -> None:
        """The middle square; of an odd rest, the smaller half is on the top and on the left."""
        down, across = (room // 2 for room in self._room(size))
        self._crop(size, np.array(down), np.array(across))

    def crop(self, size: int, words: NDArray[np.uint32]) -> None:
        """A square of each image, its corner chosen by two random words, [2, n]: word * places / 2**32."""
        places = np.array(self._room(size), np.uint64)[:, None] + np.uint64(1)
        down, across = (words * places >> np.uint64(32)).astype(np.int64)
        self._crop(size, down, across)

    def ten_crop(self, size: int) -> None:
        """Each image ten times: the four corners, the centre, and their reflections."""
        down, across = self._room(size)
        for windows in self._moving():
            windows.repeat(10)
        self._image, count = np.repeat(self._image, 10), len(self._image)
        self._shifts = np.repeat(self._shifts, 10, axis=0)
        tops, lefts = np.array([0, 0, down, down, down // 2]), np.array([0, across, 0, across, across // 2])
        self._crop(size, np.tile(tops, 2 * count), np.tile(lefts, 2 * count))
        self.flip(np.tile(np.arange(10) >= 5, count))

    def flip(self, chosen: NDArray[np.bool_]) -> None:
        """Those are reflected, left to right."""
        for windows in self._moving():
            windows.flipped = windows.flipped ^ chosen

    def shift(self, levels: NDArray[np.float64]) -> None:
        """Plus [n, channels], in the grey levels of the stored images."""
        self._shifts = self._shifts + levels

    def augmented(self) -> Augmented:
        """All of it as one value."""
        seen, under = self._seen, self._subtracted or Windows(len(self._image))
        columns = (self._image, seen.top, seen.left, seen.flipped, under.top, under.left, under.flipped)
        places = np.stack(columns, axis=1).astype(np.int32)
        mean = self._levels if self._subtracted is None or self._mean is None else self._mean
        return Augmented(self._images, places, self._shifts.astype(np.float32), mean, self.factor, self._size)

    def _crop(self, size: int, down: Whole, across: Whole) -> None:
        high, wide = self._room(size)
        for windows in self._moving():
            windows.crop(down, across, wide)
        self._centre = (self._centre[0] + high // 2, self._centre[1] + wide // 2)
        self._size = (size, size)

    def _moving(self) -> list[Windows]:
        return [self._seen] if self._subtracted is None else [self._seen, self._subtracted]

    def _room(self, size: int) -> tuple[int, int]:
        """How far a square of `size` can move down and across."""
        rows, columns = self._size
        if min(rows, columns) < size:
            raise error(f"a crop of {size} is larger than the image, {_size((self._images.shape[1], rows, columns))}")
        return rows - size, columns - size


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
