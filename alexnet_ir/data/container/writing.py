"""Writes a container, a shard at a time; each file is whole or not there."""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping, Sequence
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


class ShardWriter:
    """Collects a shard's encoded images, and writes data and index when it is `finish`ed: the index last, so that a
    shard is finished where it has one."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.sums = Sums.none(shape)
        self._data = io.BytesIO()
        self._records: list[tuple[int, int, int, int]] = []
        self._names: list[str] = []
        self._skipped: list[tuple[str, str]] = []

    def add(self, name: str, label: int, encoded: bytes) -> None:
        """One image; its pixels are to be counted in `sums`."""
        self._records.append((self._data.tell(), len(encoded), zlib.crc32(encoded), label))
        self._names.append(name)
        self._data.write(encoded)

    def skip(self, name: str, reason: str) -> None:
        """A file that is no image."""
        self._skipped.append((name, reason))

    def finish(self, folder: Path, name: str) -> None:
        """Write both files, on the disk when this returns."""
        data = self._data.getvalue()
        records = np.array(self._records, RECORD)
        index = Index(records, tuple(self._names), tuple(self._skipped), self.sums, sha256(data))
        write_durably(folder / f"{name}.data", data)
        write_durably(folder / f"{name}.index", index.to_bytes())


def finished(folder: Path, name: str) -> tuple[Shard, Index] | None:
    """A shard that is there, whole and as its index says, or None."""
    try:
        written = (folder / f"{name}.index").read_bytes()
        index = Index.from_bytes(written)
        data = (folder / f"{name}.data").read_bytes()
    except (OSError, ValueError):
        return None
    if sha256(data) != index.data_sha256:
        return None
    return Shard(name, len(index.records), len(data), index.data_sha256, sha256(written)), index


def write_manifest(folder: Path, plan: Plan, found: Mapping[str, Sequence[tuple[Shard, Index]]]) -> Manifest:
    """Statistics, list of skipped files and manifest, of all shards of each set in order."""
    sums = Sums.none(plan.shape)
    for _, index in found[TRAIN]:
        sums.add(index.sums)
    if not sums.images:
        raise error(f"{folder}: the training set has no image")
    statistics = sums.statistics()
    written = save({"mean": statistics.mean, "covariance": statistics.covariance})
    skipped = [line for shards in found.values() for _, index in shards for line in index.skipped]
    write_durably(folder / STATISTICS, written)
    write_durably(
        folder / SKIPPED, "".join(f"{name}: {reason}\n" for name, reason in skipped).encode("utf-8", "surrogateescape")
    )
    shards = {part: tuple(shard for shard, _ in some) for part, some in found.items()}
    manifest = Manifest(plan, shards, sha256(written), len(skipped))
    write_durably(folder / MANIFEST, manifest.to_bytes())
    return manifest
