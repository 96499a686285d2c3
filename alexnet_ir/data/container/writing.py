"""Writes a container, a shard at a time; each file is whole or not there."""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from alexnet_ir.data.container.layout import (
    MANIFEST,
    RECORD,
    SKIPPED,
    STATISTICS,
    TRAIN,
    Index,
    Manifest,
    Plan,
    Shard,
    Sums,
    sha256,
)
from alexnet_ir.diagnostics import error
from alexnet_ir.durable import write_durably


@dataclass(frozen=True, eq=False)
class Encoded:
    """Some images of a shard: (name, label, bytes) of each, (name, reason) of those that could not be read, and the
    sums of their pixels."""

    images: Sequence[tuple[str, int, bytes]]
    skipped: Sequence[tuple[str, str]]
    sums: Sums


def write_shard(folder: Path, name: str, shape: tuple[int, int, int], chunks: Iterable[Encoded]) -> Shard:
    """Both files of a shard of images of [channels, rows, columns]: the index last, so that a shard that has one is
    finished."""
    content, sums = io.BytesIO(), Sums.none(shape)
    records: list[tuple[int, int, int, int]] = []
    names: list[str] = []
    skipped: list[tuple[str, str]] = []
    for chunk in chunks:
        for image, label, encoded in chunk.images:
            records.append((content.tell(), len(encoded), zlib.crc32(encoded), label))
            names.append(image)
            content.write(encoded)
        skipped += chunk.skipped
        sums.add(chunk.sums)
    data = content.getvalue()
    index = Index(np.array(records, RECORD), tuple(names), tuple(skipped), sums, sha256(data))
    write_durably(folder / f"{name}.data", data)
    written = index.to_bytes()
    write_durably(folder / f"{name}.index", written)
    return Shard(name, len(records), len(skipped), len(data), index.data_sha256, sha256(written))


def finished(folder: Path, name: str) -> Shard | None:
    """A shard that is there, whole and as its index says."""
    try:
        written = (folder / f"{name}.index").read_bytes()
        index = Index.from_bytes(written)
        with (folder / f"{name}.data").open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
    except (OSError, ValueError):
        return None
    if found != index.data_sha256:
        return None
    return Shard(name, len(index.records), len(index.skipped), size, found, sha256(written))


def write_skipped(folder: Path, shards: Iterable[Shard]) -> None:
    """The list of files that could not be read."""
    skipped = (f"{name}: {reason}" for shard in shards for name, reason in _index(folder, shard).skipped)
    lines = (line.replace("\n", "\\n") + "\n" for line in skipped)  # names may have several lines
    write_durably(folder / SKIPPED, "".join(lines).encode("utf-8", "surrogateescape"))


def write_manifest(folder: Path, plan: Plan, shards: Mapping[str, Sequence[Shard]]) -> Manifest:
    """Statistics, the list of skipped files and, last, the manifest, of all shards of each set in order."""
    sums = Sums.none(plan.shape)
    for shard in shards[TRAIN]:
        sums.add(_index(folder, shard).sums)
    if not sums.images:
        raise error(
            f"{folder}: there is no image to train on", helps=(f"{folder / SKIPPED} says what was skipped, and why",)
        )
    statistics = sums.statistics()
    written = save({"mean": statistics.mean, "covariance": statistics.covariance})
    write_durably(folder / STATISTICS, written)
    write_skipped(folder, (shard for some in shards.values() for shard in some))
    manifest = Manifest(plan, shards, sha256(written))
    write_durably(folder / MANIFEST, manifest.to_bytes())
    return manifest


def _index(folder: Path, shard: Shard) -> Index:
    return Index.from_bytes((folder / shard.index).read_bytes())
