"""A double of CuPy: GPUs of one's own choice whose kernels the host runner runs. It has the names and signatures that
`executor` and `card` use, and is stricter than a GPU.

Work that is queued runs when somebody synchronises, in an order that takes every freedom that streams and events leave:
the streams get ranks by chance, and the best that can go on always does. So a wait that is missing gives other results
for some seed. Whatever only goes well by luck is refused: work on another device's stream, memory of another device,
freed or never allocated, allocation while a graph is captured, a cuBLAS handle without workspace."""

from __future__ import annotations

import ctypes
import pickle
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace, TracebackType
from typing import Any

import numpy as np
import pytest

from alexnet_ir.backends.cuda import cublas, executor, found
from alexnet_ir.backends.cuda.encode import bf16_bits, decode, round_tf32
from alexnet_ir.backends.cuda.host.machine import at
from alexnet_ir.backends.cuda.host.runner import HostKernel, Memory
from alexnet_ir.backends.cuda.launch import Kernel
from alexnet_ir.backends.cuda.nvrtc import Compiled, Usage
from alexnet_ir.ir.layout import Layout, Stored

OUT_OF_MEMORY, INSUFFICIENT_DRIVER, NO_DEVICE, PEER_UNSUPPORTED, ALREADY = 2, 35, 100, 217, 704
CAPTURE_UNSUPPORTED, CAPTURE_INVALIDATED, CAPTURE_UNJOINED, CAPTURE_ISOLATION = 900, 901, 904, 905
POISON = 0xFF
HOST_KERNELS: dict[Kernel, HostKernel] = {}


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
    """A GPU that one would like to have."""

    capability: str = "90"
    memory: int = 1 << 30
    shared: int = 227 << 10
    multiprocessors: int = 132
    name: str = "Double"


@dataclass
class World:
    """All GPUs, and what runs on them. `peers`: which can reach each other; `copies`: whether CUDA copies between
    GPUs at all, and within graphs."""

    gpus: tuple[Model, ...] = (Model(),)
    seed: int = 0
    peers: bool = True
    copies: bool = True
    graph_copies: bool = True
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


# --- devices, memory, kernels -----------------------------------------------------------------------------------------


class Device:
    """cupy.cuda.Device."""

    world: World

    def __init__(self, device: int | None = None) -> None:
        self.id = self.world.current if device is None else device
        if not 0 <= self.id < len(self.world.gpus):
            raise CUDARuntimeError(101)
        self._before: list[int] = []

    def __enter__(self) -> Device:
        self._before.append(self.world.current)
        self.world.current = self.id
        return self

    def __exit__(
        self, kind: type[BaseException] | None, what: BaseException | None, where: TracebackType | None
    ) -> None:
        self.world.current = self._before.pop()

    def use(self) -> None:
        self.world.current = self.id

    @property
    def compute_capability(self) -> str:
        return self.world.gpus[self.id].capability


class DeviceMemory:
    """cupy.cuda.memory.Memory."""

    world: World

    def __init__(self, size: int) -> None:
        self.world.refuse_in_capture("memory is allocated")
        gpu = self.world.current
        if self.world.taken(gpu) + size > self.world.gpus[gpu].memory:
            raise CUDARuntimeError(OUT_OF_MEMORY)
        raw = np.full(size + 256, POISON, np.uint8)
        self.ptr, self.size = raw.ctypes.data + -raw.ctypes.data % 256, size
        self.world.memory[self.ptr] = size, gpu, raw

    def __del__(self) -> None:
        if hasattr(self, "ptr"):
            raw = self.world.memory.pop(self.ptr)[2]
            raw[:] = POISON


class PinnedMemoryPointer:
    """What cupy.cuda.alloc_pinned_memory gives."""

    world: World

    def __init__(self, size: int) -> None:
        self.world.refuse_in_capture("pinned memory is allocated")
        self._raw = np.full(size, POISON, np.uint8)
        self.ptr = int(self._raw.ctypes.data)
        self.world.pinned[self.ptr] = size, self._raw

    def __del__(self) -> None:
        if hasattr(self, "ptr"):
            self.world.pinned.pop(self.ptr)
            self._raw[:] = POISON


class Module:
    """cupy.cuda.function.Module: a `cubin` is a pickled Kernel."""

    world: World

    def load(self, cubin: bytes) -> None:
        self.world.refuse_in_capture("a module is loaded")
        self.kernel, self.device_id = pickle.loads(cubin), self.world.current

    def get_function(self, name: str) -> Function:
        assert name == self.kernel.name
        return Function(self, name)


class Function:
    """cupy.cuda.function.Function."""

    def __init__(self, module: Module, funcname: str) -> None:
        self._module, self.max_shared = module, 48 << 10
        self.ptr = self

    def __call__(self, grid: Any, block: Any, args: Any, shared_mem: int = 0, stream: Any = None) -> None:
        world, gpu, kernel = self._module.world, self._module.device_id, self._module.kernel
        if not gpu == stream.device_id == world.current:
            raise Wrong(
                f"a kernel of GPU {gpu} on a stream of {stream.device_id}, where GPU {world.current} is current"
            )
        if shared_mem > self.max_shared:
            raise CUDARuntimeError(1)
        assert all(isinstance(a, np.uint64 | np.int32 | np.int64 | np.float32) for a in args)
        if kernel not in HOST_KERNELS:
            HOST_KERNELS[kernel] = HostKernel(kernel)

        def work() -> None:
            given = [Memory(int(a), world.room(int(a), gpu), "") if isinstance(a, np.uint64) else a for a in args]
            HOST_KERNELS[kernel](grid, block, given, shared=shared_mem)
            world.launches += 1

        world.queue(stream, work)


def pickled(kernels: Iterable[Kernel], arch: str) -> dict[Kernel, Compiled]:
    """In the place of `cubins`: what Module.load takes here."""
    return {kernel: Compiled(pickle.dumps(kernel), "", Usage(0, 0, 0, 0, 0)) for kernel in kernels}


def runtime_of(world: World) -> SimpleNamespace:
    """cupy.cuda.runtime."""

    def memcpyAsync(dst: int, src: int, size: int, kind: int, stream: int) -> None:  # noqa: N802
        queue = world.streams[stream]
        device, host = (lambda a: world.room(a, None if kind != 3 else queue.device_id)), world.pinned_room
        rooms = {1: (device, host), 2: (host, device), 3: (device, device)}[kind]
        world.queue(queue, lambda: world.copy(dst, src, size, rooms))

    def memcpyPeerAsync(dst: int, dstDevice: int, src: int, srcDevice: int, size: int, stream: int) -> None:  # noqa: N802, N803
        queue = world.streams[stream]
        if not world.copies:
            raise CUDARuntimeError(PEER_UNSUPPORTED)
        if queue.capture and not world.graph_copies:
            queue.capture.is_valid = False
            raise CUDARuntimeError(CAPTURE_UNSUPPORTED)
        rooms = (lambda a: world.room(a, dstDevice)), (lambda a: world.room(a, srcDevice))
        world.queue(queue, lambda: world.copy(dst, src, size, rooms))

    def memcpyPeer(dst: int, dstDevice: int, src: int, srcDevice: int, size: int) -> None:  # noqa: N802, N803
        world.refuse_in_capture("the host copies")
        if not world.copies:
            raise CUDARuntimeError(PEER_UNSUPPORTED)
        world.copy(dst, src, size, ((lambda a: world.room(a, dstDevice)), (lambda a: world.room(a, srcDevice))))

    reached: set[tuple[int, int]] = set()

    def deviceEnablePeerAccess(peerDevice: int) -> None:  # noqa: N802, N803
        if (world.current, peerDevice) in reached:
            raise CUDARuntimeError(ALREADY)
        reached.add((world.current, peerDevice))

    def deviceCanAccessPeer(device: int, peerDevice: int) -> int:  # noqa: N802, N803
        return int(world.peers and device != peerDevice)

    def memGetInfo() -> tuple[int, int]:  # noqa: N802
        total = world.gpus[world.current].memory
        return total - world.taken(world.current), total

    def setDevice(device: int) -> None:  # noqa: N802
        world.current = device

    def getDeviceCount() -> int:  # noqa: N802
        if world.driver < world.made_for // 1000 * 1000:
            raise CUDARuntimeError(INSUFFICIENT_DRIVER)
        if not world.gpus:
            raise CUDARuntimeError(NO_DEVICE)
        return len(world.gpus)

    def driverGetVersion() -> int:  # noqa: N802
        return world.driver

    def runtimeGetVersion() -> int:  # noqa: N802
        return world.made_for

    def getDeviceProperties(device: int) -> dict[str, Any]:  # noqa: N802
        return {"name": world.gpus[device].name.encode(), "totalGlobalMem": world.gpus[device].memory}

    def deviceGetAttribute(attrib: int, device: int) -> int:  # noqa: N802
        return {97: world.gpus[device].shared, 16: world.gpus[device].multiprocessors}[attrib]

    functions = {name: value for name, value in locals().items() if callable(value)}
    constants = {"memcpyHostToDevice": 1, "memcpyDeviceToHost": 2, "memcpyDeviceToDevice": 3}
    constants |= {"cudaDevAttrMaxSharedMemoryPerBlockOptin": 97, "cudaDevAttrMultiProcessorCount": 16}
    return SimpleNamespace(**functions, **constants, CUDARuntimeError=CUDARuntimeError)


def driver_of() -> SimpleNamespace:
    """cupy.cuda.driver."""

    def funcSetAttribute(f: Any, attribute: int, value: int) -> None:  # noqa: N802
        assert attribute == 8
        f.max_shared = value

    return SimpleNamespace(funcSetAttribute=funcSetAttribute)


class Cuda(SimpleNamespace):
    """cupy.cuda; `cublas` is loaded when it is asked for."""

    world: World

    @property
    def cublas(self) -> object:
        if not self.world.has_cublas:
            raise ImportError("libcublas.so.13: cannot open shared object file")
        return True


def double_of(world: World) -> SimpleNamespace:
    """The module `cupy`."""

    def bound(kind: type) -> type:
        return type(kind.__name__, (kind,), {"world": world})

    pinned = bound(PinnedMemoryPointer)

    def alloc_pinned_memory(size: int) -> Any:
        return pinned(size)

    cuda = Cuda(
        world=world,
        Device=bound(Device),
        Stream=bound(Stream),
        Event=bound(Event),
        alloc_pinned_memory=alloc_pinned_memory,
        runtime=runtime_of(world),
        driver=driver_of(),
        memory=SimpleNamespace(Memory=bound(DeviceMemory)),
        function=SimpleNamespace(Module=bound(Module), Function=Function),
    )
    return SimpleNamespace(__version__="14.2.0", cuda=cuda)


def enter(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Has a world in the place of CuPy and cuBLAS."""
    double = double_of(world)
    monkeypatch.setattr(executor, "cupy", lambda: double)
    monkeypatch.setattr(found, "cupy", lambda: double)
    monkeypatch.setattr(cublas, "library", lambda major: Cublas(world))
    return world


# --- cuBLAS -----------------------------------------------------------------------------------------------------------

STORED: dict[tuple[int, int], Stored] = {(0, 68): "f32", (0, 77): "tf32", (14, 68): "bf16"}
"""By types of operands and of the computation."""


class Cublas:
    """The library as ctypes sees it, computing as the host's machine does."""

    def __init__(self, world: World) -> None:
        self._world = world

    def cublasGetProperty(self, part: int, value: Any) -> int:  # noqa: N802
        value._obj.value = (13, 1, 0)[part]
        return 0

    def cublasCreate_v2(self, handle: Any) -> int:  # noqa: N802
        self._world.refuse_in_capture("a cuBLAS handle is made")
        number = 0x2000 + len(self._world.handles)
        handle._obj.value = number
        self._world.handles[number] = {"gpu": self._world.current, "stream": None, "workspace": None}
        return 0

    def cublasSetStream_v2(self, handle: Any, stream: int) -> int:  # noqa: N802
        found = self._world.handles[handle.value]
        found |= {"stream": self._world.streams[stream], "workspace": None}
        if found["stream"].device_id != found["gpu"]:
            raise Wrong("a cuBLAS handle on another GPU's stream")
        if any(h is not found and h["stream"] is found["stream"] for h in self._world.handles.values()):
            raise Wrong("two cuBLAS handles on one stream")
        return 0

    def cublasSetWorkspace_v2(self, handle: Any, address: int, nbytes: int) -> int:  # noqa: N802
        found = self._world.handles[handle.value]
        assert self._world.room(address, found["gpu"]) >= nbytes
        found["workspace"] = address, nbytes
        return 0

    def cublasSetAtomicsMode(self, handle: Any, mode: int) -> int:  # noqa: N802
        assert mode == 0
        return 0

    def cublasGemmEx(  # noqa: N802
        self, handle: Any, mode_a: int, mode_b: int, m: int, n: int, k: int,
        alpha: int, a: int, type_a: int, lda: int, b: int, type_b: int, ldb: int,
        beta: int, c: int, type_c: int, ldc: int, compute: int, algorithm: int,
    ) -> int:  # fmt: skip
        """C [m, n] = op(A) [m, k] op(B) [k, n], columns one after another: rows are [n, m], so B^T A^T."""
        world, found = self._world, self._world.handles[handle.value]
        if found["workspace"] is None:
            raise Wrong("a cuBLAS handle without workspace")
        if found["gpu"] != world.current:
            raise Wrong("a cuBLAS handle of another GPU than the current one")
        assert ctypes.c_float.from_address(alpha).value == 1
        assert ctypes.c_float.from_address(beta).value == 0
        assert type_a == type_b
        assert (lda, ldb, ldc) == (k if mode_a else m, n if mode_b else k, m)
        stored = STORED[type_a, compute]

        def matrix(address: int, rows: int, columns: int, is_transposed: int) -> Any:
            nbytes = rows * columns * (2 if type_a == 14 else 4)
            assert world.room(address, found["gpu"]) >= nbytes
            lying = (columns, rows) if is_transposed else (rows, columns)
            values = decode(at(address, nbytes), Layout(stored), lying)
            values = round_tf32(values) if stored == "tf32" else values
            return values.T if is_transposed else values

        def work() -> None:
            world.room(found["workspace"][0], found["gpu"])
            made = matrix(b, n, k, mode_b) @ matrix(a, k, m, mode_a)
            made = bf16_bits(made) if type_c == 14 else np.ascontiguousarray(made, np.float32)
            assert world.room(c, found["gpu"]) >= made.nbytes
            at(c, made.nbytes)[:] = made.reshape(-1).view(np.uint8)

        world.queue(found["stream"], work)
        return 0
