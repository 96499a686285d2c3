"""Orders of a graph's nodes: the plain one, and those that let transfers run while devices compute."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from alexnet_ir.ir.graph import Graph, Node
from alexnet_ir.ir.op import Source
from alexnet_ir.ir.plan import Stream

Edges = dict[int, list[int]]


@dataclass(frozen=True)
class Dependencies:
    """What must come before what, as ids of nodes; sources are there from the start and appear nowhere.

    A node comes after those that make its operands. One that makes a state's next value also comes after the other
    readers of its old value, so that it can be written in place; but for those that depend on the new value.
    """

    nodes: dict[int, Node]
    before: Edges
    after: Edges
    updates: frozenset[int]


def dependencies(graph: Graph) -> Dependencies:
    """Those of a graph, found in one walk."""
    nodes = {node.id: node for node in graph.topo() if not isinstance(node.op, Source)}
    before: Edges = {
        i: list(dict.fromkeys(v.node for v in node.operands if v.node in nodes)) for i, node in nodes.items()
    }
    after: Edges = {i: [] for i in nodes}
    for i, earlier in before.items():
        for j in earlier:
            after[j].append(i)
    readers: Edges = {}
    for node in nodes.values():
        for source in dict.fromkeys(v.node for v in node.operands if v.node not in nodes):
            readers.setdefault(source, []).append(node.id)
    replaced = [(s.read, s.update.node) for s in graph.states.values() if s.update and s.update.node in nodes]
    for read, update in replaced:
        _write_last(readers.get(read.node, ()), update, before, after)
    return Dependencies(nodes, before, after, frozenset(update for _, update in replaced))


def _write_last(readers: Iterable[int], update: int, before: Edges, after: Edges) -> None:
    """Put the readers of a state before its update, where none depends on it."""
    dependent = _reached(update, after)
    for reader in readers:
        if reader not in dependent and reader not in before[update]:
            before[update].append(reader)
            after[reader].append(update)


def _reached(start: int, after: Edges) -> set[int]:
    found, stack = {start}, [start]
    while stack:
        for node in after[stack.pop()]:
            if node not in found:
                found.add(node)
                stack.append(node)
    return found


def plain_order(depends: Dependencies) -> list[int]:
    """The nodes by age, each after what it needs, which comes right before it; an update as soon as it can."""
    order: dict[int, None] = {}
    for youngest in sorted(depends.nodes):
        stack = [youngest]
        while stack:
            node = stack[-1]
            needed = [i for i in depends.before[node] if i not in order]
            stack.extend(reversed(needed))
            if not needed:
                stack.pop()
                if node not in order:
                    _place(node, order, depends)
    return list(order)


def _place(node: int, order: dict[int, None], depends: Dependencies) -> None:
    """Put a node at the end, and the updates after it that wait for nothing else."""
    order[node] = None
    for later in sorted(depends.after[node]):
        if later in depends.updates and later not in order and all(i in order for i in depends.before[later]):
            _place(later, order, depends)


@dataclass
class _Lane:
    """A stream while it is filled. `place` has its nodes in the plain order, `arrivals` the time from which one can run
    that waits for nothing else; `first` is the place of the first that has not run."""

    stream: Stream
    place: dict[int, int] = field(default_factory=dict)
    arrivals: dict[int, float] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    first: int = 0
    clock: float = 0.0

    def offer(self, open_: Callable[[int], bool]) -> tuple[float, int] | None:
        """When it could start a node, and which: a device the first in place of those that have arrived, a link the
        first that arrived."""
        allowed = [node for node in self.arrivals if open_(node)]
        if not allowed:
            return None
        start = max(self.clock, min(self.arrivals[node] for node in allowed))
        if self.stream.is_link:
            return start, min(allowed, key=lambda node: (self.arrivals[node], self.place[node]))
        return start, min((n for n in allowed if self.arrivals[n] <= start), key=lambda node: self.place[node])

    def take(self, node: int, end: float) -> None:
        """Run a node that was offered."""
        del self.arrivals[node]
        self.done.add(self.place[node])
        while self.first in self.done:
            self.first += 1
        self.clock = end


def overlapped_order(
    depends: Dependencies,
    order: Sequence[int],
    streams: Mapping[int, Stream],
    seconds: Mapping[int, float],
    pinned: Collection[int] = (),
) -> list[int]:
    """List scheduling by simulated clocks: a device takes, of the nodes whose operands have arrived, the first in
    `order`; a link takes what is ready first. A pinned node does not overtake on the device that it writes to."""
    lanes = _lanes(order, streams)
    gates = _gates(order, streams, pinned)

    def is_open(node: int) -> bool:
        return node not in gates or lanes[gates[node][0]].first >= gates[node][1]

    waiting = {node: len(depends.before[node]) for node in order}
    ready = dict.fromkeys(order, 0.0)
    for node in order:
        if not waiting[node]:
            lanes[streams[node]].arrivals[node] = 0.0
    offers = {stream: lane.offer(is_open) for stream, lane in lanes.items()}
    found: list[int] = []
    while len(found) < len(order):
        start, stream, node = min((offer[0], stream, offer[1]) for stream, offer in offers.items() if offer)
        end = start + seconds[node]
        lanes[stream].take(node, end)
        found.append(node)
        changed = {stream} | {other for other in lanes if other.to == stream.device}
        for later in depends.after[node]:
            waiting[later] -= 1
            ready[later] = max(ready[later], end)
            if not waiting[later]:
                lanes[streams[later]].arrivals[later] = ready[later]
                changed.add(streams[later])
        offers.update((other, lanes[other].offer(is_open)) for other in changed)
    return found


def _lanes(order: Sequence[int], streams: Mapping[int, Stream]) -> dict[Stream, _Lane]:
    lanes: dict[Stream, _Lane] = {}
    for node in order:
        lane = lanes.setdefault(streams[node], _Lane(streams[node]))
        lane.place[node] = len(lane.place)
    return lanes


def _gates(
    order: Sequence[int], streams: Mapping[int, Stream], pinned: Collection[int]
) -> dict[int, tuple[Stream, int]]:
    """For each pinned node the device that it writes to, and how many nodes must have run there before."""
    counts: dict[Stream, int] = {}
    gates = {}
    for node in order:
        device = _written(streams[node])
        if node in pinned:
            gates[node] = (device, counts.get(device, 0))
        if not streams[node].is_link:
            counts[device] = counts.get(device, 0) + 1
    return {node: gate for node, gate in gates.items() if gate[1]}


def _written(stream: Stream) -> Stream:
    """The device that has the results of a stream's steps."""
    return Stream(stream.to) if stream.is_link else stream


def overtaking(plain: Sequence[int], order: Sequence[int], streams: Mapping[int, Stream]) -> set[int]:
    """The nodes that come in `order` before some that the plain one has earlier on the device that they write to."""
    rank = {node: number for number, node in enumerate(plain)}
    first: dict[Stream, int] = {}
    found = set()
    for node in reversed(order):
        device = _written(streams[node])
        if first.get(device, rank[node]) < rank[node]:
            found.add(node)
        if not streams[node].is_link:
            first[device] = min(rank[node], first.get(device, rank[node]))
    return found
