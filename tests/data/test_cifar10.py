"""CIFAR-10's files, binary and Python version, whole, damaged and hostile."""

from __future__ import annotations

import contextlib
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet_ir.data.cifar10 import read_cifar10
from alexnet_ir.diagnostics import AlexnetError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (4, 3072), np.uint8)
LABELS = [7, 0, 9, 2]


def binary(pixels: np.ndarray = PIXELS, labels: list[int] = LABELS) -> bytes:
    return np.concatenate([np.array(labels, np.uint8)[:, None], pixels], axis=1).tobytes()


def pickled(**changes: Any) -> bytes:
    batch = {b"batch_label": b"training batch 1 of 5", b"data": PIXELS, b"labels": LABELS, b"filenames": [b"a.png"] * 4}
    return pickle.dumps(batch | {key.encode(): value for key, value in changes.items()}, protocol=2)


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def message(directory: Path) -> str:
    with pytest.raises(AlexnetError) as caught:
        read_cifar10(directory, (1,))
    return str(caught.value)


@pytest.mark.parametrize("folder", ["", "cifar-10-batches-bin"])
def test_binary_version(tmp_path: Path, folder: str) -> None:
    put(tmp_path / folder / "data_batch_2.bin", binary())
    put(tmp_path / folder / "test_batch.bin", binary(PIXELS[:1], [5]))
    split = read_cifar10(tmp_path, (6, 2))
    assert split.labels.tolist() == [5, *LABELS]
    assert split.labels.dtype == np.int32
    np.testing.assert_array_equal(split.images[1:], PIXELS.reshape(4, 3, 32, 32))


@pytest.mark.parametrize("folder", ["", "cifar-10-batches-py"])
@pytest.mark.parametrize("pixels", [PIXELS, np.asfortranarray(PIXELS)])
def test_python_version(tmp_path: Path, folder: str, pixels: np.ndarray) -> None:
    put(tmp_path / folder / "data_batch_1", pickled(data=pixels))
    split = read_cifar10(tmp_path, (1,))
    assert split.labels.tolist() == LABELS
    np.testing.assert_array_equal(split.images, PIXELS.reshape(4, 3, 32, 32))


def test_python_2_pickle(tmp_path: Path) -> None:
    """As in the official archive: byte strings for text, and NumPy's old module name."""
    raw = PIXELS[:1].tobytes()
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    state = b"(K\x01K\x01M\x00\x0c\x86" + dtype + b"\x89T" + len(raw).to_bytes(4, "little") + raw + b"tb"
    content = b"\x80\x02}(U\x04data" + array + state + b"U\x06labels](K\x06eu."
    put(tmp_path / "data_batch_1", content)
    split = read_cifar10(tmp_path, (1,))
    assert split.labels.tolist() == [6]
    np.testing.assert_array_equal(split.images.reshape(1, 3072), PIXELS[:1])


def test_missing_batch_says_where_to_get_it(tmp_path: Path) -> None:
    found = message(tmp_path)
    assert f"{tmp_path / 'data_batch_1.bin'}: expected a file of CIFAR-10, found nothing" in found
    assert "https://www.cs.toronto.edu/~kriz/cifar.html" in found
    assert "md5 of cifar-10-binary.tar.gz: c32a1d4ab5d03f1284b67883e8d87530" in found
    assert "md5 of cifar-10-python.tar.gz: c58f30108f718f92721af3b95e74349a" in found


@pytest.mark.parametrize("content", [b"", binary()[:-1]])
def test_truncated_binary(tmp_path: Path, content: bytes) -> None:
    put(tmp_path / "data_batch_1.bin", content)
    assert f"expected records of 3073 bytes, found {len(content)} bytes" in message(tmp_path)


def test_label_out_of_range(tmp_path: Path) -> None:
    put(tmp_path / "data_batch_1.bin", binary(labels=[1, 2, 10, 3]))
    assert "labels from 0 to 9, found 10 at image 2" in message(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no pickle",
        pickled()[:-100],
        pickle.dumps([1, 2]),
        pickle.dumps({"data": [1, 2], "labels": [0]}),
        pickled(data=PIXELS.astype(np.int32)),
        pickled(data=PIXELS[:, :-1]),
        pickled(data=np.array([{}], object)),
        pickled(labels=[1, 2, 3]),
        pickled(labels=[1, 2, 3, -1]),
        pickled(labels=[1, 2, 3, 2**70]),
        pickled(labels=["a"] * 4),
    ],
)
def test_damaged_pickle(tmp_path: Path, content: bytes) -> None:
    path = put(tmp_path / "data_batch_1", content)
    assert str(path) in message(tmp_path)


class Hostile:
    """Its pickle runs a command of the shell."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def test_hostile_pickle_runs_nothing(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    put(tmp_path / "data_batch_1", pickled(data=Hostile(f"touch {victim}")))
    assert "system has no place in a data set" in message(tmp_path)
    assert not victim.exists()


@pytest.mark.parametrize(
    "name", ["builtins\neval", "numpy\nload", "numpy.core.multiarray\nscalar", "builtins\ngetattr"]
)
def test_every_other_name_is_refused(tmp_path: Path, name: str) -> None:
    put(tmp_path / "data_batch_1", b"\x80\x02c" + name.encode() + b"\n.")
    assert "has no place in a data set" in message(tmp_path)


def test_damage_that_would_fill_the_memory(tmp_path: Path) -> None:
    """LONG_BINPUT with a number of two thousand million."""
    put(tmp_path / "data_batch_1", b"\x80\x02}r\xff\xff\xff\x7f.")
    assert "remembers a value as number 2147483647" in message(tmp_path)


@settings(deadline=None)
@given(place=st.integers(0, 12_900), change=st.binary(max_size=9), width=st.integers(0, 9))
def test_any_damage_is_the_users_to_read(
    tmp_path_factory: pytest.TempPathFactory, place: int, change: bytes, width: int
) -> None:
    content = bytearray(pickled())
    place = place if place < 200 else len(content) - place % 200  # the structure is at both ends, pixels in between
    content[place : place + width] = change
    path = put(tmp_path_factory.getbasetemp() / "damaged" / "data_batch_1", bytes(content))
    with contextlib.suppress(AlexnetError):
        read_cifar10(path.parent, (1,))
