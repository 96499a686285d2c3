"""What a step of a plan becomes: commands, as data. Nothing here needs CuPy, a GPU or a compiler.

A command names memory by `Place`s of its step (the third operand; byte 512 of the workspace), so that it does not
depend on where the plan puts them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from alexnet_ir.ir.layout import Layout, Stored
from alexnet_ir.ir.op import Op

Dim3 = tuple[int, int, int]

MOST_BLOCKS = 65535
"""That a grid has along its second and its third axis; along the first it has any number."""


@dataclass(frozen=True)
class Kernel:
    """One specialised kernel: its entry point and the complete source."""

    name: str
    source: str


@dataclass(frozen=True, slots=True)
class Place:
    """Memory of a step: its operand or result of this number, or so many bytes into its workspace. `nbytes` is all
    that a kernel may touch there."""

    kind: Literal["operand", "result", "workspace"]
    number: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Table:
    """A table of addresses in device memory, 8 bytes each."""

    places: tuple[Place, ...]


Argument = Place | Table | np.int32 | np.int64 | np.float32


@dataclass(frozen=True)
class Tensor:
    """A value as a kernel meets it: logical shape, layout, and where it lies."""

    shape: tuple[int, ...]
    layout: Layout
    place: Place

    @property
    def strides(self) -> tuple[int, ...]:
        """Elements from one index of each logical axis to the next."""
        return self.layout.strides(self.shape)


@dataclass(frozen=True)
class Launch:
    """A kernel on a grid, with so many bytes of dynamic shared memory."""

    kernel: Kernel
    grid: Dim3
    block: Dim3
    arguments: tuple[Argument, ...]
    shared: int = 0


@dataclass(frozen=True)
class Call:
    """A C function, which shares its work out among threads itself."""

    kernel: Kernel
    arguments: tuple[Argument, ...]


@dataclass(frozen=True)
class Meaning:
    """An op by its own NumPy meaning, for what there is no kernel for (on a CPU only)."""

    op: Op
    operands: tuple[Tensor, ...]
    results: tuple[Tensor, ...]


@dataclass(frozen=True)
class Gemm:
    """out [m, n] = a [m, k] b [k, n], all row-major without gaps; a transposed one lies as [k, m] or [n, k]. `out` is
    f32 or as the operands are stored; tf32 operands are f32 that the product rounds."""

    a: Place
    b: Place
    out: Place
    m: int
    n: int
    k: int
    transposed: tuple[bool, bool]
    stored: Stored
    out_stored: Stored


@dataclass(frozen=True)
class Move:
    """Bytes from one place to another; nothing where both are the same memory."""

    source: Place
    target: Place


Command = Launch | Call | Meaning | Gemm | Move


@dataclass(frozen=True)
class Emission:
    """What a step runs, in order; the workspace it needs; and why it is done so, in a line for `--emit plan`.

    The `prologue` comes before the commands. It reads the step's parameters (the second operand) and fills the first
    `kept` bytes of the workspace, which nothing else writes: where those last, it need not run again before the
    parameters change.
    """

    commands: tuple[Command, ...]
    workspace: int = 0
    reason: str = ""
    prologue: tuple[Command, ...] = ()
    kept: int = 0

    @property
    def all(self) -> tuple[Command, ...]:
        """The prologue and the commands."""
        return self.prologue + self.commands
