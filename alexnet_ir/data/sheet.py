"""A contact sheet: stored images, and what training makes of them."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from alexnet_ir.data.dataset import Split
from alexnet_ir.data.decode import missing_extra
from alexnet_ir.data.preprocessing import Preprocessing
from alexnet_ir.dsl.spec import PcaLight, RandomCrop, RandomFlip, Scale, SubtractMean, Transform

SEEN = 5
"""Epochs that are shown of each image."""
_GAP, _CAPTION, _CELL = 4, 14, 96
"""Pixels between pictures, for a line of text above a row, and the least that a stored image is wide."""


def paper_transforms(shape: Sequence[int]) -> tuple[Transform, ...]:
    """Of section 4.1, for images of (channels, rows, columns): 224 of 256, or 7/8 of another size."""
    size = max(1, round(min(shape[1:]) * 224 / 256))
    return (SubtractMean("pixel"), RandomCrop(size), RandomFlip(), PcaLight(0.1))


def contact_sheet(
    split: Split, classes: Sequence[str], transforms: tuple[Transform, ...], seed: int, rows: int
) -> bytes:
    """A PNG: a row for each of some images, spread over the set, with its class: as it is stored, then as training
    sees it in epochs 0, 1, 2 ... The mean stays and nothing is scaled, so that there is something to see."""
    shown = tuple(Scale(1.0) if isinstance(step, SubtractMean | Scale) else step for step in transforms)
    preprocessing = Preprocessing(shown, (), seed, None, _covariance(split, shown))
    samples = np.unique(np.linspace(0, len(split) - 1, rows).astype(np.intp))
    stored = split.images[samples]
    seen = [preprocessing.train_images(stored, samples, epoch) for epoch in range(SEEN)]
    factor = -(-_CELL // stored.shape[3])
    pictures = [[_pixels(images[row], factor) for images in (stored, *seen)] for row in range(len(samples))]
    return _drawn(pictures, [f"{sample}: {classes[split.labels[sample]]}" for sample in samples.tolist()])


def _covariance(split: Split, transforms: Sequence[Transform]) -> NDArray[np.float64] | None:
    if any(isinstance(step, PcaLight) for step in transforms) and split.statistics is not None:
        return split.statistics.covariance
    return None


def _pixels(image: NDArray[np.uint8] | NDArray[np.float32], factor: int) -> NDArray[np.uint8]:
    """[channels, rows, columns], RGB or grey, as uint8 [factor * rows, factor * columns, 3]."""
    pixels = np.clip(np.rint(image), 0, 255).astype(np.uint8).transpose(1, 2, 0)
    large = pixels.repeat(factor, axis=0).repeat(factor, axis=1)
    return np.broadcast_to(large, (*large.shape[:2], 3))


def _drawn(pictures: Sequence[Sequence[NDArray[np.uint8]]], captions: Sequence[str]) -> bytes:
    try:
        from PIL import Image, ImageDraw
    except ImportError as failure:
        raise missing_extra(failure) from None
    widths = [picture.shape[1] + _GAP for picture in pictures[0]]
    height = max(picture.shape[0] for picture in pictures[0]) + _CAPTION + _GAP
    sheet = Image.new("RGB", (sum(widths) + _GAP, height * len(pictures) + _GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (row, caption) in enumerate(zip(pictures, captions, strict=True)):
        top = number * height + _GAP
        pen.text((_GAP, top), caption, fill="black")
        for left, picture in zip(np.cumsum([_GAP, *widths]), row, strict=False):
            sheet.paste(Image.fromarray(np.ascontiguousarray(picture)), (int(left), top + _CAPTION))
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()
