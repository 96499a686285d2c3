"""MNIST (LeCun, Cortes, Burges) from its official idx files, gzipped or not."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from alexnet_ir.data.dataset import Split
from alexnet_ir.data.files import Origin

CLASSES = tuple("0123456789")
SHAPE = (28, 28)
HOME = "https://ossci-datasets.s3.amazonaws.com/mnist/ (described at http://yann.lecun.com/exdb/mnist/)"
MD5 = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}
FOLDERS = ("", "MNIST/raw/")


def read_mnist(directory: Path, part: Literal["train", "t10k"]) -> Split:
    """The training set or the test set: uint8 [n, 1, 28, 28]."""
    images = _read_idx(*_find(directory, f"{part}-images-idx3-ubyte"), SHAPE)
    path, origin = _find(directory, f"{part}-labels-idx1-ubyte")
    return origin.split(path, images[:, None], _read_idx(path, origin, ()), len(CLASSES))


def _find(directory: Path, name: str) -> tuple[Path, Origin]:
    """A file under one of its usual names, and where it is to be had."""
    archive = f"{name}.gz"
    origin = Origin("MNIST", HOME, ((archive, MD5[archive]),))
    stems = (name, name.replace("-idx", ".idx"))
    return origin.locate(directory, ["".join(p) for p in itertools.product(FOLDERS, stems, ("", ".gz"))]), origin


def _read_idx(path: Path, origin: Origin, item: tuple[int, ...]) -> NDArray[np.uint8]:
    """An idx file of bytes, uint8 [n, *item]: a magic number (0, 0, 8 for bytes, the number of axes), the axes' lengths
    as big-endian 32-bit numbers, the values."""
    content = origin.read(path)
    magic, end = bytes([0, 0, 8, 1 + len(item)]), 4 + 4 * (1 + len(item))
    if content[:4] != magic or len(content) < end:
        expected = f"an idx file, {magic.hex(' ')} and {1 + len(item)} lengths of 4 bytes"
        raise origin.wrong(path, expected, content[:end].hex(" ") or "nothing")
    count, *found = np.frombuffer(content[4:end], ">u4").tolist()
    if tuple(found) != item:
        raise origin.wrong(path, "images of 28 x 28", " x ".join(map(str, found)))
    size = count * math.prod(item)
    if len(content) - end != size:
        raise origin.wrong(path, f"{size} bytes after the header, which says {count}", str(len(content) - end))
    return np.frombuffer(content, np.uint8, offset=end).reshape(count, *item)
