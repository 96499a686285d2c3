"""Places every value of the forward graph on N devices, and writes a reshard wherever one has to be moved.

Before:  %conv3 = conv(%pool2, %conv3.weight) {pad = 1} : f32[128, 384, 13, 13]
After:   %conv3.all_gather = reshard(%pool2) {to = "replicated"} : f32[128, 256, 13, 13]
         %conv3 = conv(%conv3.all_gather, %conv3.weight) {pad = 1} : f32[128, 384, 13, 13] split(1)

Which op is shared out in which way is the option `strategies` (made by `placements` or `search`); this pass only
carries it out. The graph stays one logical graph: `distribute` writes what each device does.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from alexnet_ir.ir.graph import Graph, Node, Value
from alexnet_ir.ir.op import Input, Source, Strategy
from alexnet_ir.ir.types import REPLICATED, Partial, Placement
from alexnet_ir.ops.placing import Reshard, exchange
from alexnet_ir.passes.base import Pass


@dataclass(frozen=True)
class Partition(Pass):
    """`strategies` holds that of every node, by name; `states` the placements of states that are settled already (an
    evaluation's are those of its training). An input or state lies as its readers want it."""

    name: ClassVar[str] = "partition"
    devices: int = 1
    strategies: Mapping[str, Strategy] = field(default_factory=dict)
    states: Mapping[str, Placement] = field(default_factory=dict)

    def run(self, graph: Graph) -> bool:
        if self.devices == 1:
            return False
        old = graph.copy()
        graph.clear(self.devices)
        moved = _Mover(old, graph, self)
        for value in (*old.inputs.values(), *(state.read for state in old.states.values())):
            moved.source(old.node(value))
        for node in old.topo():
            if not isinstance(node.op, Source):
                moved.node(node)
        graph.outputs = {name: moved.values[value] for name, value in old.outputs.items()}
        for state in old.states.values():
            if state.update is not None:
                own = graph.tensor(moved.values[state.read]).placement
                graph.set_update(state.name, moved.delivered(moved.values[state.update], own, graph.named(state.name)))
        return True


class _Mover:
    """Writes the nodes of `old` into `new`, placed."""

    def __init__(self, old: Graph, new: Graph, options: Partition) -> None:
        self.old, self.new, self.options = old, new, options
        self.values: dict[Value, Value] = {}

    def node(self, node: Node) -> None:
        """One more node, its operands brought to where its strategy wants them."""
        strategy = self.options.strategies[node.name]
        operands = [self.values[operand] for operand in node.operands]
        if not self.taken(operands, strategy):
            operands = [self.delivered(v, want, node) for v, want in zip(operands, strategy.operands, strict=True)]
        results = self.new.emit_all(node.op, *operands, name=node.name, span=node.span)
        self.values.update(zip(node.results, results, strict=True))

    def taken(self, operands: list[Value], strategy: Strategy) -> bool:
        """Whether a strategy takes operands as they lie: a device reads what every device has."""
        placements = [self.new.tensor(value).placement for value in operands]
        return strategy.accepts(placements) and any(map(operator.eq, placements, strategy.operands))

    def source(self, node: Node) -> None:
        """An input or state."""
        (value,) = node.results
        placement = self.options.states.get(node.name) or self.wanted(value)
        type_ = self.old.tensor(value).at(placement)
        if isinstance(node.op, Input):
            self.values[value] = self.new.input(node.name, type_, default=node.op.default, span=node.span)
            return
        state = self.old.states[node.name]
        self.values[value] = self.new.state(
            node.name, type_, state.initial, role=state.role, lr_mult=state.lr_mult, decay_mult=state.decay_mult,
            span=node.span,
        )  # fmt: skip

    def wanted(self, value: Value) -> Placement:
        """Where all readers of an input or state want it, else on all devices, from where nothing need be moved.
        Scalars are on all: rates, the seed and the step, which the update reads too."""
        if not self.old.tensor(value).shape:
            return REPLICATED
        wants = {
            self.options.strategies[reader.name].operands[position]
            for reader in self.old.users(value)
            for position, operand in enumerate(reader.operands)
            if operand == value
        }
        placement = wants.pop() if len(wants) == 1 else REPLICATED
        return REPLICATED if isinstance(placement, Partial) else placement

    def delivered(self, value: Value, want: Placement, reader: Node | Value) -> Value:
        """A value where it is wanted: itself, or a reshard (one for all that want it there)."""
        type_ = self.new.tensor(value)
        if type_.placement == want:
            return value
        op = Reshard(str(want))
        for user in self.new.users(value):
            if user.op == op:
                return user.results[0]
        node = self.new.node(reader) if isinstance(reader, Value) else reader
        name = f"{node.name}.{exchange(type_.placement, want)}"
        return self.new.emit(op, value, name=name, span=node.span)
