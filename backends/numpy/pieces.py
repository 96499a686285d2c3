"""Work in pieces that stay in the cache, so that what lies between two operations is never written to memory."""

from __future__ import annotations

from collections.abc import Iterator

from alexnet_ir.backends.kernel import Arrays, Types
from alexnet_ir.ir.op import Array
from alexnet_ir.ir.types import TensorType, f32

ELEMENTS = 1 << 16
"""Of an elementwise operation at a time."""
CACHE_BYTES = 1 << 20
"""Of maps at a time, where an image is taken by itself."""
COLUMN_BYTES = 2 << 20
"""Of unrolled windows at a time."""


def at_a_time(count: int, bytes_each: int, bytes_together: int) -> int:
    """How many of `count` images, of so many bytes each, to take together."""
    return min(count, max(1, bytes_together // max(1, bytes_each)))


def shares(count: int, most: int) -> Iterator[slice]:
    """`count` things in pieces of `most`, but for the last."""
    yield from (slice(start, min(start + most, count)) for start in range(0, count, most))


def pieces(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    """The elements of arrays of one size, some at a time, in flat views."""
    flat = [array.reshape(-1) for array in arrays]
    for part in shares(flat[0].size, ELEMENTS):
        yield tuple(array[part] for array in flat)


def piece(op: object, operands: Types, results: Types) -> tuple[TensorType, ...]:
    """Scratch for one piece of the first result."""
    return (f32(min(results[0].size, ELEMENTS)),)


def images_of(type_: TensorType) -> int:
    """How many images of such a map to take together."""
    return at_a_time(type_.shape[0], type_.nbytes // type_.shape[0], CACHE_BYTES)


def some(type_: TensorType, images: int) -> TensorType:
    """The type of so many of its images."""
    return TensorType(type_.dtype, (images, *type_.shape[1:]))


def cut(arrays: Arrays, images: slice) -> tuple[Array, ...]:
    """The first so many images of each scratch array."""
    return tuple(array[: images.stop - images.start] for array in arrays)
