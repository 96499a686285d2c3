"""What passes must know of a machine, as data: what a backend can do, and how fast a device is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from alexnet_ir.ir.op import Op
from alexnet_ir.ir.types import TensorType

Bytes = Callable[[Op, Sequence[TensorType], Sequence[TensorType]], int]
"""From an op and the types of its operands and results to a number of bytes."""


def no_bytes(op: Op, operands: Sequence[TensorType], results: Sequence[TensorType]) -> int:
    """For what needs none."""
    return 0


InPlace = Callable[[Op], tuple[tuple[int, int], ...]]


def nowhere(op: Op) -> tuple[tuple[int, int], ...]:
    """For what overwrites nothing."""
    return ()


@dataclass(frozen=True)
class Target:
    """What a backend can do. Made by the backend, handed to passes as an option.

    `fusions` names the rules of `fuse` that it has kernels for. `in_place` says for an op which result may overwrite
    which operand, as (result, operand) positions. `workspace` is what a step needs in the arena beside its values,
    `temporary` what it allocates beside the arena.
    """

    name: str
    fusions: frozenset[str] = frozenset()
    in_place: InPlace = nowhere
    workspace: Bytes = no_bytes
    temporary: Bytes = no_bytes
    alignment: int = 64
