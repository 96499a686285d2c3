"""How kernels know the windows of poolings and normalisations, on any target: as constants; and what the fused ones are
made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from alexnet_ir.backends.emission.commands import Tensor
from alexnet_ir.backends.emission.epilogue import NONE, Epilogue
from alexnet_ir.backends.emission.site import Constant, Site
from alexnet_ir.ops.fused import Fused
from alexnet_ir.ops.normalize import LocalNormAttributes, LrnAttributes, LrnGrad
from alexnet_ir.ops.pool import AvgPool, AvgPoolGrad, MaxPoolGrad, Pool

Constants = Mapping[str, Constant]


def window_constants(op: Pool, maps: tuple[int, ...], pooled: tuple[int, ...]) -> Constants:
    """Windows over maps of this shape, to that."""
    (top, _), (left, _) = op.pad
    assert op.stride is not None
    return {
        "SIZE_H": op.size[0], "SIZE_W": op.size[1], "STRIDE_H": op.stride[0], "STRIDE_W": op.stride[1],
        "TOP": top, "LEFT": left, "MAP_H": maps[2], "MAP_W": maps[3], "POOLED_H": pooled[2], "POOLED_W": pooled[3],
    }  # fmt: skip


def cell_constants(op: AvgPool | AvgPoolGrad, maps: tuple[int, ...]) -> Constants:
    """Which cells of a window a mean counts."""
    return {"COUNT_PAD": op.count_pad, "PADDED_H": maps[2] + sum(op.pad[0]), "PADDED_W": maps[3] + sum(op.pad[1])}


def across_constants(op: LrnAttributes, channels: int) -> Constants:
    """Windows of channels; one larger than a group is one of the whole group."""
    per_group = channels // op.groups
    return {**_constants(op), "PER_GROUP": per_group, "HALF": min(op.reach, per_group - 1)}


def within_constants(op: LocalNormAttributes, shape: tuple[int, ...]) -> Constants:
    """Windows of cells; one larger than the map is one of the whole map."""
    return {**_constants(op), "HALF": half_within(op, shape)}


def half_within(op: LocalNormAttributes, shape: tuple[int, ...]) -> int:
    """Cells on each side that a window reads."""
    return min(op.size // 2, max(shape[2:]) - 1)


def _constants(op: LrnAttributes | LocalNormAttributes) -> Constants:
    return {"BIAS": float(op.k), "ALPHA": float(op.alpha), "BETA": float(op.beta)}


@dataclass(frozen=True)
class PooledBack:
    """The gradient of max pooling, then that of the normalisation of x before it, then a mask, perhaps: `g` and
    `argmax` are of the pooled map, x and y of that before."""

    pool: MaxPoolGrad
    norm: LrnGrad
    g: Tensor
    argmax: Tensor
    x: Tensor
    y: Tensor
    epilogue: Epilogue


def pooled_back(site: Site) -> PooledBack:
    """What `maxpool_lrn_grad` fused."""
    assert isinstance(site.op, Fused)
    first, second, *masks = site.op.parts
    pool, norm = first.op, second.op
    assert isinstance(pool, MaxPoolGrad)
    assert isinstance(norm, LrnGrad)
    (y,) = site.results
    g, argmax = (site.operands[number] for number in first.operands)
    epilogue = NONE
    for mask in masks:
        epilogue = NONE.after(mask.op, [site.operands[number] for number in mask.operands[1:]], y.shape)
    return PooledBack(pool, norm, g, argmax, site.operands[second.operands[1]], y, epilogue)
