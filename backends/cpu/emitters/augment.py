"""From stored images to the net's input in one kernel, kernels/augment.c. The meaning is that of `Augmented`."""

from __future__ import annotations

import numpy as np

from alexnet_ir.backends.augment import COLUMNS
from alexnet_ir.backends.cpu.isa import Isa
from alexnet_ir.backends.cpu.site import kernel
from alexnet_ir.backends.emission.commands import Call, Emission, Tensor

MOST_TOGETHER = 4
"""Channels whose rows are taken apart together, where they lie last: those of photographs. Of more, one at a time."""


def augmented(
    isa: Isa, images: Tensor, places: Tensor, shifts: Tensor, mean: Tensor, result: Tensor, factor: float
) -> Emission:
    """See `Emitter.augment`."""
    n, channels = shifts.shape
    assert result.layout.stored == "f32"
    made = kernel(
        "augment.c",
        "augment",
        isa,
        tensors={"X": images, "P": places, "S": shifts, "M": mean, "Y": result},
        constants=COLUMNS | {"TOGETHER": channels if channels <= MOST_TOGETHER else 1},
    )
    addresses = (tensor.place for tensor in (images, places, shifts, mean, result))
    return Emission((Call(made, (np.int32(n), *addresses, np.float32(factor))),))
