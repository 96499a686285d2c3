"""Image files that a command names, as a trained net reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet_ir.data.container.reading import is_container, open_container
from alexnet_ir.data.dataset import Split
from alexnet_ir.data.decode import missing_extra
from alexnet_ir.data.load import Shape
from alexnet_ir.data.photograph import BrokenImageError, read_photograph, square
from alexnet_ir.diagnostics import error


@dataclass(frozen=True)
class ImageFiles:
    """A `Store` of files, each brought to `item`, (channels, rows, columns), as `prepare` does: upright, the shorter
    side resized, the middle square; grey where the net reads one channel."""

    paths: tuple[Path, ...]
    item: Shape

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array that it stands for: (n, channels, rows, columns)."""
        return (len(self.paths), *self.item)

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8."""
        return np.dtype(np.uint8)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, samples: NDArray[Any] | slice) -> NDArray[np.uint8]:
        chosen = np.arange(len(self))[samples]
        images = np.empty((len(chosen), *self.item), np.uint8)
        for sample, image in zip(chosen, images, strict=True):
            self.read(int(sample), image)
        return images

    def take(self, chosen: NDArray[Any]) -> ImageFiles:
        """Those that a mask or an index array chooses; none is decoded."""
        return replace(self, paths=tuple(self.paths[n] for n in np.arange(len(self))[chosen]))

    def read(self, sample: int, out: NDArray[np.uint8]) -> None:
        """One image into `out`; AlexnetError where the file cannot be read or is no image."""
        path = self.paths[sample]
        try:
            image = read_photograph(path.read_bytes())
        except IsADirectoryError:
            raise error(f"{path}: expected an image, found a folder", helps=[f"its files: {path}/*"]) from None
        except OSError as failure:
            raise error(f"{path}: {failure.strerror or failure}") from None
        except BrokenImageError as failure:
            raise error(f"{path}: expected an image, found {failure}") from None
        out[:] = square(image if len(out) == 3 else image.convert("L"), out.shape[1]).transpose(2, 0, 1)


def files_split(paths: Sequence[Path], stored: Shape) -> Split:
    """Files as a set without labels, read when asked for; AlexnetError where no file can be what the net reads."""
    channels, rows, columns = stored
    if channels not in (1, 3) or rows != columns:
        raise error(f"this net reads images of {channels} × {rows} × {columns}, and a file has 1 or 3 channels, square")
    return Split(ImageFiles(tuple(paths), stored), np.zeros(len(paths), np.int32))


def read_files(names: Sequence[str], stored: Shape) -> Split:
    """Files as a set in memory: AlexnetError for the first that is no image, before anything is computed."""
    split = files_split([Path(name) for name in names], stored)
    return replace(split, images=split.images[:])


def images_in(folder: Path, stored: Shape) -> tuple[Split, list[str]]:
    """The images of a container's training set, or of all files below a folder that are images, and a name for each.
    AlexnetError where there are none."""
    if not folder.is_dir():
        raise error(f"--in {folder}: expected a folder of images or a prepared set, found no folder")
    if is_container(folder):
        container = open_container(folder)
        split, found = container.train, container.train.images.shape[1:]
        if found != stored:
            sizes = [" × ".join(map(str, shape)) for shape in (stored, found)]
            raise error(f"--in {folder}: expected images of {sizes[0]}, as the net reads them, found {sizes[1]}")
        return split, [f"image {n}, {container.classes[label]}" for n, label in enumerate(split.labels)]
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and _is_image(path)]
    if not paths:
        raise error(f"--in {folder}: no image in it, nor in a folder below")
    return files_split(paths, stored), [str(path) for path in paths]


def _is_image(path: Path) -> bool:
    """By its first bytes, whatever it is called."""
    try:
        from PIL import Image
    except ImportError as failure:
        raise missing_extra(failure) from None
    try:
        with Image.open(path):
            return True
    except (OSError, ValueError):
        return False
