"""What is known of a value before the program runs: element type, shape, and where it lies."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

DType = Literal["f32", "i32", "i64", "u8"]
DTYPES: tuple[str, ...] = get_args(DType)
ITEM_BYTES: dict[str, int] = {"f32": 4, "i32": 4, "i64": 8, "u8": 1}
WHOLE_DTYPES: dict[str, str] = {"i32": "int32", "i64": "int64", "u8": "uint8"}
"""NumPy's names; what f32 is computed in is the backend's choice."""


@dataclass(frozen=True, slots=True)
class Replicated:
    """The whole value on every device."""

    def __str__(self) -> str:
        return "replicated"


@dataclass(frozen=True, slots=True)
class Split:
    """A share along `axis` on each device, in their order."""

    axis: int

    def __str__(self) -> str:
        return f"split({self.axis})"


@dataclass(frozen=True, slots=True)
class Partial:
    """A value of the full shape on each device; their sum is the value meant."""

    def __str__(self) -> str:
        return "partial"


@dataclass(frozen=True, slots=True)
class On:
    """The whole value on one device only."""

    device: int

    def __str__(self) -> str:
        return f"on({self.device})"


Placement: TypeAlias = Replicated | Split | Partial | On
REPLICATED = Replicated()
PARTIAL = Partial()
BATCH = Split(0)
"""A share of the images on each device."""
CHANNELS = Split(1)
"""A share of the channels or units on each device."""


def dual(placement: Placement) -> Placement:
    """The placement of a gradient, from that of the value: a value that every device has whole gets a part of its
    gradient from each, and a value that is a sum of parts gives each part the whole gradient."""
    if isinstance(placement, Replicated):
        return PARTIAL
    return REPLICATED if isinstance(placement, Partial) else placement


def placement_of(text: str) -> Placement:
    """What `str(placement)` wrote; ValueError where nothing did."""
    found = re.fullmatch(r"(replicated|partial|split|on)(?:\((\d+)\))?", text)
    if found is None or (found[2] is None) != (found[1] in ("replicated", "partial")):
        raise ValueError(f"{text} is no placement")
    if found[2] is None:
        return REPLICATED if found[1] == "replicated" else PARTIAL
    return Split(int(found[2])) if found[1] == "split" else On(int(found[2]))


@dataclass(frozen=True, slots=True)
class TensorType:
    """Element type, logical shape (channels first: [batch, channels, rows, columns] or [batch, units]), placement."""

    dtype: DType
    shape: tuple[int, ...]
    placement: Placement = REPLICATED

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the whole logical value."""
        return self.size * ITEM_BYTES[self.dtype]

    @property
    def device(self) -> int:
        """Where a value on one device lies; 0 where there is but one."""
        return self.placement.device if isinstance(self.placement, On) else 0

    def at(self, placement: Placement) -> TensorType:
        """The same value, placed otherwise."""
        return replace(self, placement=placement)

    def can_be(self, placement: Placement, devices: int) -> bool:
        """Whether it can be so placed: along an axis that it has, in even shares; on a device that there is."""
        if isinstance(placement, Split):
            return placement.axis < len(self.shape) and self.shape[placement.axis] % devices == 0
        return not isinstance(placement, On) or placement.device < devices

    def local(self, devices: int) -> tuple[int, ...]:
        """The shape of one device's share."""
        if not isinstance(self.placement, Split):
            return self.shape
        axis = self.placement.axis
        return (*self.shape[:axis], self.shape[axis] // devices, *self.shape[axis + 1 :])

    def __str__(self) -> str:
        where = "" if self.placement == REPLICATED else f" {self.placement}"
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]{where}"


@dataclass(frozen=True, slots=True)
class ErrorType:
    """The type of a value whose rule failed: what depends on it stays silent."""

    def __str__(self) -> str:
        return "error"


ResultType: TypeAlias = TensorType | ErrorType


def f32(*shape: int) -> TensorType:
    """A float tensor of this shape, replicated."""
    return TensorType("f32", shape)


SCALAR = f32()


def shape_text(shape: tuple[int, ...]) -> str:
    """`3 x 224 x 224`, as messages show shapes."""
    return " x ".join(map(str, shape))


def sample_text(type_: TensorType) -> str:
    """The shape of one sample, without the batch, as messages show it."""
    return shape_text(type_.shape[1:]) if len(type_.shape) > 1 else shape_text(type_.shape) or "a scalar"
