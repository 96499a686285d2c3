"""The images of a container's set, decoded when they are asked for."""

from __future__ import annotations

import mmap
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet_ir.backends.streams import cores
from alexnet_ir.data.container.layout import Index, Shard, damaged
from alexnet_ir.data.decode import decode_stored
from alexnet_ir.diagnostics import AlexnetError

PLACE = np.dtype([("shard", "<u4"), ("offset", "<u8"), ("length", "<u4"), ("crc32", "<u4")])


@dataclass(frozen=True, eq=False)
class ShardFile:
    """A shard's data, mapped into memory."""

    folder: Path
    shard: Shard
    content: memoryview

    @classmethod
    def open(cls, folder: Path, shard: Shard) -> ShardFile:
        """AlexnetError where the file is missing or of another length."""
        path = folder / shard.data
        try:
            with path.open("rb") as file:
                size = file.seek(0, 2)
                if size != shard.bytes:
                    raise damaged(folder, f"{path}: expected {shard.bytes:,} bytes, found {size:,}")
                content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        except OSError as failure:
            raise damaged(folder, f"{path}: {failure.strerror}") from None
        return cls(folder, shard, memoryview(content))

    def damaged(self, offset: int, reason: str) -> AlexnetError:
        """The error for the image that begins at `offset`; its name is read from the index now."""
        try:
            index = Index.from_bytes((self.folder / self.shard.index).read_bytes())
            record = int(np.flatnonzero(index.records["offset"] == offset)[0])
            where = f"image {record} ({index.names[record]})"
        except (OSError, ValueError, IndexError):
            where = f"the image at byte {offset}"
        return damaged(self.folder, f"{self.folder / self.shard.data}: {where} is damaged: {reason}")


@dataclass(frozen=True, eq=False)
class PackedImages:
    """A `Store` of images in shards. `places`, of dtype PLACE, says where each lies; `item` is (channels, rows,
    columns) of each."""

    files: tuple[ShardFile, ...]
    places: NDArray[Any]
    item: tuple[int, int, int]
    codec: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array that it stands for: (n, channels, rows, columns)."""
        return (len(self.places), *self.item)

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8."""
        return np.dtype(np.uint8)

    def __len__(self) -> int:
        return len(self.places)

    def take(self, chosen: NDArray[Any]) -> PackedImages:
        """The images that a mask or an index array chooses; none is decoded."""
        return replace(self, places=self.places[chosen])

    def __getitem__(self, samples: NDArray[Any] | slice) -> NDArray[np.uint8]:
        """Those images, uint8 [n, channels, rows, columns], channels last in memory, decoded by a thread a core."""
        chosen = np.arange(len(self))[samples]
        channels, rows, columns = self.item
        images = np.moveaxis(np.empty((len(chosen), rows, columns, channels), np.uint8), 3, 1)
        threads = min(cores(), len(chosen))

        def read_every(first: int) -> None:
            for place in range(first, len(chosen), threads):
                self.read(int(chosen[place]), images[place])

        with ThreadPoolExecutor(max(1, threads)) as pool:
            list(pool.map(read_every, range(threads)))
        return images

    def read(self, sample: int, out: NDArray[np.uint8]) -> None:
        """One image into `out`, uint8 [channels, rows, columns], without a copy where its memory is channels last.
        AlexnetError where the image is damaged."""
        shard, offset, length, crc32 = self.places[sample].item()
        file = self.files[shard]
        encoded = file.content[offset : offset + length]
        if zlib.crc32(encoded) != crc32:
            raise file.damaged(offset, "its bytes do not have the checksum in the index")
        try:
            decode_stored(self.codec, encoded, out.transpose(1, 2, 0))
        except ValueError as failure:
            raise file.damaged(offset, str(failure)) from None
