"""From what a placement says of layers to a strategy for every node of a forward graph.

A placement says how each layer with parameters is shared out (its mode); what is not said lies on device 0. Layers
without parameters follow their producer: of the strategies that move the fewest bytes, forward and backward, they take
the one that leaves their result as their operand lies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from alexnet_ir.ir.graph import Graph, Node, Value
from alexnet_ir.ir.op import Source, Strategy
from alexnet_ir.ir.types import BATCH, CHANNELS, PARTIAL, REPLICATED, On, Partial, Placement, TensorType, dual
from alexnet_ir.ops.conv import Conv
from alexnet_ir.ops.dense import Fc
from alexnet_ir.ops.local import Local
from alexnet_ir.ops.placing import exchanged_bytes

Split = Literal["batch", "channels", "inputs"]
Mode = Split | On
PRODUCTS = (Conv, Local, Fc)
"""The ops that layers with parameters are named by."""


@dataclass(frozen=True)
class Refusal:
    """A layer that cannot be shared out as asked, and why."""

    layer: str
    mode: Mode
    reason: str


def strategies_of(graph: Graph, node: Node, devices: int) -> list[Strategy]:
    """All ways to run a node on so many devices."""
    return list(
        node.op.strategies([_whole(graph, v) for v in node.operands], [_whole(graph, v) for v in node.results], devices)
    )


def _whole(graph: Graph, value: Value) -> TensorType:
    return graph.tensor(value).at(REPLICATED)


def in_mode(strategy: Strategy, mode: Mode) -> bool:
    """Whether a product's strategy (operands input and weight) is what a mode means."""
    _, weight = strategy.operands
    (result,) = strategy.results
    if isinstance(mode, On):
        return result == mode
    return {
        "batch": (REPLICATED, BATCH),
        "channels": (BATCH, CHANNELS),
        "inputs": (CHANNELS, PARTIAL),
    }[mode] == (weight, result)  # fmt: skip


def mode_of(strategy: Strategy) -> Mode:
    """The mode of a layer that runs by this strategy; one that all devices run whole counts as the first's."""
    modes: tuple[Mode, ...] = ("batch", "channels", "inputs")
    found = next((mode for mode in modes if in_mode(strategy, mode)), None)
    (result,) = strategy.results
    return found or (result if isinstance(result, On) else On(0))


def possible(graph: Graph, node: Node, mode: Mode, devices: int) -> Strategy | None:
    """How a layer is shared out in this mode, if it can be."""
    return next((s for s in strategies_of(graph, node, devices) if in_mode(s, mode)), None)


def refusal(graph: Graph, node: Node, mode: Mode, devices: int) -> Refusal | None:
    """Why a layer cannot be shared out in this mode; None if it can."""
    if possible(graph, node, mode, devices) is not None:
        return None
    read, made = graph.tensor(node.operands[0]), graph.tensor(node.results[0])
    groups = getattr(node.op, "groups", 1)
    what, count = {
        "batch": ("images of a batch", made.shape[0]),
        "inputs": ("inputs", read.shape[1]),
        "channels": ("units" if isinstance(node.op, Fc) else "kernels", made.shape[1]),
    }.get(str(mode), ("devices", 0))
    if isinstance(mode, On):
        reason = f"there is no device {mode.device}: they are 0 to {devices - 1}"
    elif count % devices:
        reason = f"{count} {what} cannot be shared out evenly over {devices} devices"
    elif mode == "inputs" and groups > 1:
        reason = f"its {groups} groups already read different inputs"
    else:
        reason = f"its {groups} groups cannot be shared out evenly over {devices} devices"
    return Refusal(node.name, mode, reason)


def layers(graph: Graph) -> list[Node]:
    """The nodes that layers with parameters are named by, in order."""
    return [node for node in graph.topo() if isinstance(node.op, PRODUCTS)]


# --- the built-in placements ---------------------------------------------------------------------------------------


def built_in(name: str, graph: Graph, devices: int) -> tuple[dict[str, Mode], list[Refusal]]:
    """The modes of a built-in placement, and the layers that it could not have as it wants them: those are split over
    the batch, or lie on device 0."""
    modes: dict[str, Mode] = {}
    refusals = []
    for node in layers(graph):
        wanted = _WANTED[name](graph, node)
        failed = refusal(graph, node, wanted, devices)
        if failed is not None:
            refusals.append(failed)
            wanted = "batch" if possible(graph, node, "batch", devices) else On(0)
        modes[node.name] = wanted
    return modes, refusals


def _columns(graph: Graph, node: Node) -> Mode:
    """The paper's: kernels and units are shared out, but for the layers that give the scores."""
    return On(0) if _is_last(graph, node) else "channels"


def _weird_trick(graph: Graph, node: Node) -> Mode:
    """Krizhevsky 2014: convolutions on batch, fully connected layers on units."""
    return "channels" if isinstance(node.op, Fc) else "batch"


_WANTED = {
    "single": lambda graph, node: On(0),
    "columns": _columns,
    "data": lambda graph, node: "batch",
    "weird_trick": _weird_trick,
}
BUILT_IN = (*_WANTED, "auto")


def _is_last(graph: Graph, node: Node) -> bool:
    """Whether no layer with parameters depends on this one."""
    waiting = [*graph.users(node.results[0])]
    while waiting:
        reader = waiting.pop()
        if isinstance(reader.op, PRODUCTS):
            return False
        waiting += [user for value in reader.results for user in graph.users(value)]
    return True


# --- layers without parameters follow -----------------------------------------------------------------------------


def follow(
    graph: Graph, devices: int, modes: Mapping[str, Mode], states: Mapping[str, Placement] | None = None
) -> dict[str, Strategy]:
    """A strategy for every node: the layers named have their mode, the others lie on device 0, and what has no
    parameters follows its producer. `states` are the placements of states that are settled."""
    return _Follower(graph, devices, modes, states or {}).run()


class _Follower:
    def __init__(self, graph: Graph, devices: int, modes: Mapping[str, Mode], states: Mapping[str, Placement]) -> None:
        self.graph, self.devices, self.modes, self.states = graph, devices, modes, states
        self.placed: dict[Value, Placement] = {}
        self.found: dict[str, Strategy] = {}

    def run(self) -> dict[str, Strategy]:
        """Operands first."""
        for node in self.graph.topo():
            if isinstance(node.op, Source):
                if node.name in self.states:
                    self.placed[node.results[0]] = self.states[node.name]
                continue
            strategy = self.strategy(node)
            self.found[node.name] = strategy
            self.placed.update(zip(node.results, strategy.results, strict=True))
        return self.found

    def strategy(self, node: Node) -> Strategy:
        """The one that its mode asks for, else the one that moves least, and then that leaves things as they are."""
        options = strategies_of(self.graph, node, self.devices)
        if isinstance(node.op, PRODUCTS):
            mode = self.modes.get(node.name, On(0))
            return next(s for s in options if in_mode(s, mode))
        here = next((self.placed[v] for v in node.operands if v in self.placed), None)
        ahead = self.ahead(node)
        return min(options, key=lambda s: (self.moved(node, s), s.results[0] != here, s.results[0] != ahead))

    def moved(self, node: Node, strategy: Strategy) -> int:
        """Bytes that a strategy moves to its operands, forward and backward, and within."""
        wants = zip(node.operands, strategy.operands, strict=True)
        return sum(self.moved_to(value, want) for value, want in wants) + 2 * strategy.exchanged

    def moved_to(self, value: Value, want: Placement) -> int:
        """Bytes to bring one operand there, and its gradient back; an input or state is where it is wanted."""
        nbytes, have = self.graph.tensor(value).nbytes, self.placed.get(value)
        if have is None:
            return 0
        forward = exchanged_bytes(nbytes, have, want, self.devices)
        return forward + exchanged_bytes(nbytes, dual(want), dual(have), self.devices)

    def ahead(self, node: Node) -> Placement | None:
        """Where the next layer with parameters wants what it reads, as far as it says: the best place for a value that
        could be in several."""
        for value in node.results:
            for reader in self.graph.users(value):
                if isinstance(reader.op, PRODUCTS):
                    mode = self.modes.get(reader.name, On(0))
                    wanted = next(self.wants(reader, mode))
                    return BATCH if isinstance(wanted, Partial) else wanted
                return self.ahead(reader)
        return BATCH

    def wants(self, node: Node, mode: Mode) -> Iterator[Placement]:
        """Where a layer in a mode wants its input."""
        yield from (s.operands[0] for s in strategies_of(self.graph, node, self.devices) if in_mode(s, mode))
