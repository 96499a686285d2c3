"""CIFAR-10 (Krizhevsky 2009), binary or Python version.

The Python version's files are pickles, and a pickle can run anything. `_Unpickler` knows four names only, and gives
each a stand-in of our own, so that not even NumPy's code is reached.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet_ir.data.dataset import Split
from alexnet_ir.data.files import Origin

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SHAPE = (3, 32, 32)
PIXELS = 3072
ORIGIN = Origin(
    "CIFAR-10",
    "https://www.cs.toronto.edu/~kriz/cifar.html",
    (
        ("cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"),
        ("cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),
    ),
)


def read_cifar10(directory: Path, batches: tuple[int, ...]) -> Split:
    """The given batches, 6 being the test batch, one after another: uint8 [n, 3, 32, 32]."""
    parts = [_read_batch(directory, number) for number in batches]
    return Split(np.concatenate([p.images for p in parts]), np.concatenate([p.labels for p in parts]))


def _read_batch(directory: Path, number: int) -> Split:
    name = "test_batch" if number == 6 else f"data_batch_{number}"
    folders = {"cifar-10-batches-bin": ".bin", "cifar-10-batches-py": ""}
    names = [f"{name}.bin", name, *(f"{folder}/{name}{end}" for folder, end in folders.items())]
    path = ORIGIN.locate(directory, names)
    content = ORIGIN.read(path)
    read = _from_binary if path.suffix == ".bin" else _from_pickle
    labels, pixels = read(path, content)
    return ORIGIN.split(path, pixels.reshape(-1, *SHAPE), labels, len(CLASSES))


def _from_binary(path: Path, content: bytes) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Records of a label byte and 3,072 pixels, red plane first."""
    if not content or len(content) % (1 + PIXELS):
        raise ORIGIN.wrong(path, f"records of {1 + PIXELS} bytes", f"{len(content)} bytes")
    records = np.frombuffer(content, np.uint8).reshape(-1, 1 + PIXELS)
    return records[:, 0], records[:, 1:]


def _from_pickle(path: Path, content: bytes) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """A dictionary with `data`, uint8 [n, 3072], and `labels`, a list."""
    expected = "a pickled dictionary with `data` (bytes, n x 3072) and `labels` (numbers from 0 to 9)"
    try:
        _check_memo(content)
        found = _Unpickler(io.BytesIO(content), encoding="bytes").load()
        batch = {key.decode() if isinstance(key, bytes) else key: value for key, value in found.items()}
        return np.array(batch["labels"], np.int64), batch["data"].pixels()
    except Exception as problem:  # damaged pickles raise anything at all
        raise ORIGIN.wrong(path, expected, f"a file that does not read as that ({problem!r})") from None


def _check_memo(content: bytes) -> None:
    """ValueError where a pickle numbers what it remembers beyond what it can hold: room is made for every number below,
    gigabytes of it for four damaged bytes."""
    for opcode, number, _ in pickletools.genops(content):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and number is not None and number > len(content):
            raise ValueError(f"it remembers a value as number {number}")


class _Dtype:
    """Stands for numpy.dtype."""

    def __init__(self, code: str | bytes, *_: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        """Byte order and the like: of no matter for bytes."""


class _Array:
    """Stands for numpy.ndarray: keeps what the pickle says of it."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.shape, self.dtype, self.column_major, self.content = state

    def pixels(self) -> NDArray[np.uint8]:
        """The array, uint8 [n, 3072]; ValueError where it is none."""
        if self.dtype.code not in ("u1", b"u1"):
            raise ValueError(f"data of type {self.dtype.code}")
        flat = np.frombuffer(self.content, np.uint8)
        return flat.reshape(self.shape, order="F" if self.column_major else "C").reshape(-1, PIXELS)


class _Unpickler(pickle.Unpickler):
    """Reads plain values and byte arrays, and refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        match module, name:
            case "numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct":
                return lambda *_: _Array()
            case "numpy", "ndarray":
                return _Array
            case "numpy", "dtype":
                return _Dtype
            case "_codecs", "encode":  # how Python 3 writes bytes in the old protocols
                return lambda text, _: text.encode("latin1")
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a data set")
