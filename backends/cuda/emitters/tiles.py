"""Which tile of a product a block computes on tensor cores, how deep its pipeline is, how many blocks run on a
multiprocessor, and into how many slices the depth is split: a small model of the time that each choice takes.

A block walks along the depth in chunks of 128 bytes (32 tf32 or 64 bf16), each a row of shared memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from alexnet_ir.backends.cuda.gpu import Gpu, Precision

CHUNK = 128
"""Bytes of depth that a block takes at once, of a row of either operand."""
ELEMENTS: dict[Precision, int] = {"fp32": 32, "tf32": 32, "bf16": 64}
"""In a chunk."""
REGISTERS, RESERVED = 65536, 1024
"""Of a multiprocessor; bytes of its shared memory that a block costs beyond what it asks for."""
STAGES = (4, 3)
"""Depths of the pipeline, best first: with two, nothing is under way while a chunk is waited for."""

# The model, in cycles of a multiprocessor. The rates are those of Ampere's mma.sync; what counts is their ratio to that
# of shared memory, which is about the same in all generations.
PRODUCTS_A_CYCLE = 512  # of tf32; bf16 twice that, and its chunk is twice as deep
SHARED_A_CYCLE = 128  # bytes
SPLIT_A_CYCLE = 100  # bytes of fragments in two, for the three products of fp32
BARRIER = 120.0  # for each chunk, hidden by what else runs there
START = 1500.0  # of a tile: the pipeline is filled and the results are written
WARPS = 8  # fewer than that hide too little
REDUCED_A_CYCLE = 16  # bytes of slices summed, a multiprocessor


@dataclass(frozen=True, slots=True)
class Tile:
    """`rows` x `columns` of the product for a block, `warp` of them for a warp."""

    rows: int
    columns: int
    warp: tuple[int, int]

    @property
    def threads(self) -> int:
        """Of a block."""
        return self.rows // self.warp[0] * (self.columns // self.warp[1]) * 32

    @property
    def stage(self) -> int:
        """Bytes of a chunk of both operands."""
        return (self.rows + self.columns) * CHUNK

    def registers(self, precision: Precision) -> int:
        """Of a thread, about: sums, two sets of fragments, addresses. Sums in fp32 are held twice, and fragments are
        split into two parts."""
        rows, columns = self.warp
        sums, fragments = rows * columns // 32, rows // 4 + columns // 4
        return (2 * sums if precision == "fp32" else sums) + 2 * fragments + 56

    def cycles(self, precision: Precision) -> float:
        """For a chunk: of multiplying or of moving through shared memory, whichever takes longer; and of splitting."""
        warps, several = self.threads // 32, 3 if precision == "fp32" else 1
        products = self.rows * self.columns * ELEMENTS["tf32"] * several
        read = warps * sum(self.warp) * CHUNK
        split = read / SPLIT_A_CYCLE if precision == "fp32" else 0.0
        return max(products / PRODUCTS_A_CYCLE, (self.stage + read) / SHARED_A_CYCLE) + split

    def __str__(self) -> str:
        return f"{self.rows} x {self.columns}"


WIDE = [
    Tile(128, 256, (64, 64)),
    Tile(256, 128, (64, 64)),
    Tile(128, 192, (64, 48)),
    Tile(256, 96, (64, 48)),
    Tile(128, 128, (64, 64)),
    Tile(128, 96, (64, 48)),
    Tile(256, 48, (64, 48)),
]
"""Many products for each byte of shared memory; too many sums for the three products of fp32."""
NARROW = [
    Tile(128, 128, (64, 32)),
    Tile(128, 96, (32, 48)),
    Tile(128, 64, (64, 32)),
    Tile(64, 128, (64, 32)),
    Tile(64, 96, (32, 48)),
    Tile(64, 64, (32, 32)),
    Tile(128, 48, (32, 48)),
    Tile(128, 32, (32, 32)),
    Tile(128, 16, (32, 16)),
    Tile(64, 32, (32, 16)),
    Tile(32, 64, (16, 32)),
]


def tiles(precision: Precision) -> list[Tile]:
    """What there is to choose from."""
    return NARROW if precision == "fp32" else WIDE + NARROW


@dataclass(frozen=True, slots=True)
class Choice:
    """A tile, the stages of its pipeline, blocks that run on a multiprocessor at a time, and slices of the depth."""

    tile: Tile
    stages: int
    resident: int
    splits: int
    precision: Precision

    @property
    def shared(self) -> int:
        """Bytes of shared memory of a block."""
        return self.stages * self.tile.stage

    def __str__(self) -> str:
        """For the plan."""
        blocks = f"{self.resident} block{'s' * (self.resident > 1)} an SM"
        split = f", depth in {self.splits} slices" if self.splits > 1 else ""
        return f"{self.precision}, tile {self.tile} x {ELEMENTS[self.precision]}, {self.stages} stages, {blocks}{split}"


def choose(
    rows: int,
    columns: int,
    depth: int,
    gpu: Gpu,
    precision: Precision,
    *,
    count: int = 1,
    splits: Sequence[int] = (1,),
    among: Iterable[Tile] | None = None,
) -> Choice:
    """What takes the least time by the model for `count` products [rows, depth] [depth, columns]."""

    def fitting() -> Iterable[tuple[float, int, Choice]]:
        candidates = tiles(precision) if among is None else among
        for order, (tile, split) in enumerate(product(candidates, splits)):
            placed = occupancy(tile, gpu, precision)
            if placed:
                choice = Choice(tile, placed[0], placed[1], split, precision)
                yield time(choice, rows, columns, depth, count, gpu), order, choice

    return min(fitting(), key=lambda found: found[:2])[2]


def occupancy(tile: Tile, gpu: Gpu, precision: Precision) -> tuple[int, int] | None:
    """(stages, blocks on a multiprocessor): as many blocks as registers allow, unless that leaves them fewer than three
    stages; None where one block has no room for these."""
    most = max(1, min(REGISTERS // (tile.threads * tile.registers(precision)), 4))
    for resident, stages in product(range(most, 0, -1), STAGES):
        if (stages * tile.stage + RESERVED) * resident <= gpu.shared + RESERVED:
            return stages, resident
    return None


def time(choice: Choice, rows: int, columns: int, depth: int, count: int, gpu: Gpu) -> float:
    """Cycles, about, that the busiest multiprocessor takes."""
    tile, splits = choice.tile, choice.splits
    chunks = math.ceil(math.ceil(depth / ELEMENTS[choice.precision]) / splits)
    blocks = math.ceil(rows / tile.rows) * math.ceil(columns / tile.columns) * count * splits
    each = math.ceil(blocks / gpu.multiprocessors)
    together = min(each, choice.resident)
    hidden = min(1.0, together * tile.threads / 32 / WARPS)
    chunk = tile.cycles(choice.precision) / (0.7 + 0.3 * hidden) + BARRIER / together
    reduced = splits * rows * columns * count * 8 / gpu.multiprocessors / REDUCED_A_CYCLE if splits > 1 else 0.0
    return each * (chunks * chunk + START / together) + reduced
