"""Reshards as what each device does: slices, copies, concatenations and sums.

What is added up is added in the order of the devices, on one device for each part of it, so that all have the same
bits. A reduction to all devices is shared out along an axis where one can be, and then gathered; else device 0 makes
the sum and sends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from alexnet_ir.diagnostics import Span
from alexnet_ir.ir.graph import Graph, Value
from alexnet_ir.ir.op import Op
from alexnet_ir.ir.types import On, Partial, Placement, Replicated, Split, TensorType
from alexnet_ir.ops.elementwise import Add
from alexnet_ir.ops.placing import exchange
from alexnet_ir.ops.shape import Concat, Copy, Fill, Slice

Shares = dict[int, Value]
"""The share of a value on each device that has one."""


@dataclass(frozen=True)
class Collectives:
    """Writes nodes that serve one logical node, under its name."""

    graph: Graph
    devices: int
    name: str
    span: Span | None
    kind: str = ""

    def emit(self, device: int, op: Op, *operands: Value, name: str = "") -> Value:
        """A node `NAME@device`, or `NAME.name@device`."""
        full = f"{self.name}.{name}@{device}" if name else f"{self.name}@{device}"
        return self.graph.emit(op, *operands, name=full, span=self.span)

    def copy(self, value: Value, to: int) -> Value:
        """A value of another device on this one."""
        source = self.graph.tensor(value).device
        if source == to:
            return value
        name = f"{self.name}.{source}to{to}"
        return self.graph.emit(Copy(to, self.kind), value, name=name, span=self.span)

    def of_kind(self, kind: str) -> Collectives:
        """The same, for an exchange of this kind."""
        return Collectives(self.graph, self.devices, self.name, self.span, kind)

    def reshard(self, shares: Shares, type_: TensorType, want: Placement) -> Shares:
        """The shares of a value of this type where it is wanted."""
        return self.of_kind(exchange(type_.placement, want))._reshard(shares, type_, want)

    def _reshard(self, shares: Shares, type_: TensorType, want: Placement) -> Shares:
        match type_.placement, want:
            case have, _ if have == want:
                return shares
            case Replicated(), On(d):
                return {d: shares[d]}
            case Replicated(), Split(axis):
                return {d: self.piece(shares[d], axis, d) for d in shares}
            case (Replicated() | On(), Partial()):
                return self.beside_zeros(shares, type_)
            case Split(axis), Partial():
                return {d: self.among_zeros(shares[d], axis, d) for d in shares}
            case Split(axis), Replicated():
                return self.all_gather(shares, axis)
            case Split(axis), Split(other):
                return self.all_to_all(shares, axis, other)
            case Split(axis), On(d):
                return {d: self.concat(d, [self.copy(shares[s], d) for s in sorted(shares)], axis)}
            case Partial(), Replicated():
                return self.all_reduce(shares, type_)
            case Partial(), Split(axis):
                return self.reduce_scatter(shares, axis)
            case Partial(), On(d):
                return {d: self.combined(d, [self.copy(shares[s], d) for s in sorted(shares)])}
            case On(d), Replicated():
                return {to: self.copy(shares[d], to) for to in range(self.devices)}
            case On(d), Split(axis):
                return {to: self.copy(self.piece(shares[d], axis, to), to) for to in range(self.devices)}
            case On(d), On(to):
                return {to: self.copy(shares[d], to)}
        raise AssertionError(f"{type_} to {want}")  # pragma: no cover - all pairs are above

    # --- pieces -------------------------------------------------------------------------------------------------------

    def piece(self, value: Value, axis: int, index: int) -> Value:
        """The share of one device of a value that is here whole."""
        type_ = self.graph.tensor(value)
        length = type_.shape[axis] // self.devices
        op = Slice(index * length, (index + 1) * length, axis)
        return self.emit(type_.device, op, value, name=f"part{index}")

    def concat(self, device: int, values: Sequence[Value], axis: int, name: str = "") -> Value:
        """Values of one device, one after another."""
        return self.emit(device, Concat(axis), *values, name=name)

    def zeros(self, device: int, shape: Sequence[int]) -> Value:
        """Zeros of this local shape."""
        return self.emit(device, Fill(0.0, tuple(shape), str(On(device))), name="zeros")

    def combined(self, device: int, values: Sequence[Value], name: str = "", op: Op | None = None) -> Value:
        """Values of one device, added up in their order, or taken together by another `op` of two."""
        *first, last = values
        if not first:
            return last
        before = reduce(lambda total, value: self.emit(device, op or Add(), total, value, name="sum"), first)
        return self.emit(device, op or Add(), before, last, name=name)

    def beside_zeros(self, shares: Shares, type_: TensorType) -> Shares:
        """A sum of which one device has all: its own, or device 0's where all have it."""
        owner = min(shares)
        return {d: shares[d] if d == owner else self.zeros(d, type_.shape) for d in range(self.devices)}

    def among_zeros(self, value: Value, axis: int, index: int) -> Value:
        """A device's share at its place in a value that is zero elsewhere."""
        type_ = self.graph.tensor(value)
        parts = []
        for length, part in ((index, None), (1, value), (self.devices - 1 - index, None)):
            shape = [*type_.shape]
            shape[axis] *= length
            if length:
                parts.append(self.zeros(type_.device, shape) if part is None else part)
        return self.concat(type_.device, parts, axis)

    # --- exchanges ------------------------------------------------------------------------------------------------

    def all_gather(self, shares: Shares, axis: int) -> Shares:
        """Every device gets all shares."""
        return {d: self.concat(d, [self.copy(shares[s], d) for s in sorted(shares)], axis) for d in shares}

    def all_to_all(self, shares: Shares, axis: int, other: int) -> Shares:
        """Every device cuts its share along the other axis, and gives each its part."""
        parts = {s: [self.piece(shares[s], other, d) for d in range(self.devices)] for s in shares}
        return {d: self.concat(d, [self.copy(parts[s][d], d) for s in sorted(shares)], axis) for d in shares}

    def reduce_scatter(self, shares: Shares, axis: int, name: str = "") -> Shares:
        """Every device adds up its share of all."""
        parts = {s: [self.piece(shares[s], axis, d) for d in range(self.devices)] for s in shares}
        return {d: self.combined(d, [self.copy(parts[s][d], d) for s in sorted(shares)], name) for d in shares}

    def all_reduce(self, shares: Shares, type_: TensorType, name: str = "", op: Op | None = None) -> Shares:
        """Every device gets the sum (or what another `op` of two values makes, on device 0)."""
        axis = next((a for a in range(len(type_.shape)) if type_.can_be(Split(a), self.devices)), None)
        if axis is not None and op is None:
            scattered = self.reduce_scatter(shares, axis, f"{name}.share" if name else "share")
            return {d: self.concat(d, [self.copy(scattered[s], d) for s in sorted(shares)], axis, name) for d in shares}
        total = self.combined(0, [self.copy(shares[s], 0) for s in sorted(shares)], name, op)
        return {d: self.copy(total, d) for d in shares}
