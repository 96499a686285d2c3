"""From stored images to the net's input in one kernel, kernels/augment.cu. The meaning is that of `Augmented`."""

from __future__ import annotations

import math

import numpy as np

from alexnet_ir.backends.augment import COLUMNS
from alexnet_ir.backends.cuda.site import kernel
from alexnet_ir.backends.emission.commands import MOST_BLOCKS, Emission, Launch, Tensor

THREADS, EACH = 256, 4
"""Of a block; elements that a thread makes."""


def augmented(images: Tensor, places: Tensor, shifts: Tensor, mean: Tensor, result: Tensor, factor: float) -> Emission:
    """See `Emitter.augment`."""
    made = kernel(
        "augment.cu",
        "augment",
        tensors={"X": images, "P": places, "S": shifts, "M": mean, "Y": result},
        constants=COLUMNS,
    )
    grid = (-(-math.prod(result.shape[1:]) // (THREADS * EACH)), min(result.shape[0], MOST_BLOCKS), 1)
    addresses = (tensor.place for tensor in (images, places, shifts, mean, result))
    return Emission((Launch(made, grid, (THREADS, 1, 1), (*addresses, np.float32(factor))),))
