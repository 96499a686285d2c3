"""From stored images, as bytes, to the net's input: crop, reflection, mean, colour shift, factor and layout in one
kernel, kernels/augment.cu. The meaning is that of `alexnet_ir.data.preprocessing`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from alexnet_ir.backends.cuda.site import kernel
from alexnet_ir.backends.emission.commands import MOST_BLOCKS, Emission, Launch, Tensor

THREADS, EACH = 256, 4
"""Of a block; elements that a thread makes."""


@dataclass(frozen=True)
class Augment:
    """What is done to each image beside its crop and reflection: minus the mean, plus its shift, times `factor`.

    A mean image is subtracted pixel by pixel before the crop or, `centred`, after it: its middle from any crop. That
    is reflected with the image (`mean_flips`) if it is subtracted before that is."""

    factor: float = 1.0
    centred: bool = False
    mean_flips: bool = True


def emit_augment(
    augment: Augment, images: Tensor, places: Tensor, shifts: Tensor, mean: Tensor, result: Tensor
) -> Emission:
    """From images [n, c, rows, columns] (u8; channels last as decoders give them, or first) to the result [n, c, h, w].

    `places` [n, 3] (i32) has for each image the top and left of its crop and whether it is reflected, `shifts` [n, c]
    (f32) what is added to its channels, `mean` (f32) is [1, c, 1, 1] or [1, c, rows, columns]: zeros for none."""
    n, channels, h, w = result.shape
    assert images.shape[:2] == shifts.shape == (n, channels)
    assert places.shape == (n, 3)
    assert mean.shape in ((1, channels, 1, 1), (1, *images.shape[1:]))
    assert not augment.centred or min(a - b for a, b in zip(images.shape[2:], (h, w), strict=True)) >= 0
    made = kernel(
        "augment.cu",
        "augment",
        tensors={"X": images, "P": places, "S": shifts, "M": mean, "Y": result},
        constants={"FACTOR": float(augment.factor), "CENTRED": augment.centred, "MEAN_FLIPS": augment.mean_flips},
    )
    grid = (-(-math.prod(result.shape[1:]) // (THREADS * EACH)), min(n, MOST_BLOCKS), 1)
    arguments = tuple(tensor.place for tensor in (images, places, shifts, mean, result))
    means = "pixels" if mean.shape[2:] != (1, 1) else "channels"
    reason = f"crop, reflection, mean of {means}, colour shift and layout in one pass"
    return Emission((Launch(made, grid, (THREADS, 1, 1), arguments),), reason=reason)
