"""The filter gradient of a convolution, directly: sums over pixels in register tiles, kernels/direct_weight.c."""

from __future__ import annotations

import math

import numpy as np

from alexnet_ir.backends.cpu.emitters.direct import (
    CACHED_BYTES,
    ITEMS,
    Axes,
    flattened,
    forward_axes,
    most_lines,
    source_constants,
    tiles,
    vectors_for,
)
from alexnet_ir.backends.cpu.site import Site, kernel
from alexnet_ir.backends.emission.commands import Argument, Call, Emission, Place, Tensor
from alexnet_ir.backends.emission.epilogue import Epilogue
from alexnet_ir.backends.emission.site import Workspace, both, round_up
from alexnet_ir.ops.conv import ConvGradWeight

SUMS_BYTES = 2 * CACHED_BYTES
"""Of sums that a thread adds to after every few lines."""


def conv_grad_weight(site: Site, epilogue: Epilogue) -> Emission:
    """Sums over shares of the images, and what adds them up."""
    op, (grad, x), (weight,) = site.op, site.operands, site.results
    assert isinstance(op, ConvGradWeight)
    assert not epilogue.ops
    grad, x = flattened(op, op.size, grad, x)
    axes = forward_axes(op, op.size, grad.shape[2:])
    vectors = vectors_for(weight.shape[0] // op.groups, site.isa)
    block = vectors * site.isa.width
    blocks = -(-(weight.shape[0] // op.groups) // block)
    lines = most_lines(axes, weight.shape[1], 4 * grad.shape[3] * block)
    bytes_of_block = 4 * block * math.prod(weight.shape[1:])
    parts = -(-blocks // max(1, SUMS_BYTES // bytes_of_block))
    splits = _splits(op.groups * parts, grad.shape[0] * -(-grad.shape[2] // lines), site.threads)
    workspace = Workspace()
    sums = workspace.take(splits * op.groups * blocks * bytes_of_block)
    multiply = _multiplied(site, grad, x, axes, sums, workspace, vectors, (lines, splits, parts))
    reason = f"direct, {splits} split(s) of the images x {parts} part(s) of the kernels"
    return Emission((multiply, _added(site, sums, splits, vectors)), workspace.nbytes, reason)


def _multiplied(
    site: Site,
    grad: Tensor,
    x: Tensor,
    axes: Axes,
    sums: Place,
    workspace: Workspace,
    vectors: int,
    shares: tuple[int, int, int],
) -> Call:
    """The sums of each split. `shares`: lines of a chunk, splits, parts of the blocks."""
    assert isinstance(site.op, ConvGradWeight)
    groups, lines, block = site.op.groups, shares[0], vectors * site.isa.width
    targets, depth = grad.shape[1] // groups, x.shape[1] // groups
    constants = {
        **source_constants(x, axes, depth),
        **tiles(_run(x, axes, depth), vectors, site.isa).constants,
        **both("COUNT", (grad.shape[2], grad.shape[3])),
        "GRAD_IN_PLACE": grad.strides[1] == 1 and targets % block == 0,
    }
    band = 0 if constants["GRAD_IN_PLACE"] else lines * grad.shape[3] * block
    band += 0 if constants["IN_PLACE"] else round_up(axes[0].spanned(lines) * axes[1].span * depth, 64)
    bands = workspace.take(4 * band * site.threads)
    made = kernel(
        "direct_weight.c",
        "direct_weight",
        site.isa,
        tensors={"X": x},
        constants=constants,
        before=("direct_band.c",),
    )
    kernels: tuple[Argument, ...] = (np.int32(groups), np.int32(targets), grad.place, *map(np.int64, grad.strides))
    counts: tuple[Argument, ...] = (np.int64(band), *map(np.int32, shares))
    return Call(made, (np.int32(grad.shape[0]), *kernels, x.place, sums, bands, *counts))


def _run(x: Tensor, axes: Axes, depth: int) -> int:
    """Elements that the taps of a row meet side by side: RUN of direct_band.c."""
    columns = axes[1]
    pixel = x.strides[3] if source_constants(x, axes, depth)["IN_PLACE"] else depth
    return columns.taps * depth if columns.advance * pixel == depth or columns.taps == 1 else depth


def _splits(items: int, units: int, threads: int) -> int:
    """Of the images: as few as let all threads work nearly all the time."""

    def wasted(splits: int) -> float:
        rounds = -(-items * splits // threads)
        return rounds * threads / (items * splits) - 1

    among = range(1, min(units, ITEMS * threads) + 1)
    return next((splits for splits in among if wasted(splits) <= 0.05), min(among, key=wasted))


def _added(site: Site, sums: Place, splits: int, vectors: int) -> Call:
    """The splits' sum, into the result."""
    assert isinstance(site.op, ConvGradWeight)
    weight, groups = site.results[0], site.op.groups
    targets = weight.shape[0] // groups
    counts = map(np.int32, (splits, groups, targets, weight.shape[1]))
    strides = map(np.int64, (targets * weight.strides[0], *weight.strides))
    made = kernel("direct_sums.c", "direct_sums", site.isa, constants={"VECTORS": vectors})
    return Call(made, (sums, weight.place, *counts, *strides, *map(np.int32, weight.shape[2:])))
