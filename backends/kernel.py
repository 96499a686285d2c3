"""What a backend brings for a class of ops: a kernel, which writes the op's results into memory that it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from alexnet_ir.backends.memory import aligned
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ir.target import Bytes, InPlace, nowhere
from alexnet_ir.ir.types import TensorType

Arrays = Sequence[Array]
Types = Sequence[TensorType]
Run = Callable[[Any, Arrays, Arrays, Arrays], None]
"""Of an op, its operands, the memory of its results, and its scratch arrays."""
Work = Callable[[], None]
Bind = Callable[[Any, Arrays, Arrays, Arrays], Work]
"""The same, but to what does it again and again."""
Scratch = Callable[[Any, Types, Types], tuple[TensorType, ...]]
"""The scratch arrays of an op with operands and results of these types."""


SMALL = 1 << 14
"""Bytes of views, scalars and numbers an axis, which every kernel may take."""


def small(op: Op, operands: Types, results: Types) -> int:
    """For what allocates no arrays to speak of."""
    return SMALL


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
    temporary: Bytes = small
    in_place: InPlace = nowhere

    def workspace(self, op: Op, operands: Types, results: Types) -> int:
        """Bytes of all scratch arrays."""
        return sum(aligned(type_.nbytes) for type_ in self.scratch(op, operands, results))


KernelOf = Callable[[Op], Kernel]
"""The kernel for an op."""


def running(run: Run) -> Bind:
    """For a kernel with nothing to prepare."""
    return lambda op, operands, outs, scratch: partial(run, op, operands, outs, scratch)


def by_meaning(op: Op, operands: Arrays, outs: Arrays, scratch: Arrays) -> None:
    """The op's own meaning, copied to where the results belong."""
    for out, result in zip(outs, op.evaluate(operands), strict=True):
        np.copyto(out, result, casting="same_kind")


def meaning_temporary(op: Op, operands: Types, results: Types) -> int:
    """What a meaning allocates: its results, and some of their size and its operands' on the way there."""
    return SMALL + 4 * sum(t.nbytes for t in (*operands, *results))


MEANING = Kernel(running(by_meaning), temporary=meaning_temporary)
