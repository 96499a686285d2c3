"""MNIST's files, as they are published and as they get damaged."""

from __future__ import annotations

import contextlib
import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet_ir.data.mnist import read_mnist
from alexnet_ir.diagnostics import AlexnetError

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8)
LABELS = np.array([3, 0, 9, 1, 4], np.uint8)
IMAGE_FILE, LABEL_FILE = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write(directory: Path, pixels: bytes = idx(PIXELS), labels: bytes = idx(LABELS)) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{IMAGE_FILE}.gz").write_bytes(gzip.compress(pixels))
    (directory / f"{LABEL_FILE}.gz").write_bytes(gzip.compress(labels))
    return directory


def message(directory: Path) -> str:
    with pytest.raises(AlexnetError) as caught:
        read_mnist(directory, "train")
    return str(caught.value)


def test_reads_what_was_written(tmp_path: Path) -> None:
    split = read_mnist(write(tmp_path), "train")
    assert split.images.shape == (5, 1, 28, 28)
    assert split.images.dtype == np.uint8
    assert split.labels.dtype == np.int32
    np.testing.assert_array_equal(split.images[:, 0], PIXELS)
    np.testing.assert_array_equal(split.labels, LABELS)


@pytest.mark.parametrize("name", ["{}", "{}.gz", "MNIST/raw/{}"])
@pytest.mark.parametrize("separator", ["-", "."])
@pytest.mark.parametrize("pack", [gzip.compress, bytes])
def test_usual_names_packed_or_not(tmp_path: Path, name: str, separator: str, pack: Callable[[bytes], bytes]) -> None:
    for file, array in (("t10k-images-idx3-ubyte", PIXELS), ("t10k-labels-idx1-ubyte", LABELS)):
        path = tmp_path / name.format(file.replace("-idx", f"{separator}idx"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pack(idx(array)))
    assert len(read_mnist(tmp_path, "t10k")) == 5


def test_missing_folder_says_where_to_get_it(tmp_path: Path) -> None:
    found = message(tmp_path / "nowhere")
    assert f"{tmp_path / 'nowhere'}: expected the folder with MNIST" in found
    assert "found nothing" in found
    assert "https://ossci-datasets.s3.amazonaws.com/mnist/" in found
    assert "md5 of train-images-idx3-ubyte.gz: f68b3c2dcbeaaa9fbdd348bbdeb94873" in found


def test_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "mnist").write_text("")
    assert "found a file" in message(tmp_path / "mnist")


def test_missing_file_is_named(tmp_path: Path) -> None:
    (write(tmp_path) / f"{LABEL_FILE}.gz").unlink()
    found = message(tmp_path)
    assert f"{tmp_path / LABEL_FILE}: expected a file of MNIST, found nothing" in found
    assert "d53e105ee54ea40749a09fcbcd1e9432" in found


def test_file_that_is_a_folder(tmp_path: Path) -> None:
    (write(tmp_path) / IMAGE_FILE).mkdir()
    assert "expected a readable file" in message(tmp_path)


@pytest.mark.parametrize(
    ("pixels", "labels", "expected"),
    [
        (b"", idx(LABELS), "an idx file, 00 00 08 03 and 3 lengths of 4 bytes, found nothing"),
        (idx(LABELS), idx(LABELS), "4 bytes, found 00 00 08 01 00 00 00 05"),
        (b"<html> not found", idx(LABELS), "found 3c 68 74 6d"),
        (idx(PIXELS)[:9], idx(LABELS), "4 bytes, found 00 00 08 03 00 00 00 05 00"),
        (idx(PIXELS[:, :27]), idx(LABELS), "images of 28 x 28, found 27 x 28"),
        (idx(PIXELS)[:-1], idx(LABELS), "3920 bytes after the header, which says 5, found 3919"),
        (idx(PIXELS), idx(LABELS) + b"\0", "5 bytes after the header, which says 5, found 6"),
        (idx(PIXELS), idx(LABELS[:4]), "one label for each image, found 5 images and 4 labels"),
        (idx(PIXELS[:0]), idx(LABELS[:0]), "one label for each image, found 0 images and 0 labels"),
        (idx(PIXELS), idx(LABELS + np.uint8(1)), "labels from 0 to 9, found 10 at image 2"),
    ],
)
def test_damage_is_explained(tmp_path: Path, pixels: bytes, labels: bytes, expected: str) -> None:
    assert expected in message(write(tmp_path, pixels, labels))


@pytest.mark.parametrize("damage", [lambda b: b[:-20], lambda b: b[:50] + b"\xff" * 50 + b[100:], lambda b: b[:3]])
def test_damaged_gzip(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = write(tmp_path) / f"{IMAGE_FILE}.gz"
    path.write_bytes(damage(path.read_bytes()))
    assert f"{path}: expected a readable file, found a damaged one (" in message(tmp_path)


@given(data=st.data())
def test_any_damage_is_the_users_to_read(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Bytes changed, cut off or added: the data or an AlexnetError, never anything else."""
    directory = write(tmp_path_factory.getbasetemp() / "damaged")
    path = directory / data.draw(st.sampled_from([f"{IMAGE_FILE}.gz", f"{LABEL_FILE}.gz"]))
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content)))
    content[place : place + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(AlexnetError):
        read_mnist(directory, "train")
