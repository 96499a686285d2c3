"""The kernels of a NumPy backend, and what passes must know of them."""

from __future__ import annotations

from collections.abc import Mapping

from alexnet_ir.backends.kernel import Kernel, KernelOf
from alexnet_ir.backends.meaning import MEANING
from alexnet_ir.backends.memory import ALIGNMENT
from alexnet_ir.ir.op import Op
from alexnet_ir.ir.target import Target

FUSIONS = frozenset({"conv_bias_relu", "lrn_maxpool", "bias_relu_dropout", "grad_relu", "loss_grad", "updates"})
"""The rules whose ops these backends run: all, since a fused op runs by its parts."""


def kernel_of(table: Mapping[type[Op], Kernel]) -> KernelOf:
    """The kernels of a table; the meaning of all else."""
    return lambda op: table.get(type(op), MEANING)


def numpy_target(name: str, kernels: KernelOf) -> Target:
    """What these kernels can do, and the memory that they need."""
    return Target(
        name,
        FUSIONS,
        in_place=lambda op: kernels(op).in_place(op),
        workspace=lambda op, operands, results, layouts: kernels(op).workspace(op, operands, results),
        temporary=lambda op, operands, results: kernels(op).temporary(op, operands, results),
        alignment=ALIGNMENT,
    )
