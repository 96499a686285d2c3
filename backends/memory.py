"""Buffers, and the arrays that lie in them; whole values cut into shards and put together again.

A plan counts bytes for float32. In another float type every offset and size grows in proportion.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from alexnet_ir.ir.op import Array
from alexnet_ir.ir.types import ITEM_BYTES, WHOLE_DTYPES, Partial, Split, TensorType

ALIGNMENT = 64
Float = np.dtype[Any]
"""What f32 is computed in."""


def aligned(nbytes: int) -> int:
    """The next multiple of ALIGNMENT."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def dtype_of(type_: TensorType, float_: Float) -> np.dtype[Any]:
    """The NumPy type of a value's elements."""
    return float_ if type_.dtype == "f32" else np.dtype(WHOLE_DTYPES[type_.dtype])


def buffer(nbytes: int, float_: Float) -> Array:
    """Memory for so many bytes of a plan, aligned."""
    length = nbytes * float_.itemsize // ITEM_BYTES["f32"]
    raw = np.empty(length + ALIGNMENT, np.uint8)
    start = -int(raw.ctypes.data) % ALIGNMENT
    return raw[start : start + length]


def array_at(memory: Array, offset: int, type_: TensorType, float_: Float) -> Array:
    """The array of this type that lies `offset` bytes of the plan into a buffer."""
    dtype = dtype_of(type_, float_)
    start = offset * float_.itemsize // ITEM_BYTES["f32"]
    return memory[start : start + type_.size * dtype.itemsize].view(dtype).reshape(type_.shape)


def carve(memory: Array, types: Sequence[TensorType], float_: Float) -> tuple[Array, ...]:
    """Arrays of these types, one after another in a buffer, each aligned."""
    arrays, offset = [], 0
    for type_ in types:
        arrays.append(array_at(memory, offset, type_, float_))
        offset += aligned(type_.nbytes)
    return tuple(arrays)


def share(whole: Array, type_: TensorType, device: int, devices: int) -> Array:
    """What a device holds of a value so placed: a view."""
    if not isinstance(type_.placement, Split):
        return whole
    axis, length = type_.placement.axis, type_.local(devices)[type_.placement.axis]
    return whole[(slice(None),) * axis + (slice(device * length, (device + 1) * length),)]


def assemble(shards: Sequence[Array], type_: TensorType) -> Array:
    """The whole value, in memory of its own, from the shards that there are, in the devices' order."""
    if isinstance(type_.placement, Split):
        return np.concatenate(shards, axis=type_.placement.axis)
    whole = shards[0].copy()
    if isinstance(type_.placement, Partial):
        for shard in shards[1:]:
            whole += shard
    return whole
