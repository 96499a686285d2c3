"""What a container's files hold.

plan.json                what was asked for; written first
manifest.json            the same, and the hashes of all that was made of it; written last
train-00000.data         encoded images, one after another
train-00000.index        where each image lies, its label, checksum and name; sums of pixels; what was skipped
eval-00000.data, ...     the same of the evaluation set, if there is one
statistics.safetensors   mean image and covariance of the training set
skipped.txt              the files that could not be read, and why
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from alexnet_ir.data.dataset import Statistics
from alexnet_ir.diagnostics import AlexnetError, error

FORMAT = "alexnet-ir data 1"
MANIFEST, PLAN, STATISTICS, SKIPPED = "manifest.json", "plan.json", "statistics.safetensors", "skipped.txt"
TRAIN, EVAL = "train", "eval"
RECORD = np.dtype([("offset", "<u8"), ("length", "<u4"), ("crc32", "<u4"), ("label", "<i4")])


def sha256(content: bytes) -> str:
    """As hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def damaged(folder: Path, what: str) -> AlexnetError:
    """The error for a container that is not as it was written."""
    helps = (
        f"all damage is listed by: alexnet-ir data verify {folder}",
        f"damaged shards are made again by: alexnet-ir prepare SOURCE {folder}",
    )
    return error(what, helps=helps)


@dataclass
class Sums:
    """Of the pixels of so many images, exact, so that their order is of no matter: `pixels`, int64 [rows, columns,
    channels], and `products` of channels over all pixels, int64 [channels, channels]."""

    images: int
    pixels: NDArray[np.int64]
    products: NDArray[np.int64]

    @classmethod
    def none(cls, shape: tuple[int, int, int]) -> Sums:
        """Of no images of [channels, rows, columns]."""
        channels, rows, columns = shape
        return cls(0, np.zeros((rows, columns, channels), np.int64), np.zeros((channels, channels), np.int64))

    def add(self, other: Sums) -> None:
        """Count those of `other` too."""
        self.images += other.images
        self.pixels += other.pixels
        self.products += other.products

    def add_image(self, image: NDArray[np.uint8]) -> None:
        """Count uint8 [rows, columns, channels]. Products are made as doubles, whose sums stay below 2**53."""
        values = image.reshape(-1, image.shape[2]).astype(np.float64)
        self.images += 1
        self.pixels += image
        self.products += (values.T @ values).astype(np.int64)

    def statistics(self) -> Statistics:
        """Of at least one image; the covariance E[xy] - E[x]E[y] is made of whole numbers and rounded once."""
        count = self.images * self.pixels.shape[0] * self.pixels.shape[1]
        sums = [int(total) for total in self.pixels.sum(axis=(0, 1))]
        products = self.products.tolist()
        covariance = [
            [(count * products[i][j] - sums[i] * sums[j]) / count**2 for j in range(len(sums))]
            for i in range(len(sums))
        ]
        mean = (self.pixels / self.images).transpose(2, 0, 1).astype(np.float32)
        return Statistics(np.ascontiguousarray(mean), np.array(covariance, np.float64))


@dataclass(frozen=True, eq=False)
class Index:
    """Of one shard: a RECORD for each image, the images' names in the source, (name, reason) of those that were
    skipped, the sums of pixels, and the hash of the data."""

    records: NDArray[Any]
    names: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    sums: Sums
    data_sha256: str

    def to_bytes(self) -> bytes:
        """As safetensors: the same index gives the same bytes."""
        words = {"names": self.names, "skipped": self.skipped, "data_sha256": self.data_sha256}
        tensors = {name: np.ascontiguousarray(self.records[name]) for name in RECORD.names or ()}
        tensors["words"] = np.frombuffer(json.dumps(words).encode(), np.uint8)
        tensors["pixels"] = self.sums.pixels.astype(np.uint32)  # of at most 2**24 images
        tensors["products"] = self.sums.products
        return save(tensors)

    @classmethod
    def from_bytes(cls, content: bytes) -> Index:
        """ValueError where it is none."""
        try:
            tensors = load(content)
            words = json.loads(tensors["words"].tobytes())
            records = np.empty(len(tensors["label"]), RECORD)
            for name in RECORD.names or ():
                records[name] = tensors[name]
            sums = Sums(len(records), tensors["pixels"].astype(np.int64), tensors["products"])
            skipped = tuple((name, reason) for name, reason in words["skipped"])
            return cls(records, tuple(words["names"]), skipped, sums, words["data_sha256"])
        except (KeyError, TypeError, SafetensorError) as failure:
            raise ValueError(f"no index: {failure!r}") from None


@dataclass(frozen=True)
class Shard:
    """What the manifest says of a shard: how many images, files skipped and bytes of data, hashes of its two files."""

    name: str
    images: int
    skipped: int
    bytes: int
    data_sha256: str
    index_sha256: str

    @property
    def data(self) -> str:
        """The name of the file of images."""
        return f"{self.name}.data"

    @property
    def index(self) -> str:
        """The name of the file that says where each image lies."""
        return f"{self.name}.index"


@dataclass(frozen=True)
class Plan:
    """What a container is to be made of: all that decides its bytes. `sets` says of `train` and `eval` how many files
    they are read from, and a hash of their names, labels and sizes."""

    source: str
    sets: Mapping[str, Mapping[str, Any]]
    ids: tuple[str, ...]
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    resize: str
    codec: str
    encoding: str
    shard_images: int
    holdout: float | None

    def shards(self, part: str) -> Iterator[tuple[str, range]]:
        """The name of each shard of a set, and the files that it is made of."""
        count = self.sets[part]["files"] if part in self.sets else 0
        for number, first in enumerate(range(0, count, self.shard_images)):
            yield f"{part}-{number:05d}", range(first, min(first + self.shard_images, count))

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Plan:
        """KeyError, TypeError or ValueError where it is none."""
        channels, rows, columns = found["shape"]
        lists = {"ids": tuple(found["ids"]), "classes": tuple(found["classes"]), "shape": (channels, rows, columns)}
        return cls(**{**found, **lists})


@dataclass(frozen=True)
class Manifest:
    """What was made: the plan, the shards of each set in order, and the hash of the statistics."""

    plan: Plan
    shards: Mapping[str, Sequence[Shard]]
    statistics_sha256: str

    def to_bytes(self) -> bytes:
        """As JSON, with a hash of itself."""
        return sealed(asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """AlexnetError where there is none, or it is damaged."""
        path = folder / MANIFEST
        found = unsealed(path, helps=(f"it is made again by: alexnet-ir prepare SOURCE {folder}",))
        try:
            shards = {part: tuple(Shard(**shard) for shard in some) for part, some in found["shards"].items()}
            plan = Plan.from_json(found["plan"])
            return cls(plan, shards, found["statistics_sha256"])
        except (KeyError, TypeError, ValueError) as failure:
            raise error(
                f"{path}: expected the manifest of a prepared set, found one without sense ({failure!r})"
            ) from None


def sealed(content: Mapping[str, Any]) -> bytes:
    """JSON with the format's name and a hash of the rest, which `unsealed` checks."""
    whole = {"format": FORMAT, **content}
    return json.dumps({**whole, "sha256": sha256(json.dumps(whole).encode())}, indent=1).encode() + b"\n"


def unsealed(path: Path, helps: Sequence[str]) -> dict[str, Any]:
    """What was sealed; AlexnetError where the file is missing, of another kind or damaged, which `helps` mends."""
    try:
        found = json.loads(path.read_bytes())
        seal = found.pop("sha256")
        kind = found["format"]
    except OSError as failure:
        raise error(
            f"{path}: {failure.strerror}", helps=("alexnet-ir prepare SOURCE OUT makes a prepared set",)
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise error(f"{path}: expected {FORMAT!r}, found no such file, or a damaged one", helps=helps) from None
    if kind != FORMAT:
        raise error(f"{path}: expected {FORMAT!r}, found {kind!r}", helps=("prepare it with this version",))
    if seal != sha256(json.dumps(found).encode()):
        raise error(f"{path}: its content does not have the hash that it names: it was changed or damaged", helps=helps)
    del found["format"]
    return dict(found)
