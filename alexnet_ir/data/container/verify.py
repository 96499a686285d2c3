"""Compares a container with its manifest, byte by byte."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path

from alexnet_ir.data.container.layout import Manifest, Shard
from alexnet_ir.data.container.reading import read_index, read_statistics
from alexnet_ir.diagnostics import AlexnetError


def damage(folder: Path, manifest: Manifest) -> Iterator[str | None]:
    """A line for all that is damaged; None after each shard that was read."""
    try:
        read_statistics(folder, manifest)
    except AlexnetError as failure:
        yield failure.diagnostics[0].message
    for shards in manifest.shards.values():
        for shard in shards:
            yield from _of_shard(folder, shard)
            yield None


def _of_shard(folder: Path, shard: Shard) -> Iterator[str]:
    path = folder / shard.data
    try:
        with path.open("rb") as file:
            whole = hashlib.file_digest(file, "sha256").hexdigest() == shard.data_sha256
        index = read_index(folder, shard)
        if not whole:
            content = path.read_bytes()
            yield f"{path}: its content does not have the hash in the manifest"
            for (offset, length, crc32, _), name in zip(index.records.tolist(), index.names, strict=True):
                if zlib.crc32(content[offset : offset + length]) != crc32:
                    yield f"{path}: {name} is damaged"
    except OSError as failure:
        yield f"{path}: {failure.strerror}"
    except AlexnetError as failure:
        yield failure.diagnostics[0].message
