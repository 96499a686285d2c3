"""Opens a container: what `prepare` made, as sets of labelled images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from alexnet_ir.data.container.layout import EVAL, MANIFEST, STATISTICS, TRAIN, Index, Manifest, Shard, damaged, sha256
from alexnet_ir.data.container.store import PLACE, PackedImages, ShardFile
from alexnet_ir.data.dataset import Split, Statistics


@dataclass(frozen=True, eq=False)
class Container:
    """A prepared set: `train` with its statistics, `eval` if the source had it, and of each class its name and its id
    (the name of its folder, such as a wnid)."""

    path: Path
    manifest: Manifest
    train: Split
    eval: Split | None

    @property
    def classes(self) -> tuple[str, ...]:
        """The name of each class."""
        return self.manifest.plan.classes

    @property
    def ids(self) -> tuple[str, ...]:
        """The id of each class."""
        return self.manifest.plan.ids


def is_container(path: Path) -> bool:
    """Whether the folder is one that `prepare` has finished."""
    return (path / MANIFEST).is_file()


def open_container(path: Path) -> Container:
    """Read manifest, indices and statistics, and check their hashes; images are read, and checked, when asked for.
    AlexnetError where something is missing or damaged."""
    manifest = Manifest.read(path)
    train = _open_set(path, manifest, TRAIN, read_statistics(path, manifest))
    return Container(path, manifest, train, _open_set(path, manifest, EVAL) if EVAL in manifest.shards else None)


def read_index(folder: Path, shard: Shard) -> Index:
    """A shard's index; AlexnetError where it is not the one that the manifest names."""
    path = folder / shard.index
    content = _checked(folder, path, shard.index_sha256)
    try:
        return Index.from_bytes(content)
    except ValueError as failure:
        raise damaged(folder, f"{path}: {failure}") from None


def read_statistics(folder: Path, manifest: Manifest) -> Statistics:
    """Mean image and covariance of the training set; AlexnetError where they are damaged."""
    path = folder / STATISTICS
    try:
        found = load(_checked(folder, path, manifest.statistics_sha256))
        return Statistics(found["mean"], found["covariance"])
    except (SafetensorError, KeyError) as failure:
        raise damaged(folder, f"{path}: expected mean and covariance, found {failure!r}") from None


def _checked(folder: Path, path: Path, expected: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as failure:
        raise damaged(folder, f"{path}: {failure.strerror}") from None
    if sha256(content) != expected:
        raise damaged(folder, f"{path}: its content does not have the hash in {MANIFEST}")
    return content


def _open_set(folder: Path, manifest: Manifest, part: str, statistics: Statistics | None = None) -> Split:
    shards = manifest.shards[part]
    indices = [read_index(folder, shard) for shard in shards]
    places = np.empty(sum(len(index.records) for index in indices), PLACE)
    if indices:
        records = np.concatenate([index.records for index in indices])
        for name in ("offset", "length", "crc32"):
            places[name] = records[name]
        places["shard"] = np.repeat(np.arange(len(indices)), [len(index.records) for index in indices])
    files = tuple(ShardFile.open(folder, shard) for shard in shards)
    images = PackedImages(files, places, manifest.plan.shape, manifest.plan.codec)
    labels = records["label"].astype(np.int32) if indices else np.empty(0, np.int32)
    return Split(images, labels, statistics)
