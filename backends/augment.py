"""A batch of stored images and what is done to each on its way into a net: what an executable may be fed in the place of
the image itself, so that bytes travel to the device and floats are made there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from alexnet_ir.ir.op import Array

PLACES = ("image", "top", "left", "flipped", "mean_top", "mean_left", "mean_flipped")
"""The columns of `Augmented.places`."""


@dataclass(frozen=True, eq=False)
class Augmented:
    """For each result n, from image k = places[n].image, all that a crop, a reflection, a mean, a colour shift and a
    factor come to:

        out[n, c, h, w] = (images[k, c, top + h, left + u] - mean[c, mean_top + h, mean_left + v] + shifts[n, c]) * factor

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

    def evaluate(self) -> NDArray[np.float32]:
        """The result by NumPy: the meaning, which kernels are held against."""
        image, top, left, flipped, mean_top, mean_left, mean_flipped = self.places.T
        out: NDArray[np.float32] = _windows(self.images, self.size)[image, :, top, left].astype(np.float32)
        out[flipped != 0] = out[flipped != 0, ..., ::-1]
        if self.mean.shape[1:] == (1, 1):
            out -= self.mean
        else:
            mean = _windows(self.mean[None], self.size)[np.zeros_like(image), :, mean_top, mean_left]
            out -= np.where((mean_flipped != 0)[:, None, None, None], mean[..., ::-1], mean)
        out += self.shifts[..., None, None]
        out *= np.float32(self.factor)
        return out


def _windows(images: Array, size: tuple[int, int]) -> Array:
    """[m, c, places down, places across, height, width], a view."""
    return sliding_window_view(images, size, axis=(2, 3))
