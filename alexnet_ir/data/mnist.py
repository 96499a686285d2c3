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
    pixels, _, _ = _read_idx(directory, f"{part}-images-idx3-ubyte", (None, *SHAPE))
    labels, path, origin = _read_idx(directory, f"{part}-labels-idx1-ubyte", (None,))
    return origin.split(path, pixels[:, None], labels, len(CLASSES))


def _read_idx(directory: Path, name: str, shape: tuple[int | None, ...]) -> tuple[NDArray[np.uint8], Path, Origin]:
    """An idx file of bytes: a magic number (0, 0, 8 for bytes, the number of axes), the axes' lengths as big-endian
    32-bit numbers, the values. None in `shape` stands for any length."""
    origin = Origin("MNIST", HOME, ((f"{name}.gz", MD5[f"{name}.gz"]),))
    names = (name.replace("-idx", ".idx"), name)
    path = origin.locate(directory, [f + n + end for f, n, end in itertools.product(FOLDERS, names[::-1], ("", ".gz"))])
    content = origin.read(path)
    magic = bytes([0, 0, 8, len(shape)])
    if content[:4] != magic:
        raise origin.wrong(path, f"an idx file that begins with {magic.hex(' ')}", content[:4].hex(" ") or "nothing")
    lengths, body = np.frombuffer(content[4 : 4 + 4 * len(shape)], ">u4").tolist(), content[4 + 4 * len(shape) :]
    if len(lengths) != len(shape) or any(want not in (None, has) for want, has in zip(shape, lengths, strict=True)):
        raise origin.wrong(path, f"images of {SHAPE[0]} x {SHAPE[1]}", f"{lengths} in its header")
    if len(body) != math.prod(lengths):
        raise origin.wrong(path, f"{math.prod(lengths)} bytes after the header, which says {lengths}", f"{len(body)}")
    return np.frombuffer(body, np.uint8).reshape(lengths), path, origin
