"""What a backend brings for a class of ops: a kernel, which writes the op's results into memory that it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from alexnet_ir.backends.memory import aligned
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ir.target import nowhere
from alexnet_ir.ir.types import TensorType

Arrays = Sequence[Array]
Types = Sequence[TensorType]
Run = Callable[[Any, Arrays, Arrays, Arrays], object]
"""Of an op, its operands, the memory of its results, and its scratch arrays."""
Work = Callable[[], object]
Bind = Callable[[Any, Arrays, Arrays, Arrays], Work]
"""The same, but to what does it again and again."""
Scratch = Callable[[Any, Types, Types], tuple[TensorType, ...]]
"""The scratch arrays of an op with operands and results of these types."""


SMALL = 3 * 8192 * 4 + (1 << 14)
"""Bytes that every kernel may take: NumPy's iterators buffer 8192 elements of an operand; views and scalars."""


def small(op: Op, operands: Types, results: Types) -> int:
    """For what allocates no arrays to speak of."""
    return SMALL


Allocates = Callable[[Any, Types, Types], int]
"""Bytes, of an op and the types of its operands and results."""


def no_scratch(op: Op, operands: Types, results: Types) -> tuple[TensorType, ...]:
    """For what needs none."""
    return ()


@dataclass(frozen=True)
class Kernel:
    """`bind` makes what writes all of the results, from operands that it leaves as they are, but where `in_place` lets
    a result lie in an operand's memory. `scratch` comes with any content. `temporary` bounds the bytes that NumPy
    allocates beside."""

    bind: Bind
    scratch: Scratch = no_scratch
    temporary: Allocates = small
    in_place: Callable[[Any], tuple[tuple[int, int], ...]] = nowhere

    def workspace(self, op: Op, operands: Types, results: Types) -> int:
        """Bytes of all scratch arrays."""
        return sum(aligned(type_.nbytes) for type_ in self.scratch(op, operands, results))


KernelOf = Callable[[Op], Kernel]
"""The kernel for an op."""


def running(run: Run) -> Bind:
    """For a kernel with nothing to prepare."""
    return lambda op, operands, outs, scratch: partial(run, op, operands, outs, scratch)
