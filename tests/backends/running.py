"""Runs a kernel on memory that shows what it should not do: results and scratch full of NaN, with guards around."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from alexnet_ir.backends.kernel import Kernel, Work
from alexnet_ir.backends.memory import array_at, buffer, carve
from alexnet_ir.backends.numpy.fused import type_of
from alexnet_ir.backends.numpy.kernels import KERNELS
from alexnet_ir.backends.target import kernel_of
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ir.types import TensorType

KERNEL_OF = kernel_of(KERNELS)
FLOAT = np.dtype("f4")
GUARD = 256
POISON, CANARY = 0xFF, 0xAB
"""Bytes: the one makes NaN of floats."""


class Memory:
    """Poisoned memory between two guards."""

    def __init__(self, nbytes: int) -> None:
        self._whole = buffer(nbytes + 2 * GUARD, FLOAT)
        self._whole.fill(CANARY)
        self.inside = self._whole[GUARD : GUARD + nbytes]
        self.inside.fill(POISON)

    def check(self) -> None:
        """Nobody wrote on the guards."""
        assert (self._whole[:GUARD] == CANARY).all()
        assert (self._whole[GUARD + self.inside.size :] == CANARY).all()


def types_of(op: Op, operands: Sequence[Array]) -> tuple[list[TensorType], list[TensorType]]:
    """The types of operands and results."""
    types = [type_of(a) for a in operands]
    return types, [t for t in op.infer(types) if isinstance(t, TensorType)]


def run(
    op: Op,
    operands: Sequence[Array],
    over: tuple[int, int] | None = None,
    kernel: Kernel | None = None,
    around: Callable[[Work], None] = lambda work: work(),
) -> list[Array]:
    """The results of a kernel, its work done by `around`; of `over` = (result, operand) the one lies in (a copy of) the
    other's memory."""
    kernel = kernel or KERNEL_OF(op)
    given = [a.copy() for a in operands]
    types, results = types_of(op, given)
    memories = [Memory(t.nbytes) for t in results]
    outs = [array_at(memory.inside, 0, t, FLOAT) for memory, t in zip(memories, results, strict=True)]
    if over is not None:
        outs[over[0]] = given[over[1]].reshape(outs[over[0]].shape)
    workspace = Memory(kernel.workspace(op, types, results))
    scratch = carve(workspace.inside, kernel.scratch(op, types, results), FLOAT)
    for position, operand in enumerate(given):
        operand.setflags(write=over is not None and position == over[1])
    with np.errstate(all="ignore"):
        around(kernel.bind(op, given, outs, scratch))
    for memory in (*memories, workspace):
        memory.check()
    return outs
