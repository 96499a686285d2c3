"""`reshard`: a value placed otherwise, and what that moves between N devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from alexnet_ir.ir.attributes import attribute
from alexnet_ir.ir.graph import Builder, Node, Value
from alexnet_ir.ir.op import Array, Op, TypeRuleError
from alexnet_ir.ir.types import On, Partial, Placement, Replicated, Split, TensorType, dual, placement_of
from alexnet_ir.ops.shape import PLACEMENT


def exchanged_bytes(nbytes: int, have: Placement, want: Placement, devices: int) -> int:
    """Bytes moved between devices, summed over all of them, to take a value of `nbytes` from one placement to another.
    A reduction is a reduce-scatter and a gather, so that no device moves more than its share."""
    others = devices - 1
    match have, want:
        case Partial(), Replicated():
            return 2 * others * nbytes
        case (Partial(), Split() | On()) | (Split() | On(), Replicated()):
            return others * nbytes
        case (Split(a), Split(b)) if a != b:
            return others * nbytes // devices
        case (Split(), On()) | (On(), Split()):
            return others * nbytes // devices
        case (On(a), On(b)) if a != b:
            return nbytes
        case _:  # what is already there, or is made there: a slice, or zeros beside the one part
            return 0


EXCHANGES: dict[tuple[type, type], str] = {
    (Partial, Replicated): "all_reduce",
    (Partial, Split): "reduce_scatter",
    (Partial, On): "reduce",
    (Split, Replicated): "all_gather",
    (Split, Split): "all_to_all",
    (Split, On): "gather",
    (On, Replicated): "broadcast",
    (On, Split): "scatter",
    (On, On): "copy",
}
"""What a reshard that moves bytes is called."""


def exchange(have: Placement, want: Placement) -> str:
    """What taking a value from one placement to another is called."""
    return EXCHANGES.get((type(have), type(want)), "reshard")


@dataclass(frozen=True)
class Reshard(Op):
    """The same value, placed as `to` says. Its gradient goes the other way between the dual placements."""

    name: ClassVar[str] = "reshard"
    flops_per_element: ClassVar[int] = 0
    to: str = attribute(PLACEMENT)

    @property
    def target(self) -> Placement:
        """Where the value goes."""
        return placement_of(self.to)

    def type_rule(self, input: TensorType) -> TensorType:
        return input

    def placed(
        self, operands: Sequence[TensorType], results: tuple[TensorType, ...], devices: int
    ) -> tuple[TensorType, ...]:
        (input,) = operands
        if not input.can_be(self.target, devices):
            raise TypeRuleError("S030", f"`reshard` cannot make {input} {self.to} on {devices} devices")
        return (input.at(self.target),)

    def reference(self, input: Array) -> Array:
        return input

    def gradient(self, build: Builder, node: Node, *grads: Value) -> tuple[Value | None, ...]:
        back = str(dual(build.type(node.operands[0]).placement))
        return (build.emit(Reshard(back), grads[0], name="grad_input"),)
