"""`--dense HxW`: the size that it names, the figures as they are read, and an evaluation on images of that size."""

from __future__ import annotations

import re
import textwrap
from dataclasses import replace

import numpy as np

from alexnet_ir.backends.augment import Augmented
from alexnet_ir.cli.table import table
from alexnet_ir.dense import DenseFigures
from alexnet_ir.diagnostics import counted, error
from alexnet_ir.dsl.spec import CenterCrop, DataSpec, RandomCrop, TenCrop, Transform
from alexnet_ir.ir.attributes import Pair
from alexnet_ir.ir.op import Array
from alexnet_ir.ir.types import shape_text
from alexnet_ir.training.evaluate import Predict
from alexnet_ir.training.step import Predictor

WIDTH = 85


def size_of(text: str) -> Pair:
    """384x256 as (384, 256), rows and columns."""
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if found is None:
        raise error(f"--dense {text}: expected rows x columns", helps=["for instance --dense 384x384"])
    return int(found[1]), int(found[2])


def dense_text(figures: DenseFigures) -> str:
    """The figures as a section of the report."""
    rows = [
        ("image", shape_text(figures.image)),
        ("scores", shape_text(figures.map)),
        ("windows", f"{shape_text(figures.window)}, {shape_text(figures.stride)} pixels apart"),
    ]
    if figures.exact:
        rows.append(("equal", "to the net's own scores on each window"))
    else:
        layers = f"in {counted(len(figures.padded), 'layer')}, a window's edge sees its neighbours and not padding: "
        lines = textwrap.wrap(layers + ", ".join(figures.padded), WIDTH, break_on_hyphens=False)
        rows += [("padding" if line is lines[0] else "", line) for line in lines]
    return f"dense evaluation\n{table([('', *row) for row in rows])}"


def averaged(net: Predictor, size: Pair) -> Predict:
    """From images of this size to the mean of their score maps (Simonyan and Zisserman 2014, section 3.2)."""
    maps = net.dense(*size)

    def predict(images: Array | Augmented) -> Array:
        if images.shape[2:] != size:
            given, asked = shape_text(images.shape[2:]), shape_text(size)
            raise error(f"the data gives images of {given}, and --dense asks for {asked}")
        return np.asarray(maps(images).mean(axis=(2, 3)))

    return predict


def uncropped(data: DataSpec, size: Pair) -> DataSpec:
    """The section with evaluation's crops to the net's size made to this size."""

    def enlarged(step: Transform) -> Transform:
        if not isinstance(step, CenterCrop | RandomCrop | TenCrop):
            return step
        if size[0] != size[1]:
            message = f"--dense asks for {shape_text(size)}, and the data is cropped to squares by `{step.name}`"
            raise error(message, span=data.span, helps=["give as many rows as columns"])
        return CenterCrop(size[0])

    return replace(data, eval=tuple(map(enlarged, data.eval)))
