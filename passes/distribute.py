"""Writes what each device does: a node for each share of each value, and copies for what is moved.

Before:  %conv3.all_gather = reshard(%pool2) {to = "replicated"} : f32[128, 256, 13, 13]
         %conv3 = conv(%conv3.all_gather, %conv3.weight) {pad = 1} : f32[128, 384, 13, 13] split(1)
After:   %conv3.all_gather.1to0 = copy(%pool2@1) {to = 0, kind = "all_gather"} : f32[128, 128, 13, 13] on(0)
         %conv3.all_gather@0 = concat(%pool2@0, %conv3.all_gather.1to0) : f32[128, 256, 13, 13] on(0)
         %conv3@0 = conv(%conv3.all_gather@0, %conv3.weight@0) {pad = 1} : ...
         (and the same the other way round on device 1)

Shapes are local from here on. Inputs, states and outputs are shards `NAME@device`; the graph's `wholes` say what they
are shards of. Only `copy` crosses devices. A net on one device stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from alexnet_ir.ir.graph import Graph, Node, Value
from alexnet_ir.ir.op import Input, Source
from alexnet_ir.ir.types import On, TensorType
from alexnet_ir.ops.placing import Reshard
from alexnet_ir.ops.shape import Fill
from alexnet_ir.passes.base import Pass
from alexnet_ir.passes.collectives import Collectives, Shares
from alexnet_ir.passes.exchanging import EXCHANGING


@dataclass(frozen=True)
class Distribute(Pass):
    """From one placed logical graph to the program of all devices."""

    name: ClassVar[str] = "distribute"

    def run(self, graph: Graph) -> bool:
        if graph.devices == 1 or graph.wholes:
            return False
        old = graph.copy()
        graph.clear(old.devices)
        _Distributor(old, graph).run()
        return True


class _Distributor:
    """Writes the shares of `old`'s values into `new`."""

    def __init__(self, old: Graph, new: Graph) -> None:
        self.old, self.new = old, new
        self.shares: dict[Value, Shares] = {}

    def run(self) -> None:
        """Sources in their order, then all else, operands first."""
        for value in (*self.old.inputs.values(), *(state.read for state in self.old.states.values())):
            self.source(self.old.node(value))
        for node in self.old.topo():
            if not isinstance(node.op, Source):
                self.shares.update(zip(node.results, self.node(node), strict=True))
        for name, value in self.old.outputs.items():
            self.new.wholes[name] = self.old.tensor(value)
            self.new.outputs.update({f"{name}@{d}": share for d, share in self.shares[value].items()})
        for state in self.old.states.values():
            if state.update is not None:
                for device, share in self.shares[state.update].items():
                    self.new.set_update(f"{state.name}@{device}", share)

    def source(self, node: Node) -> None:
        """The shards of an input or state."""
        (value,) = node.results
        type_ = self.old.tensor(value)
        self.new.wholes[f"%{node.name}"] = type_
        shares = {}
        for device in self.devices(type_):
            name = f"{node.name}@{device}"
            local = TensorType(type_.dtype, type_.local(self.old.devices), On(device))
            if isinstance(node.op, Input):
                shares[device] = self.new.input(name, local, default=node.op.default, span=node.span)
            else:
                state = self.old.states[node.name]
                shares[device] = self.new.state(
                    name, local, state.initial, role=state.role, lr_mult=state.lr_mult,
                    decay_mult=state.decay_mult, span=node.span,
                )  # fmt: skip
        self.shares[value] = shares

    def devices(self, type_: TensorType) -> range:
        """Where a value has shares."""
        if isinstance(type_.placement, On):
            return range(type_.placement.device, type_.placement.device + 1)
        return range(self.old.devices)

    def node(self, node: Node) -> tuple[Shares, ...]:
        """The shares of a node's results."""
        types = [self.old.tensor(v) for v in node.operands]
        collectives = Collectives(self.new, self.old.devices, node.name, node.span)
        shares = [self.shares[v] for v in node.operands]
        if isinstance(node.op, Reshard):
            return (collectives.reshard(shares[0], types[0], node.op.target),)
        if isinstance(node.op, Fill):
            fill = node.op
            where = self.devices(self.old.tensor(node.results[0]))
            return ({d: collectives.emit(d, fill.local(d, self.old.devices)) for d in where},)
        results = [self.old.tensor(v) for v in node.results]
        if node.op.strategy(types, results, self.old.devices).exchanged:
            return EXCHANGING[type(node.op)](collectives, node.op, types, shares)
        return self.local(node, types, shares)

    def local(self, node: Node, types: list[TensorType], shares: list[Shares]) -> tuple[Shares, ...]:
        """Each device runs the op on its own shares."""
        results: tuple[Shares, ...] = tuple({} for _ in node.results)
        for device in self.devices(self.old.tensor(node.results[0])):
            op = node.op.shard(types, device, self.old.devices)
            made = self.new.emit_all(op, *(s[device] for s in shares), name=f"{node.name}@{device}", span=node.span)
            for result, value in zip(results, made, strict=True):
                result[device] = value
        return results
