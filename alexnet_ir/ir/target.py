"""What passes must know of a machine, as data: what a backend can do, and how fast a device is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from alexnet_ir.ir.layout import Layout, Stored
from alexnet_ir.ir.op import Op
from alexnet_ir.ir.types import TensorType

Types = Sequence[TensorType]
Bytes = Callable[[Op, Types, Types], int]
"""From an op and the types of its operands and results to a number of bytes."""
Workspace = Callable[[Op, Types, Types, Sequence[Layout]], int]
"""The same, with the layouts of the operands and then of the results."""


def no_bytes(op: Op, operands: Types, results: Types, layouts: Sequence[Layout] = ()) -> int:
    """For what needs none."""
    return 0


InPlace = Callable[[Op], tuple[tuple[int, int], ...]]


def nowhere(op: Op) -> tuple[tuple[int, int], ...]:
    """For what overwrites nothing."""
    return ()


TOGETHER_BYTES = 256 * 1024
"""Of a parameter that is updated together with others: larger ones are worth a step of their own, after which their
gradient can go."""


@dataclass(frozen=True)
class Storing:
    """How values lie on a target that does not keep them as their types say. Maps and kernels (all of rank 4, but for
    what the host feeds) have their channels last; what parameters are not made of is stored as `activations`; what
    products read is rounded to `products` where it is written, unless a step reads it that should see all bits."""

    activations: Stored = "f32"
    products: Stored = "f32"


@dataclass(frozen=True)
class Target:
    """What a backend can do. Made by the backend, handed to passes as an option.

    `fusions` names the rules of `fuse` that it has kernels for. `in_place` says for an op which result may overwrite
    which operand, as (result, operand) positions. `workspace` is what a step needs in the arena beside its values, and
    `kept` how much of that it fills from its second operand alone: where that is a state which no run replaces, it is
    worth keeping from run to run. `temporary` is what a step allocates beside the arena. `storing` is how values lie
    (None: as their types say). Parameters of up to `together_bytes` are updated together.
    """

    name: str
    fusions: frozenset[str] = frozenset()
    in_place: InPlace = nowhere
    workspace: Workspace = no_bytes
    kept: Workspace = no_bytes
    temporary: Bytes = no_bytes
    alignment: int = 64
    storing: Storing | None = None
    together_bytes: int = TOGETHER_BYTES
