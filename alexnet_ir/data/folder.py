"""The source `folder(dir)`, judged by content: a container, or what `prepare` makes one of, decoded into memory."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from alexnet_ir.backends.streams import cores
from alexnet_ir.data.container.reading import is_container, open_container
from alexnet_ir.data.dataset import Split
from alexnet_ir.data.files import Origin
from alexnet_ir.data.photograph import BrokenImageError
from alexnet_ir.data.prepare.parts import Part
from alexnet_ir.data.prepare.recognise import recognise
from alexnet_ir.diagnostics import error

SIZE = 256
"""Rows and columns of photographs where nothing says otherwise."""
MOST_BYTES = 2 << 30
"""Of images that are decoded into memory."""
IMAGENET = Origin(
    "ImageNet (ILSVRC2012, for which one registers)",
    "https://image-net.org/download-images",
    (
        ("ILSVRC2012_img_train.tar", "1d675b47d978889d74fa0da5fadfb00e"),
        ("ILSVRC2012_img_val.tar", "29b22e2961454d5413ddabcf34fc5622"),
    ),
)


@dataclass(frozen=True)
class Parts:
    """How a source's two sets are read; `eval` is None where it has no evaluation set of its own."""

    train: Callable[[], Split]
    eval: Callable[[], Split] | None
    classes: tuple[str, ...]


def read_folder(path: Path, size: int | None) -> Parts:
    """A folder's sets; AlexnetError where it is missing, damaged, or too much to decode beforehand. `size` is that of
    `resize` steps, if there are any, which images that are in no container are brought to."""
    if not path.exists():
        raise IMAGENET.wrong(
            path, "a prepared set or a folder of photographs (--data DIR names another one)", "nothing"
        )
    if is_container(path):
        container = open_container(path)
        own = container.eval
        return Parts(lambda: container.train, None if own is None else lambda: own, container.classes)
    found = recognise(path, None)
    channels, side = found.own or (3, SIZE)
    shape = (size or side, size or side, channels)
    count = len(found.train.labels) + (len(found.eval.labels) if found.eval else 0)
    if count * np.prod(shape) > MOST_BYTES:
        raise error(
            f"{path}: {count:,} images would take {count * np.prod(shape) / 2**30:,.1f} GiB of memory as they are",
            helps=[f"prepare it first: alexnet-ir prepare {path} OUT", 'then name OUT: source: folder("OUT")'],
        )
    read = partial(_decoded, path, shape)
    return Parts(partial(read, found.train), partial(read, found.eval) if found.eval else None, found.classes)


def _decoded(path: Path, shape: tuple[int, int, int], part: Part) -> Split:
    """All images of a set, uint8 [n, channels, rows, columns], channels last in memory."""
    images = np.empty((len(part.labels), *shape), np.uint8)

    def decode(place: int) -> None:
        try:
            images[place] = part.square(place, shape[0])
        except BrokenImageError as problem:
            helps = [f"remove it, or have it skipped: alexnet-ir prepare {path} OUT"]
            raise error(f"{path}: {part.names[place]} cannot be read: {problem}", helps=helps) from None

    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(decode, range(len(images))))
    return Split(np.moveaxis(images, 3, 1), part.labels)
