"""How a value lies in memory: the order of its elements, and what each is stored as.

At the type level everything is channels first and f32; a backend's target chooses layouts, and neither the language nor
weights files show them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from alexnet_ir.ir.types import TensorType

Stored = Literal["f32", "tf32", "bf16", "i32", "i64", "u8"]
"""`tf32` is f32 rounded to 10 bits of mantissa when it is written, `bf16` its upper half, rounded."""
STORED_BYTES: dict[str, int] = {"f32": 4, "tf32": 4, "bf16": 2, "i32": 4, "i64": 8, "u8": 1}


@dataclass(frozen=True, slots=True)
class Layout:
    """Elements without gaps: of the last axis side by side or, `channels_last` (rank 4 only), of the channels: images
    as [n, h, w, c], kernels as [kernels, rows, columns, channels]."""

    stored: Stored
    channels_last: bool = False

    def strides(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """For each logical axis, how many elements lie from one index to the next."""
        if not self.channels_last:
            return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
        _, c, h, w = shape
        return (h * w * c, 1, w * c, c)

    def nbytes(self, shape: tuple[int, ...]) -> int:
        """Of a value of this logical shape."""
        return math.prod(shape) * STORED_BYTES[self.stored]

    def __str__(self) -> str:
        return f"{self.stored} channels last" if self.channels_last else self.stored


def plain(type_: TensorType) -> Layout:
    """As the type says: channels first, f32."""
    return Layout(type_.dtype)
