"""Locally connected layers and their gradients: positions side by side in vectors, kernels/local.c, local_weight.c."""

from __future__ import annotations

import math

import numpy as np

from alexnet_ir.backends.cpu.emitters.direct import CACHED_BYTES
from alexnet_ir.backends.cpu.isa import Isa
from alexnet_ir.backends.cpu.site import C, Emit, Site, kernel
from alexnet_ir.backends.emission.commands import Argument, Call, Emission
from alexnet_ir.backends.emission.epilogue import Epilogue
from alexnet_ir.backends.emission.site import Workspace, both, round_up
from alexnet_ir.ir.attributes import Pair
from alexnet_ir.ir.op import Op
from alexnet_ir.ops.conv import ConvAttributes
from alexnet_ir.ops.local import Local, LocalGradInput, LocalGradWeight

PANEL_BYTES = 2 * CACHED_BYTES
"""Of the panel that a thread goes through again and again."""


def _tile(isa: Isa) -> Pair:
    """Vectors of each operand that are multiplied with all of the other: TI and TJ of the kernels."""
    return (4, 4) if isa.registers >= 32 else (4, 2)


def _constants(site: Site) -> dict[str, int]:
    op, (rows, columns) = site.op, _tile(site.isa)
    assert isinstance(op, ConvAttributes)
    pad = (op.pad[0][0], op.pad[1][0])
    geometry = {**both("STRIDE", op.stride), **both("PAD", pad), **both("DILATION", op.dilation)}
    return {"GROUPS": op.groups, "TI": rows, "TJ": columns, **geometry}


def _images(n: int, bytes_each: int, multiple: int) -> int:
    """How many a thread takes at once: as many as its panel holds, in whole tiles."""
    return round_up(min(n, max(1, PANEL_BYTES // bytes_each)), multiple)


def _over_pixels(site: Site, epilogue: Epilogue) -> Emission:
    """Local and LocalGradInput: vectors of pixels of the result."""
    (x, weight), (y,) = site.operands, site.results
    constants = _constants(site)
    rows, columns = _tile(site.isa)
    depth = x.shape[1] // constants["GROUPS"] * math.prod(weight.shape[2:4])
    vector = 4 * site.isa.width
    images = _images(x.shape[0], depth * vector, columns)
    workspace = Workspace()
    panel = depth * (images + rows) * vector
    panels = workspace.take(panel * site.threads)
    backward = isinstance(site.op, LocalGradInput)
    made = kernel(
        "local.c",
        "local",
        site.isa,
        tensors={"X": x, "W": weight, "Y": y},
        constants={**constants, "BACKWARD": backward},
        generated=epilogue.source(C),
        before=("local_panels.c",),
    )
    places = (x.place, weight.place, y.place, panels)
    arguments: tuple[Argument, ...] = (
        np.int32(x.shape[0]),
        *places,
        np.int64(panel // 4),
        np.int32(images),
        *epilogue.arguments,
    )
    return Emission((Call(made, arguments),), workspace.nbytes, f"{site.isa.width} positions at a time")


def _over_positions(site: Site, epilogue: Epilogue) -> Emission:
    """LocalGradWeight: vectors of positions."""
    assert not epilogue.ops
    (grad, x), (weight,) = site.operands, site.results
    constants = _constants(site)
    rows, columns = _tile(site.isa)
    kernels = round_up(grad.shape[1] // constants["GROUPS"], rows)
    vector = 4 * site.isa.width
    images = _images(grad.shape[0], kernels * vector, 1)
    workspace = Workspace()
    panel = (kernels + columns) * images * vector
    panels = workspace.take(panel * site.threads)
    made = kernel(
        "local_weight.c",
        "local_weight",
        site.isa,
        tensors={"G": grad, "X": x, "W": weight},
        constants=constants,
        before=("local_panels.c",),
    )
    places = (grad.place, x.place, weight.place, panels)
    arguments: tuple[Argument, ...] = (np.int32(grad.shape[0]), *places, np.int64(panel // 4), np.int32(images))
    return Emission((Call(made, arguments),), workspace.nbytes, f"{site.isa.width} positions at a time")


EMITTERS: dict[type[Op], Emit] = {Local: _over_pixels, LocalGradInput: _over_pixels, LocalGradWeight: _over_positions}
"""By the class of op."""
