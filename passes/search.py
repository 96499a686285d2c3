"""The placement of least predicted time: a strategy for every node of a forward graph, chosen together.

Each node is a variable whose options are its strategies, and each value that several nodes read is one whose options
are the places it can be in. Costs are seconds by the profile's time model, forward and backward: what a device
computes, what is exchanged on the way (a gradient goes back the dual way), and what brings a parameter's gradient to
the parameter. They are added up, as if nothing ran beside anything else; the compiler compares what comes out with the
named placements by simulating their programs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from alexnet_ir.ir.graph import Graph, Node, Value
from alexnet_ir.ir.op import Source, Strategy
from alexnet_ir.ir.profile import Profile
from alexnet_ir.ir.types import REPLICATED, On, Partial, Placement, TensorType, dual
from alexnet_ir.ops.placing import exchanged_bytes
from alexnet_ir.passes.elimination import Table, least
from alexnet_ir.passes.placements import PRODUCTS, strategies_of

UPDATE_PASSES = 5
"""How often an update reads or writes a parameter's bytes: parameter, slot and gradient in, parameter and slot out."""


def search(graph: Graph, devices: int, profile: Profile) -> dict[str, Strategy]:
    """A strategy for every node of the forward graph with its loss."""
    costs = Costs(graph, devices, profile)
    chosen, _ = least(costs.options, costs.tables())
    return {name: options[chosen[name]] for name, options in costs.strategies.items()}


@dataclass
class Costs:
    """The search's variables and tables: nodes by name, values that several nodes read by `Value`."""

    graph: Graph
    devices: int
    profile: Profile
    strategies: dict[str, list[Strategy]] = field(default_factory=dict)
    places: dict[Value, list[Placement]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        nodes = [node for node in self.graph.topo() if not isinstance(node.op, Source)]
        self.profile = self.profile.of(self.devices)
        self.trained = self._trained()
        self.strategies = {node.name: self._options(node) for node in nodes}
        for node in nodes:
            for index, value in enumerate(node.results):
                if len(self.graph.users(value)) > 1:
                    made = [strategy.results[index] for strategy in self.strategies[node.name]]
                    self.places[value] = list(dict.fromkeys(made + self._wanted(value)))

    @property
    def options(self) -> dict[str | Value, int]:
        """How many options every variable has."""
        counts: dict[str | Value, int] = {name: len(found) for name, found in self.strategies.items()}
        return counts | {value: len(found) for value, found in self.places.items()}

    def tables(self) -> list[Table]:
        """All costs."""
        found = []
        for name, strategies in self.strategies.items():
            node = self.graph.node(self.graph.named(name))
            found.append(Table((name,), np.array([self.node_seconds(node, s) for s in strategies])))
            for index, value in enumerate(node.results):
                made = [strategy.results[index] for strategy in strategies]
                if value in self.places:
                    found.append(self._table(value, name, made, value, self.places[value]))
            for position, operand in enumerate(node.operands):
                wants = [strategy.operands[position] for strategy in strategies]
                found += self._read(operand, name, wants)
        return found

    def _read(self, value: Value, reader: str, wants: list[Placement]) -> list[Table]:
        """The costs of bringing a node's operand to where it is wanted."""
        maker = self.graph.node(value)
        if isinstance(maker.op, Source):
            return []
        if value in self.places:
            return [self._table(value, value, self.places[value], reader, wants)]
        made = [strategy.results[value.index] for strategy in self.strategies[maker.name]]
        return [self._table(value, maker.name, made, reader, wants)]

    def _table(
        self, value: Value, maker: str | Value, haves: list[Placement], reader: str | Value, wants: list[Placement]
    ) -> Table:
        costs = [[self.moving_seconds(value, have, want) for want in wants] for have in haves]
        return Table((maker, reader), np.array(costs))

    # --- seconds --------------------------------------------------------------------------------------------------

    def node_seconds(self, node: Node, strategy: Strategy) -> float:
        """Computing a node forward and backward, what it exchanges, and its parameters' gradients and updates."""
        operands = [self._local(v, p) for v, p in zip(node.operands, strategy.operands, strict=True)]
        results = [self._local(v, p) for v, p in zip(node.results, strategy.results, strict=True)]
        forward = self.profile.step_seconds(node.op, operands, results)
        exchanged = self._transfer(strategy.exchanged / (self.devices * max(1, self.devices - 1)))
        total = forward + exchanged
        if node.id in self.trained:
            total += exchanged + forward * sum(v.node in self.trained for v in node.operands[:2])
        return total + sum(
            self._parameter_seconds(value, want)
            for value, want in zip(node.operands, strategy.operands, strict=True)
            if isinstance(self.graph.node(value).op, Source) and value.node in self.trained
        )

    def moving_seconds(self, value: Value, have: Placement, want: Placement) -> float:
        """Bringing a value from one place to another, and its gradient back."""
        forward = self.exchange_seconds(value, have, want)
        return forward + (self.exchange_seconds(value, dual(want), dual(have)) if value.node in self.trained else 0)

    def exchange_seconds(self, value: Value, have: Placement, want: Placement) -> float:
        """The busiest link's time of an exchange. Where one device sends or gets all, its links share the bytes; else
        all links do; a reduction to all devices takes two rounds."""
        total = exchanged_bytes(self.graph.tensor(value).nbytes, have, want, self.devices)
        links = (self.devices - 1) * (1 if isinstance(have, On) or isinstance(want, On) else self.devices)
        rounds = 2 if isinstance(have, Partial) and want == REPLICATED else 1
        return rounds * self._transfer(total / links / rounds) if total else 0.0

    def _transfer(self, nbytes: float) -> float:
        return self.profile.transfer_seconds(round(nbytes))

    def _parameter_seconds(self, value: Value, want: Placement) -> float:
        """Bringing a parameter's gradient to it, and its update."""
        own = REPLICATED if isinstance(want, Partial) else want
        update = UPDATE_PASSES * self._local(value, own).nbytes / self.profile.bandwidth
        # A sum is made of a parameter that every device has by zeros beside it; its gradient comes back whole.
        return update + (0.0 if own != want else self.exchange_seconds(value, dual(want), own))

    # --- the graph ------------------------------------------------------------------------------------------------

    def _local(self, value: Value, placement: Placement) -> TensorType:
        type_ = self.graph.tensor(value).at(placement)
        return TensorType(type_.dtype, type_.local(self.devices))

    def _options(self, node: Node) -> list[Strategy]:
        """A node's strategies: of the devices, only the first has anything alone; products are not run twice."""
        options = strategies_of(self.graph, node, self.devices)
        alone = [s for s in options if not any(isinstance(p, On) and p.device > 0 for p in s.results)]
        return [s for s in alone if not (isinstance(node.op, PRODUCTS) and s.results == (REPLICATED,))] or alone

    def _wanted(self, value: Value) -> list[Placement]:
        """Where the readers of a value may want it."""
        return [
            strategy.operands[position]
            for reader in self.graph.users(value)
            for strategy in self.strategies[reader.name]
            for position, operand in enumerate(reader.operands)
            if operand == value
        ]

    def _trained(self) -> set[int]:
        """The parameters, and the nodes that depend on one: what a gradient flows through."""
        found = {state.read.node for state in self.graph.states.values() if state.role == "parameter"}
        for node in self.graph.topo():
            if any(operand.node in found for operand in node.operands):
                found.add(node.id)
        return found
