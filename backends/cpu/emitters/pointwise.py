"""Ops on each element by itself, where all tensors lie alike."""

from __future__ import annotations

import numpy as np

from alexnet_ir.backends.cpu.site import C, Emit, Site, kernel
from alexnet_ir.backends.emission.commands import Call, Command, Emission, Tensor
from alexnet_ir.backends.emission.epilogue import EXPRESSIONS, Epilogue
from alexnet_ir.ir.op import Op


def computed(site: Site, out: Tensor, x: Tensor, epilogue: Epilogue) -> Command:
    """out = epilogue(x), both of one shape and layout."""
    n, channels, lines, columns = (*out.shape, 1, 1)[:4] if len(out.shape) > 1 else (1, *out.shape, 1, 1)
    source = kernel(
        "pointwise.c",
        "pointwise",
        site.isa,
        tensors={"X": x, "OUT": out},
        constants={"CHANNELS": channels, "LINES": lines, "COLUMNS": columns},
        generated=epilogue.source(C),
    )
    return Call(source, (np.int32(n), x.place, out.place, *epilogue.arguments))


def pointwise(site: Site, epilogue: Epilogue) -> Emission:
    """An op of one expression, and what is fused behind it."""
    (out,) = site.results
    whole = epilogue.after(site.op, site.operands[1:], out.shape)
    return Emission((computed(site, out, site.operands[0], whole),))


EMITTERS: dict[type[Op], Emit] = dict.fromkeys(EXPRESSIONS, pointwise)
"""By the class of op."""
