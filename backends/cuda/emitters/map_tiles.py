"""How a kernel that works on tiles in shared memory cuts up maps: kernels/tile.cu."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from alexnet_ir.backends.cuda.emitters.units import Units

LARGEST = 48 * 1024
"""Bytes of shared memory of a block, unless nothing fits into them: with more, too few blocks run side by side."""


@dataclass(frozen=True)
class Tile:
    """`channels` of height x width results, and the pixels [from_height, from_width] that they read."""

    height: int
    width: int
    channels: int
    from_height: int
    from_width: int

    @property
    def nbytes(self) -> int:
        """Of what a tile reads, in float32."""
        return 4 * self.from_height * self.from_width * self.channels

    @property
    def constants(self) -> dict[str, int | float | str | bool]:
        """For kernels/tile.cu."""
        return {"TILE_H": self.height, "TILE_W": self.width, "CHUNK": self.channels}


@dataclass(frozen=True)
class Tiling:
    """Windows of `size` cells a `stride` apart over `channels` maps, to `output` of them; an element's neighbours in
    `halo` channels on either side are read with it."""

    over: Units
    channels: int
    output: tuple[int, int]
    size: tuple[int, int]
    stride: tuple[int, int]
    halo: int = 0

    def best(self, shared: int) -> Tile | None:
        """The tile for which an image is read with the least waste, in a quarter of the shared memory that a block may
        have, if any tile fits into that; else in all of it; None if no tile fits."""
        for limit in (min(LARGEST, shared // 4), shared):
            if fitting := [tile for tile in self._tiles() if tile.nbytes <= limit]:
                return min(fitting, key=self._read)
        return None

    def blocks(self, tile: Tile) -> int:
        """That an image is cut into."""
        height, width = self.output
        return -(-height // tile.height) * -(-width // tile.width) * -(-self.channels // tile.channels)

    def _tiles(self) -> Iterator[Tile]:
        chunks = {min(self.channels, self.over.width * 2**i) for i in range(8)}
        heights, widths = (range(1, min(length, 16) + 1) for length in self.output)
        for channels, height, width in itertools.product(sorted(chunks), heights, widths):
            rows, columns = (
                (count - 1) * self.stride[axis] + self.size[axis] for axis, count in enumerate((height, width))
            )
            yield Tile(height, width, channels, rows, columns)

    def _read(self, tile: Tile) -> tuple[int, int]:
        """Elements read for an image; each stretch of memory costs 8 more, as it begins and ends within 32 bytes."""
        cut = tile.channels < self.channels
        if self.over.last:
            read = tile.from_height * tile.from_width * (tile.channels + 8 * cut)
        else:
            read = tile.from_height * (tile.from_width + 8) * (tile.channels + 2 * self.halo * cut)
        return self.blocks(tile) * read, tile.nbytes
