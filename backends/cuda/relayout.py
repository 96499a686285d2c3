"""Tensors copied into another layout or stored type."""

from __future__ import annotations

import math

from alexnet_ir.backends.cuda.launch import Dim3, Launch
from alexnet_ir.backends.cuda.site import Tensor, Workspace, kernel
from alexnet_ir.ir.layout import Layout

THREADS, PER_THREAD, TILE = 256, 4, 32
FEW_CHANNELS = 8
"""Up to so many, a tile of channels would be empty for the most part."""
FLOATS = {"f32", "tf32"}
"""Read alike."""


def relayout(source: Tensor, target: Tensor) -> Launch:
    """The launch that copies `source` into `target`, which may be stored as another type, in another order, and, of
    rank 4, be longer along any axis: zeros fill the rest."""
    if source.shape == target.shape and _in_one_order(source, target):
        return _flat(source, target)
    assert all(there <= wanted for there, wanted in zip(source.shape, target.shape, strict=True))
    turned = source.layout.channels_last != target.layout.channels_last
    if turned and source.shape[2:] == target.shape[2:] and source.shape[1] > FEW_CHANNELS:
        n, c, h, w = target.shape
        return _launch(source, target, "TRANSPOSED", (-(-h * w // TILE), -(-c // TILE), n))
    count = math.prod(target.shape)
    return _launch(source, target, "GATHERED", (-(-count // THREADS), 1, 1))


def _in_one_order(source: Tensor, target: Tensor) -> bool:
    """Whether elements that lie side by side in the one do so in the other; axes of length 1 lie anyhow."""

    def long(tensor: Tensor) -> list[int]:
        return [stride for stride, length in zip(tensor.strides, tensor.shape, strict=True) if length > 1]

    return long(source) == long(target)


def _flat(source: Tensor, target: Tensor) -> Launch:
    """As one row of elements."""
    count = math.prod(target.shape)
    vectors = (Tensor((count,), Layout(t.layout.stored), t.place) for t in (source, target))
    return _launch(*vectors, "FLAT", (-(-count // (THREADS * PER_THREAD)), 1, 1))


def _launch(source: Tensor, target: Tensor, how: str, grid: Dim3) -> Launch:
    made = kernel(
        "relayout.cu",
        "relayout",
        tensors={"X": source, "Y": target},
        constants={"COUNT": math.prod(target.shape)},
        generated="".join(f"#define {way} {int(way == how)}\n" for way in ("FLAT", "TRANSPOSED")),
    )
    return Launch(made, grid, (THREADS, 1, 1), (source.place, target.place))


def brought(tensor: Tensor, layout: Layout, workspace: Workspace) -> tuple[Tensor, tuple[Launch, ...]]:
    """The tensor in this layout, and the launch that makes it so; nothing where it lies so, or is read alike."""
    wanted = Tensor(tensor.shape, layout, tensor.place)
    alike = tensor.layout.stored == layout.stored or {tensor.layout.stored, layout.stored} <= FLOATS
    if alike and _in_one_order(tensor, wanted):
        return wanted, ()
    wanted = workspace.tensor(tensor.shape, layout)
    return wanted, (relayout(tensor, wanted),)
