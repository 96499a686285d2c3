"""What is found in a source: labelled images that are yet to be read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from alexnet_ir.data.decode import missing_extra
from alexnet_ir.data.photograph import BrokenImageError, read_photograph, square


class Part(Protocol):
    """The images of a training or an evaluation set."""

    @property
    def names(self) -> Sequence[str]:
        """What messages call each image."""

    @property
    def labels(self) -> NDArray[np.int32]:
        """Of each image."""

    def square(self, place: int, size: int) -> NDArray[np.uint8]:
        """One image, uint8 [size, size, channels]; `BrokenImageError` where it cannot be read."""

    def take(self, chosen: NDArray[np.bool_]) -> Part:
        """Those that a mask chooses."""

    def digest(self) -> str:
        """A hash that tells this set from others: of names, labels and sizes, or of pixels."""


@dataclass(frozen=True, eq=False)
class Photographs:
    """Files below the folder `root`, or, with `offsets`, in a tar: each has its name, label and size in bytes."""

    root: Path
    names: tuple[str, ...]
    labels: NDArray[np.int32]
    sizes: NDArray[np.int64]
    offsets: NDArray[np.int64] | None = None

    def square(self, place: int, size: int) -> NDArray[np.uint8]:
        """One image, RGB."""
        return square(read_photograph(self._read(place)), size)

    def _read(self, place: int) -> bytes:
        try:
            if self.offsets is None:
                return (self.root / self.names[place]).read_bytes()
            with self.root.open("rb") as file:
                file.seek(int(self.offsets[place]))
                return file.read(int(self.sizes[place]))
        except OSError as failure:
            raise BrokenImageError(f"cannot be read: {failure.strerror}") from None

    def take(self, chosen: NDArray[np.bool_]) -> Photographs:
        """Those that a mask chooses."""
        names = tuple(self.names[place] for place in np.flatnonzero(chosen))
        offsets = None if self.offsets is None else self.offsets[chosen]
        return replace(self, names=names, labels=self.labels[chosen], sizes=self.sizes[chosen], offsets=offsets)

    def digest(self) -> str:
        """Of names, labels and sizes."""
        found = hashlib.sha256()
        for name, label, size in zip(self.names, self.labels.tolist(), self.sizes.tolist(), strict=True):
            found.update(f"{name}\0{label}\0{size}\n".encode("utf-8", "surrogateescape"))
        return found.hexdigest()


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images in memory, uint8 [n, channels, rows, columns]."""

    names: tuple[str, ...]
    labels: NDArray[np.int32]
    images: NDArray[np.uint8]

    def square(self, place: int, size: int) -> NDArray[np.uint8]:
        """One image: its own pixels where it has the size."""
        pixels: NDArray[np.uint8] = np.ascontiguousarray(self.images[place].transpose(1, 2, 0))
        if pixels.shape[:2] == (size, size):
            return pixels
        try:
            from PIL import Image
        except ImportError as failure:
            raise missing_extra(failure) from None
        return square(Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0]), size)

    def take(self, chosen: NDArray[np.bool_]) -> Pictures:
        """Those that a mask chooses."""
        names = tuple(self.names[place] for place in np.flatnonzero(chosen))
        return Pictures(names, self.labels[chosen], self.images[chosen])

    def digest(self) -> str:
        """Of pixels and labels."""
        return hashlib.sha256(self.images.tobytes() + self.labels.tobytes()).hexdigest()


@dataclass(frozen=True, eq=False)
class Found:
    """A source: what it is, the id and name of each class, its sets, and (channels, side) of images in memory, which
    keep their size unless told otherwise."""

    kind: str
    ids: tuple[str, ...]
    classes: tuple[str, ...]
    train: Part
    eval: Part | None
    own: tuple[int, int] | None = None


def numbered(ids: Sequence[str], found: Sequence[Any]) -> NDArray[np.int32]:
    """The number of each found id."""
    number = {name: place for place, name in enumerate(ids)}
    return np.array([number[name] for name in found], np.int32)
