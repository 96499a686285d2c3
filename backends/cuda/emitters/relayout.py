"""Tensors copied into another layout or stored type."""

from __future__ import annotations

import math

from alexnet_ir.backends.cuda.emitters.pointwise import computed
from alexnet_ir.backends.cuda.site import kernel
from alexnet_ir.backends.emission.commands import MOST_BLOCKS, Dim3, Launch, Tensor
from alexnet_ir.backends.emission.site import Workspace
from alexnet_ir.backends.emission.views import stored_alike
from alexnet_ir.ir.layout import Layout

THREADS, TILE = 256, 32
FEW_CHANNELS = 8
"""Up to so many, a tile of channels would be empty for the most part."""
FLOATS = {"f32", "tf32"}
"""Read alike."""


def relayout(source: Tensor, target: Tensor) -> Launch:
    """Copies `source` into `target`, which is stored as another type, in another order or, of rank 4, longer along
    any axis: zeros fill the rest."""
    assert all(there <= wanted for there, wanted in zip(source.shape, target.shape, strict=True))
    turned = source.layout.channels_last != target.layout.channels_last
    if turned and source.shape[2:] == target.shape[2:] and source.shape[1] > FEW_CHANNELS:
        n, c, h, w = target.shape
        grid = -(-h * w // TILE), -(-c // TILE), n
        if max(grid[1:]) <= MOST_BLOCKS:
            return _launch(source, target, True, grid)
    if source.shape == target.shape:
        command = computed(target, source)
        assert isinstance(command, Launch), "they lie alike"
        return command
    return _launch(source, target, False, (-(-math.prod(target.shape) // THREADS), 1, 1))


def _launch(source: Tensor, target: Tensor, transposed: bool, grid: Dim3) -> Launch:
    made = kernel(
        "relayout.cu",
        "relayout",
        tensors={"X": source, "Y": target},
        constants={"COUNT": math.prod(target.shape)},
        generated=f"#define TRANSPOSED {int(transposed)}\n",
    )
    return Launch(made, grid, (THREADS, 1, 1), (source.place, target.place))


def brought(tensor: Tensor, layout: Layout, workspace: Workspace) -> tuple[Tensor, tuple[Launch, ...]]:
    """The tensor in this layout, and the launch that makes it so; nothing where it lies so, or is read alike."""
    wanted = Tensor(tensor.shape, layout, tensor.place)
    alike = tensor.layout.stored == layout.stored or {tensor.layout.stored, layout.stored} <= FLOATS
    if alike and stored_alike(tensor, wanted):
        return wanted, ()
    wanted = workspace.tensor(tensor.shape, layout)
    return wanted, (relayout(tensor, wanted),)
