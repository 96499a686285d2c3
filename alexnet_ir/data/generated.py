"""The sources that need no download: scikit-learn's digits, and made-up images."""

from __future__ import annotations

import importlib
import math
from typing import Literal

import numpy as np

from alexnet_ir.data.dataset import Split
from alexnet_ir.diagnostics import error
from alexnet_ir.philox import Domain, Key, random_bits

_STREAMS = {"patterns": 0, "train": 1, "eval": 2}
_GRID = 4  # a pattern is this many patches high and wide


def read_digits() -> Split:
    """1,797 handwritten digits, float32 [n, 1, 8, 8], their 17 levels brought to 0 to 255."""
    try:
        datasets = importlib.import_module("sklearn.datasets")  # optional, and without types
    except ImportError:
        needs = "digits() is a part of scikit-learn, which is not installed"
        raise error(needs, helps=('pip install "alexnet-ir[examples]"',)) from None
    digits = datasets.load_digits()
    return Split((digits.images[:, None] * (255 / 16)).astype(np.float32), digits.target.astype(np.int32))


def make_synthetic(
    count: int, classes: int, shape: tuple[int, int, int], seed: int, part: Literal["train", "eval"]
) -> Split:
    """`count` images, uint8 [n, *shape], of classes 0, 1, 2 ... in turn: patches of 0 to 127, as many noise levels on
    top. Patterns and noise are a pure function of the seed; the patterns of both parts are the same."""
    channels, rows, columns = shape
    size = math.prod(shape)
    patches = random_bits(Key(seed, Domain.SYNTHETIC, _STREAMS["patterns"]), classes * channels * _GRID**2) >> 25
    grid = patches.astype(np.uint8).reshape(classes, channels, _GRID, _GRID)
    bits = random_bits(Key(seed, Domain.SYNTHETIC, _STREAMS[part]), -(-count * size // 4))
    images = bits.astype("<u4", copy=False).view(np.uint8)[: count * size].reshape(count, *shape)
    images >>= 1
    for label in range(min(classes, count)):
        pattern = grid[label][:, np.arange(rows) * _GRID // rows][:, :, np.arange(columns) * _GRID // columns]
        images[label::classes] += pattern
    return Split(images, np.arange(count, dtype=np.int32) % np.int32(classes))
