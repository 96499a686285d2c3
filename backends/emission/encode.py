"""Logical NumPy arrays to what lies in a GPU's memory, and back; and the rounding of what is stored in fewer bits."""

from __future__ import annotations

import numpy as np

from alexnet_ir.ir.layout import Layout, Stored
from alexnet_ir.ir.op import Array

NUMPY: dict[Stored, str] = {
    "f32": "float32", "tf32": "float32", "bf16": "uint16", "i32": "int32", "i64": "int64", "u8": "uint8",
}  # fmt: skip
"""What the bytes of each stored type are in NumPy; bf16 are bits."""
LAST, FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


def round_tf32(array: Array) -> Array:
    """Float32 with 10 bits of mantissa: to nearest, ties away from zero."""
    values = np.asarray(array, np.float32)
    rounded = ((values.view(np.uint32) + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)
    return np.where(np.isfinite(values), rounded, values)


def bf16_bits(array: Array) -> Array:
    """The upper half of float32 bits: to nearest, ties to even; NaN stays NaN."""
    values = np.asarray(array, np.float32)
    bits = values.view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))) >> np.uint32(16)
    return np.where(np.isnan(values), bits >> np.uint32(16) | np.uint32(0x40), rounded).astype(np.uint16)


def round_stored(array: Array, stored: Stored) -> Array:
    """What is read back of a value that was stored so; whole numbers as they are."""
    if stored == "bf16":
        return (bf16_bits(array).astype(np.uint32) << np.uint32(16)).view(np.float32)
    return round_tf32(array) if stored == "tf32" else array


def encode(array: Array, layout: Layout) -> Array:
    """The bytes of a logical array, as uint8."""
    array = array.transpose(LAST) if layout.channels_last else array
    if layout.stored == "bf16":
        array = bf16_bits(array)
    elif layout.stored == "tf32":
        array = round_tf32(array)
    return np.ascontiguousarray(array, NUMPY[layout.stored]).reshape(-1).view(np.uint8)


def decode(memory: Array, layout: Layout, shape: tuple[int, ...]) -> Array:
    """The logical array that lies in these bytes, in memory of its own."""
    found = viewed(memory, layout, shape)
    if layout.stored == "bf16":
        found = (found.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return np.array(found, order="C")


def viewed(memory: Array, layout: Layout, shape: tuple[int, ...]) -> Array:
    """These bytes as the logical array that lies in them; bf16 are bits."""
    found = memory.view(NUMPY[layout.stored])
    if not layout.channels_last:
        return found.reshape(shape)
    n, c, h, w = shape
    return found.reshape(n, h, w, c).transpose(FIRST)
