"""What the generations of GPUs can do, as far as emission depends on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from alexnet_ir.ir.layout import Stored

Precision = Literal["fp32", "tf32", "bf16"]
"""What convolutions and products are computed in: `fp32` (with tensor cores, three tf32 products), `tf32`, or `bf16`
with activations stored so and parameters, their gradients and statistics in fp32. Sums are fp32 in all."""

MULTIPLIED: dict[Precision, Stored] = {"fp32": "f32", "tf32": "tf32", "bf16": "bf16"}
"""What the operands of convolutions and products are stored as."""

PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True)
class Gpu:
    """`arch` as the compiler calls it; `shared` bytes that a block may ask for; `multiprocessors` of a usual model,
    by which depths are split (a backend on a real one takes its own). `tensor_cores`: mma of tf32 and bf16, and
    cp.async."""

    arch: str
    shared: int
    multiprocessors: int
    tensor_cores: bool = True


GPUS: dict[str, Gpu] = {
    gpu.arch: gpu
    for gpu in (
        Gpu("sm_75", 64 * 1024, 68, tensor_cores=False),
        Gpu("sm_80", 163 * 1024, 108),
        Gpu("sm_86", 99 * 1024, 84),
        Gpu("sm_89", 99 * 1024, 128),
        Gpu("sm_90", 227 * 1024, 132),
        Gpu("sm_120", 99 * 1024, 170),
    )
}
"""By architecture."""
