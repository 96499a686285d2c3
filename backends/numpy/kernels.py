"""All kernels of the backend."""

from __future__ import annotations

from collections.abc import Mapping

from alexnet_ir.backends.kernel import Kernel
from alexnet_ir.backends.numpy import elementwise, local, moving, normalize, pooling, products, updates
from alexnet_ir.backends.numpy.fused import FusedParts
from alexnet_ir.backends.target import kernel_of
from alexnet_ir.ir.op import Op
from alexnet_ir.ops.fused import Fused

PARTS: dict[type[Op], Kernel] = (
    elementwise.KERNELS
    | local.KERNELS
    | moving.KERNELS
    | normalize.KERNELS
    | pooling.KERNELS
    | products.KERNELS
    | updates.KERNELS
)
KERNELS: Mapping[type[Op], Kernel] = {**PARTS, Fused: FusedParts(kernel_of(PARTS)).kernel}
"""What this backend brings; all other ops run by their own meaning."""
