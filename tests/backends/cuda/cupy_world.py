"""What the double of CuPy runs on: GPUs with memory, streams, events and graphs; see `cupy_double`."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

CAPTURE_INVALIDATED, CAPTURE_UNJOINED, CAPTURE_ISOLATION = 901, 904, 905  # cudaError_t
DEVICES_UNAVAILABLE = 46


class CUDARuntimeError(RuntimeError):
    """As CuPy's: `status` is the number."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"cudaError: status {status}")


class Wrong(Exception):  # noqa: N818  no RuntimeError: that would be taken for one of CUDA's
    """What no program may do, even where a GPU might let it pass."""


@dataclass(eq=False)
class Node:
    """A piece of queued work, and what must have been done before."""

    stream: Stream
    work: Callable[[], None] | None
    after: list[Node]
    done: bool = False


@dataclass(eq=False)
class Capture:
    """A graph in the making."""

    origin: Stream
    nodes: list[Node] = field(default_factory=list)
    is_valid: bool = True


@dataclass(frozen=True)
class Model:
    """A GPU that one would like to have, or (`is_taken`) that another program has for itself."""

    capability: str = "90"
    memory: int = 1 << 30
    shared: int = 227 << 10
    multiprocessors: int = 132
    name: str = "Double"
    is_taken: bool = False


@dataclass
class World:
    """All GPUs, and what runs on them. `peers`: which can reach each other; `copies`: whether CUDA copies between
    GPUs at all, and within graphs; `loses` what GPUs that reach each other copy, without a word."""

    gpus: tuple[Model, ...] = (Model(),)
    seed: int = 0
    peers: bool = True
    copies: bool = True
    graph_copies: bool = True
    loses: bool = False
    driver: int = 13000
    made_for: int = 13020
    has_cublas: bool = True
    pending: list[Node] = field(default_factory=list)
    streams: dict[int, Stream] = field(default_factory=dict)
    memory: dict[int, tuple[int, int, Any]] = field(default_factory=dict)
    """By address: bytes, GPU, the NumPy array that it is."""
    pinned: dict[int, tuple[int, Any]] = field(default_factory=dict)
    handles: dict[int, dict[str, Any]] = field(default_factory=dict)
    current: int = 0
    capture: Capture | None = None
    launches: int = 0
    graphs: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.ranks: dict[Stream, float] = {}

    def enter(self, gpu: int) -> None:
        """Make it the current one, which since CUDA 12 sets it up."""
        if self.gpus[gpu].is_taken:
            raise CUDARuntimeError(DEVICES_UNAVAILABLE)
        self.current = gpu

    # --- the order of work --------------------------------------------------------------------------------------------

    def queue(self, stream: Stream, work: Callable[[], None] | None, after: Iterable[Node] = ()) -> Node:
        """Work at the end of a stream, or of its part of a captured graph."""
        capture = stream.capture
        node = Node(stream, work, [n for n in (stream.tail, *after) if n is not None])
        (capture.nodes if capture else self.pending).append(node)
        stream.tail = node
        return node

    def finish(self, last: Node | None) -> None:
        """Run whatever may run, in an order of ill will, until this is done."""
        if self.capture:
            raise Wrong("the host waits while a graph is captured")
        while last is not None and not last.done:
            ready = [node for node in self.pending if all(n.done for n in node.after)]
            node = max(ready, key=lambda n: self.ranks.setdefault(n.stream, self.random.random()))
            self.pending.remove(node)
            if node.work:
                node.work()
            node.done, node.after = True, []
            if self.random.random() < 0.05:
                self.ranks.clear()  # others go first from here on

    def refuse_in_capture(self, what: str) -> None:
        """A graph that is being captured must have everything already."""
        if self.capture:
            raise Wrong(f"{what} while a graph is captured")

    # --- memory -------------------------------------------------------------------------------------------------------

    def taken(self, gpu: int) -> int:
        """Bytes."""
        return sum(nbytes for nbytes, where, _ in self.memory.values() if where == gpu)

    def room(self, address: int, gpu: int | None = None) -> int:
        """Bytes from an address to the end of its memory."""
        for start, (nbytes, where, _) in self.memory.items():
            if start <= address < start + nbytes:
                if gpu is not None and where != gpu:
                    raise Wrong(f"memory of GPU {where} is used on GPU {gpu}")
                return start + nbytes - address
        raise Wrong("memory that is not there, or no more")

    def pinned_room(self, address: int) -> int:
        """The same of pinned memory."""
        for start, (nbytes, _) in self.pinned.items():
            if start <= address < start + nbytes:
                return start + nbytes - address
        raise Wrong("host memory that is not pinned")

    def copy(self, target: int, source: int, nbytes: int, rooms: tuple[Callable[[int], int], ...]) -> None:
        """Bytes, both ends looked at."""
        for address, room in zip((target, source), rooms, strict=True):
            if room(address) < nbytes:
                raise Wrong("a copy beyond the end of memory")
        ctypes.memmove(target, source, nbytes)


# --- streams, events, graphs ------------------------------------------------------------------------------------------


class Stream:
    """cupy.cuda.Stream."""

    world: World

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False, priority: Any = None):
        assert non_blocking
        assert not null
        assert not ptds
        self.world.refuse_in_capture("a stream is made")
        self.device_id = self.world.current
        self.capture: Capture | None = None
        self._tail: Node | None = None
        self._captured: Node | None = None
        self.ptr = 0x1000 + len(self.world.streams)
        self.world.streams[self.ptr] = self

    @property
    def tail(self) -> Node | None:
        """The last of what was queued."""
        return self._captured if self.capture else self._tail

    @tail.setter
    def tail(self, node: Node) -> None:
        if self.capture:
            self._captured = node
        else:
            self._tail = node

    def record(self, event: Any = None) -> Event:
        assert event is not None
        event.record(self)
        return event  # type: ignore[no-any-return]

    def wait_event(self, event: Event) -> None:
        if event.node is None:
            raise Wrong("a wait for an event that nobody has recorded")
        if event.capture is not self.capture:
            if self.capture or event.capture is not self.world.capture or event.capture is None:
                raise CUDARuntimeError(CAPTURE_ISOLATION)
            self.capture, self._captured = event.capture, None  # the stream joins the capture
        self.world.queue(self, None, [event.node])

    def synchronize(self) -> None:
        self.world.finish(self.tail)

    def begin_capture(self, mode: Any = None) -> None:
        assert self.world.capture is None
        assert self.capture is None
        self.world.capture = self.capture = Capture(self)
        self._captured = None

    def end_capture(self) -> Graph:
        capture, self.world.capture = self.world.capture, None
        if capture is None or capture.origin is not self:
            raise Wrong("a capture ends where it began")
        ends = [s._captured for s in self.world.streams.values() if s.capture is capture]
        reached, todo = set(), [self._captured]
        while todo:
            node = todo.pop()
            if node is not None and node not in reached:
                reached.add(node)
                todo += node.after
        for stream in self.world.streams.values():
            stream.capture = None if stream.capture is capture else stream.capture
        if not capture.is_valid:
            raise CUDARuntimeError(CAPTURE_INVALIDATED)
        if any(end is not None and end not in reached for end in ends):
            raise CUDARuntimeError(CAPTURE_UNJOINED)
        return Graph(self.world, capture.nodes)

    def is_capturing(self) -> bool:
        return self.capture is not None


class Event:
    """cupy.cuda.Event."""

    world: World

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        self.world.refuse_in_capture("an event is made")
        self.device_id = self.world.current
        self.node: Node | None = None
        self.capture: Capture | None = None
        self._recorded = False

    def record(self, stream: Any = None) -> None:
        assert stream is not None
        if stream.device_id != self.device_id:
            raise Wrong(f"an event of GPU {self.device_id} on a stream of GPU {stream.device_id}")
        self.node, self.capture = stream.world.queue(stream, None), stream.capture

    def synchronize(self) -> None:
        if self.capture:
            raise Wrong("the host waits for an event of a graph")
        self.world.finish(self.node)


class Graph:
    """cupy.cuda.graph.Graph."""

    def __init__(self, world: World, nodes: list[Node]) -> None:
        self._world, self._nodes = world, nodes
        world.graphs += 1

    def upload(self, stream: Any = None) -> None:
        assert stream is not None

    def launch(self, stream: Any = None) -> None:
        assert stream is not None
        assert stream.capture is None
        before, made = stream.tail, dict[Node, Node]()
        for node in self._nodes:
            after = [made[n] for n in node.after] or [n for n in (before,) if n]
            made[node] = Node(node.stream, node.work, after)
        self._world.pending += made.values()
        self._world.queue(stream, None, made.values())
