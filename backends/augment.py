"""A batch of stored images and what is done to each on its way into a net: what an executable may be fed in the place
of the image itself, so that bytes travel to the device and floats are made there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import DTypeLike, NDArray

from alexnet_ir.ir.op import Array

PLACES = ("image", "top", "left", "flipped", "mean_top", "mean_left", "mean_flipped")
"""The columns of `Augmented.places`."""
COLUMNS = {name.upper(): column for column, name in enumerate(PLACES)}
"""As constants of kernels."""


@dataclass(frozen=True, eq=False)
class Augmented:
    """For each result n, from image k = places[n].image, all that a crop, a reflection, a mean, a colour shift and a
    factor come to:

        out[n, c, h, w] = (images[k, c, top + h, left + u] - mean[c, mean_top + h, mean_left + v] + shifts[n, c])
                          * factor

    u = w, or width - 1 - w where it is `flipped`; v likewise by `mean_flipped`. `images` are u8 or f32
    [m, c, rows, columns], of any strides (decoders give pixels, channels last); `places` is i32 [n, 7] as PLACES names
    its columns, `shifts` f32 [n, c], `mean` f32 [c, rows, columns] or, of channels, [c, 1, 1]; `size` is (height,
    width). Nothing reaches past an image or the mean."""

    images: Array
    places: NDArray[np.int32]
    shifts: NDArray[np.float32]
    mean: NDArray[np.float32]
    factor: float
    size: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the result: [n, c, height, width]."""
        return (len(self.places), self.images.shape[1], *self.size)

    def __len__(self) -> int:
        return len(self.places)

    def rows(self, chosen: slice | Sequence[int] | NDArray[np.intp]) -> Augmented:
        """The same for some of the results."""
        return replace(self, places=self.places[chosen], shifts=self.shifts[chosen])

    @property
    def has_mean_image(self) -> bool:
        """Whether the mean is of pixels, not of channels."""
        return self.mean.shape[1:] != (1, 1)

    def check(self) -> None:
        """ValueError for arrays that do not fit each other, or a place that reaches past an image or the mean."""
        if self.images.ndim != 4 or self.images.dtype not in (np.uint8, np.float32):
            raise ValueError(f"images: expected u8 or f32 [m, c, rows, columns], found {_shown(self.images)}")
        n, c = self.shape[:2]
        for name, shape in (("places", (n, len(PLACES))), ("shifts", (n, c)), ("mean", (c, *self.mean.shape[-2:]))):
            found: Array = getattr(self, name)
            if found.shape != shape:
                raise ValueError(f"{name}: expected shape {list(shape)}, found {_shown(found)}")
        rooms = dict(zip(PLACES[:3], (len(self.images), *self._rooms(self.images)), strict=True))
        if self.has_mean_image:
            rooms |= zip(PLACES[4:6], self._rooms(self.mean), strict=True)
        if min(rooms.values()) < 1:
            images, mean, (height, width) = _shown(self.images), _shown(self.mean), self.size
            raise ValueError(f"images {images} and mean {mean} have no room for a crop of {height} x {width}")
        found = self.places[:, [PLACES.index(name) for name in rooms]]
        wrong = (found < 0) | (found >= list(rooms.values()))
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            name, room = list(rooms.items())[column]
            raise ValueError(f"places[{row}]: expected {name} 0 to {room - 1}, found {found[row, column]}")

    def _rooms(self, array: Array) -> tuple[int, int]:
        """How many places down and across there are for the result in an image or the mean."""
        return array.shape[-2] - self.size[0] + 1, array.shape[-1] - self.size[1] + 1

    def evaluate(self, dtype: DTypeLike = np.float32) -> Array:
        """The result by NumPy: the meaning, which kernels are held against. ValueError as by `check`."""
        self.check()
        image, top, left, flipped, mean_top, mean_left, mean_flipped = self.places.T
        out: Array = _windows(self.images, self.size)[image, :, top, left].astype(dtype)
        out[flipped != 0] = out[flipped != 0, ..., ::-1]
        if self.has_mean_image:
            mean = _windows(self.mean[None], self.size)[np.zeros_like(image), :, mean_top, mean_left]
            out -= np.where((mean_flipped != 0)[:, None, None, None], mean[..., ::-1], mean)
        else:
            out -= self.mean
        out += self.shifts[..., None, None]
        out *= out.dtype.type(self.factor)
        return out


def _windows(images: Array, size: tuple[int, int]) -> Array:
    """[m, c, places down, places across, height, width], a view."""
    return sliding_window_view(images, size, axis=(2, 3))


def _shown(array: Array) -> str:
    return f"{array.dtype}{list(array.shape)}"
