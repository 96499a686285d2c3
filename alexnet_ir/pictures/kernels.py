"""The first layer's kernels as images: the paper's figure 3."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from alexnet_ir.dsl.model import Model
from alexnet_ir.ops.conv import Conv
from alexnet_ir.ops.dense import Fc
from alexnet_ir.passes.placements import layers
from alexnet_ir.pictures.canvas import DPI, draw
from alexnet_ir.placement import Placing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ACROSS, MOST = 16, 512
SIDE = 48
"""Of a kernel, in pixels, or somewhat less: each of its values is a square of whole pixels."""
GAP, GROUP_GAP, HEAD = 4, 20, 28
WHITE = 255
BEYOND = 0.5
"""So many percent of all values are larger than what is shown as black or white."""


@dataclass(frozen=True)
class Kernels:
    """Kernels [n, channels, rows, columns] of a layer; in `groups` that later layers, or devices, have apart."""

    layer: str
    values: NDArray[np.floating[Any]]
    groups: int = 1


def first_kernels(model: Model, tensors: Mapping[str, NDArray[Any]], placing: Placing | None = None) -> Kernels | None:
    """Those of the net's first layer with parameters; of a fully connected layer, the weights of each unit as the image
    they are laid over. None where they are no image. Groups are the devices that share the kernels out by `placing`, or
    what the next convolution reads apart."""
    first, *rest = layers(model.graph)
    weight = tensors[f"{first.name}.weight"]
    following = rest[0].op if rest else None
    groups = following.groups if isinstance(following, Conv) else 1
    if placing and placing.modes.get(first.name) == "channels":
        groups = placing.devices
    if isinstance(first.op, Fc) and weight[0].size == math.prod(model.image):
        weight = weight.reshape(-1, *model.image)
    return Kernels(first.name, weight, groups) if weight.ndim == 4 else None


def kernels_png(kernels: Kernels) -> bytes:
    """A PNG of the kernels, 16 across, a group under the other. All are shown by one range, in which zero is the middle
    grey: as in the paper, those that have learned little look flat."""
    n, channels, rows, columns = kernels.values.shape
    grid = kernel_grid(kernels)
    of = f"the first {MOST} of {n}" if n > MOST else str(n)
    title = f"{kernels.layer}: {of} kernels of {rows} × {columns} × {channels}"
    title += f", in {kernels.groups} groups" if kernels.groups > 1 else ""
    return draw(max(grid.shape[1], 420), len(grid) + HEAD, "png", partial(_paint, grid, title))


def _paint(grid: NDArray[np.uint8], title: str, figure: Figure) -> None:
    figure.figimage(grid, 0, 0, origin="upper")
    figure.text(GAP / DPI / figure.get_figwidth(), 1 - 6 / DPI / figure.get_figheight(), title, va="top")


def kernel_grid(kernels: Kernels) -> NDArray[np.uint8]:
    """The picture without its title: [rows, columns, 3], white between kernels."""
    blocks = [_block(group) for group in np.array_split(_colours(kernels.values[:MOST]), kernels.groups)]
    gap = np.full((GROUP_GAP, blocks[0].shape[1], 3), WHITE, np.uint8)
    return np.concatenate([part for block in blocks for part in (gap, block)][1:])


def _colours(values: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """[n, rows, columns, 3] of 0 to 255: three channels as colours, otherwise their mean in grey."""
    shown = values if values.shape[1] == 3 else values.mean(axis=1, keepdims=True).repeat(3, axis=1)
    reach = float(np.percentile(np.abs(shown), 100 - BEYOND)) or 1.0
    levels = np.clip(127.5 + 127.5 * shown / reach, 0, WHITE)
    return np.asarray(np.rint(levels), np.uint8).transpose(0, 2, 3, 1)


def _block(tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Kernels in rows, each value a square, with a margin on every side."""
    scale = max(1, SIDE // max(tiles.shape[1:3]))
    tiles = tiles.repeat(scale, axis=1).repeat(scale, axis=2)
    across = min(ACROSS, len(tiles))
    high, wide = tiles.shape[1] + GAP, tiles.shape[2] + GAP
    block = np.full((-(-len(tiles) // across) * high + GAP, across * wide + GAP, 3), WHITE, np.uint8)
    for number, tile in enumerate(tiles):
        top, left = GAP + number // across * high, GAP + number % across * wide
        block[top : top + high - GAP, left : left + wide - GAP] = tile
    return block
