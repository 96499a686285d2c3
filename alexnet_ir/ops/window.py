"""Sliding windows over a map: sizes, rounding, and the views that convolution and pooling are made of.

A window of size k with dilation d reaches over e = d (k - 1) + 1 cells; along one axis of length i, padded by p before
and q after, at stride s, there are (i - e + p + q) / s + 1 of them, if that is a whole number.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from alexnet_ir.ir.attributes import Pads, Pair, choice
from alexnet_ir.ir.op import Array, TypeRuleError
from alexnet_ir.ir.text import compact, value_text
from alexnet_ir.ir.types import TensorType, sample_text

ROUND = choice("exact", "down", "up")
AXES = ("rows", "columns")


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows over maps of one size. `output` counts them along each axis; `extra` cells beyond the bottom and
    right padding are read where rounding up makes a window stand over the edge."""

    size: Pair
    stride: Pair
    pad: Pads
    dilation: Pair
    input: Pair
    output: Pair

    @property
    def extra(self) -> Pair:
        """Rows and columns that the last windows read beyond the padding."""
        rows, columns = (
            max(0, (self.output[a] - 1) * self.stride[a] + reach(self.size[a], self.dilation[a]) - self._length(a))
            for a in range(2)
        )
        return rows, columns

    def _length(self, axis: int) -> int:
        """Cells of the map and its padding."""
        return self.input[axis] + sum(self.pad[axis])

    def padded(self, maps: Array, fill: float = 0.0) -> Array:
        """Maps [..., rows, columns] with the padding and the extra cells around them."""
        (top, bottom), (left, right) = self.pad
        width = [(0, 0)] * (maps.ndim - 2) + [(top, bottom + self.extra[0]), (left, right + self.extra[1])]
        return np.pad(maps, width, constant_values=fill)

    def cropped(self, padded: Array) -> Array:
        """The maps inside `padded`: a view, the inverse of `padded()`."""
        top, left = self.pad[0][0], self.pad[1][0]
        return padded[..., top : top + self.input[0], left : left + self.input[1]]

    def taps(self, padded: Array) -> Iterator[tuple[int, int, Array]]:
        """For each cell (i, j) of the window, the view [..., output rows, output columns] of what it meets."""
        for i, j in itertools.product(range(self.size[0]), range(self.size[1])):
            rows = slice(i * self.dilation[0], i * self.dilation[0] + (self.output[0] - 1) * self.stride[0] + 1)
            columns = slice(j * self.dilation[1], j * self.dilation[1] + (self.output[1] - 1) * self.stride[1] + 1)
            yield i, j, padded[..., rows, columns][..., :: self.stride[0], :: self.stride[1]]


def reach(size: int, dilation: int) -> int:
    """Cells from the first to the last that a window reads, both counted."""
    return dilation * (size - 1) + 1


def windows(
    maps: TensorType | Pair, size: Pair, stride: Pair, pad: Pads, dilation: Pair = (1, 1), round: str = "down"
) -> Windows:
    """The windows over maps of this type or size; TypeRuleError where they do not fit it."""
    shape = maps.shape[-2:] if isinstance(maps, TensorType) else maps
    label = f"the input here is {sample_text(maps)}" if isinstance(maps, TensorType) else ""
    counts = []
    for axis in range(2):
        have, need = shape[axis] + sum(pad[axis]), reach(size[axis], dilation[axis])
        if need > have:
            raise TypeRuleError(
                "S012",
                f"a window of {need} {AXES[axis]} is larger than its input of {have}, padding included",
                argument="size",
                label=label,
                helps=[f"use a size of at most {_fitting(have, dilation[axis])}, or more padding"],
            )
        counts.append(_count(shape, size, stride, pad, dilation, round, axis, label))
    return Windows(size, stride, pad, dilation, (shape[0], shape[1]), (counts[0], counts[1]))


def _fitting(have: int, dilation: int) -> int:
    return (have - 1) // dilation + 1


def _count(
    shape: tuple[int, ...], size: Pair, stride: Pair, pad: Pads, dilation: Pair, round: str, axis: int, label: str
) -> int:
    """Windows along one axis, rounded as asked."""
    (before, after), step = pad[axis], stride[axis]
    steps, rest = divmod(shape[axis] + before + after - reach(size[axis], dilation[axis]), step)
    if rest == 0 or round == "down":
        return steps + 1
    if round == "up":
        starts_outside = (steps + 1) * step >= shape[axis] + before
        return steps + 1 if starts_outside else steps + 2
    exact = steps + 1 + rest / step
    span = f"{shape[axis]} - {reach(size[axis], dilation[axis])} + {before} + {after}"
    notes, helps = _mends(shape, size, stride, pad, dilation)
    raise TypeRuleError(
        "S014",
        f"({span})/{step} + 1 = {exact:g} is not a whole number",
        argument="stride",
        label=label,
        notes=notes,
        helps=helps,
    )


def _mends(shape: tuple[int, ...], size: Pair, stride: Pair, pad: Pads, dilation: Pair) -> tuple[list[str], list[str]]:
    """What makes a size come out whole: (notes, helps). The first layer of AlexNet, over which people stumble, gets the
    answers of the codes they may be following."""
    down, up = [], []
    for axis in range(2):
        room = shape[axis] + sum(pad[axis]) - reach(size[axis], dilation[axis])
        down.append(room // stride[axis] + 1)
        up.append(math.ceil(room / stride[axis]) + 1)
    lengths = [(up[a] - 1) * stride[a] + reach(size[a], dilation[a]) for a in range(2)]
    more = [lengths[a] - shape[a] - sum(pad[a]) for a in range(2)]
    wider = tuple((before, after + extra) for (before, after), extra in zip(pad, more, strict=True))
    pad_text = f"pad = {value_text(compact(wider))}"
    down_size, up_size = _size_text(down), _size_text(up)
    if (shape, size, stride, pad) == ((224, 224), (11, 11), (4, 4), ((0, 0), (0, 0))):
        note = (
            "the paper says 224 and 55 x 55; its code rounded up, reading 3 zero columns past the right and bottom edge"
        )
        mends = [
            ("to match the paper:", pad_text, up_size),
            ("to match Caffe:", "input(3, 227, 227)", up_size),
            ("to match torchvision:", 'pad = 2, round = "down"', up_size),
            ("to drop the remainder:", 'round = "down"', down_size),
        ]
        return [note], _aligned(mends)
    read = [lengths[a] - sum(pad[a]) for a in range(2)]
    # Where windows leave gaps, the one that pads or rounding up would add may stand clear of the image.
    clear = [up[a] > down[a] and (up[a] - 1) * stride[a] >= shape[a] + pad[a][0] for a in range(2)]
    rounded = [down[a] if clear[a] else up[a] for a in range(2)]
    mends = [
        ("to pad the far edges:", pad_text, up_size),
        ("to drop the remainder:", 'round = "down"', down_size),
        ("to round up:", 'round = "up"', _size_text(rounded)),
        ("to read another size:", f"an input of {_size_text(read)}", up_size),
    ]
    return [], _aligned(mends[1:] if any(clear) else mends)


def _size_text(size: list[int]) -> str:
    return f"{size[0]} x {size[1]}"


def _aligned(mends: list[tuple[str, str, str]]) -> list[str]:
    return [f"{goal:<26} {change:<22} -> {size}" for goal, change, size in mends]
