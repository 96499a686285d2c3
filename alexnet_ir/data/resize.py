"""`resize(n)`: the shorter side to n, antialiased, as a part of reading."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet_ir.data.dataset import Images, Store
from alexnet_ir.data.decode import missing_extra


def resized(images: Images | Store, sizes: Sequence[int]) -> Images | Store:
    """Images as `resize` steps of these sizes leave them, one after the other; what has the size already is left as it
    is."""
    for size in sizes:
        if min(images.shape[2:]) != size:
            images = Resized(images, size)
    return images


def resized_image(image: NDArray[Any], size: int) -> NDArray[Any]:
    """One image, u8 or f32 [channels, rows, columns], its shorter side brought to `size` (Pillow's bicubic filter, as
    wide as the scale asks for)."""
    try:
        from PIL import Image
    except ImportError as failure:
        raise missing_extra(failure) from None
    rows, columns = _shape(image.shape[1:], size)
    planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in image]
    return np.stack([np.asarray(plane.resize((columns, rows), Image.Resampling.BICUBIC)) for plane in planes])


class Resized:
    """Images that are resized when they are asked for (a `Store`)."""

    def __init__(self, images: Images | Store, size: int) -> None:
        self._images, self._size = images, size
        self.shape: tuple[int, ...] = (*images.shape[:2], *_shape(images.shape[2:], size))
        self.dtype: np.dtype[Any] = images.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, samples: NDArray[Any] | slice) -> NDArray[Any]:
        """Those images."""
        found = self._images[samples]
        out = np.empty((len(found), *self.shape[1:]), self.dtype)
        for image, place in zip(found, out, strict=True):
            place[:] = resized_image(image, self._size)
        return out

    def read(self, sample: int, out: NDArray[Any]) -> None:
        """One image into `out`, [channels, rows, columns] of any strides."""
        if isinstance(self._images, np.ndarray):
            image = self._images[sample]
        else:
            image = np.empty(self._images.shape[1:], self.dtype)
            self._images.read(sample, image)
        out[:] = resized_image(image, self._size)

    def take(self, chosen: NDArray[Any]) -> Resized:
        """The images that a mask or an index array chooses."""
        images = self._images[chosen] if isinstance(self._images, np.ndarray) else self._images.take(chosen)
        return Resized(images, self._size)


def _shape(shape: Sequence[int], size: int) -> tuple[int, int]:
    """Rows and columns once the shorter of them is `size`."""
    rows, columns = (max(size, round(length * size / min(shape))) for length in shape)
    return rows, columns
