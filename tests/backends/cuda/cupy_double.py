"""A double of CuPy: GPUs of one's own choice whose kernels the host runner runs. It has the names and signatures that
`executor` and `card` use, and is stricter than a GPU.

Work that is queued runs when somebody synchronises, in an order that takes every freedom that streams and events leave:
the streams get ranks by chance, and the best that can go on always does. So a wait that is missing gives other results
for some seed. Whatever only goes well by luck is refused: work on another device's stream, memory of another device,
freed or never allocated, allocation while a graph is captured, a cuBLAS handle without workspace."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from types import SimpleNamespace, TracebackType
from typing import Any

import numpy as np
import pytest

from alexnet_ir.backends.cuda import cublas, executor, found
from alexnet_ir.backends.cuda.host.runner import HostKernel, Memory
from alexnet_ir.backends.cuda.nvrtc import Compiled, Usage
from alexnet_ir.backends.emission.commands import Kernel

from .cublas_double import Cublas
from .cupy_world import CUDARuntimeError, Event, Model, Stream, World, Wrong

__all__ = ["POISON", "Model", "World", "Wrong", "double_of", "enter", "pickled"]

OUT_OF_MEMORY, INSUFFICIENT_DRIVER, NO_DEVICE = 2, 35, 100  # cudaError_t
PEER_UNSUPPORTED, ALREADY, NEVER_ENABLED, CAPTURE_UNSUPPORTED = 217, 704, 705, 900
POISON = 0xFF
HOST_KERNELS: dict[Kernel, HostKernel] = {}


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
        if self.id != self.world.current:
            self.world.enter(self.id)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, what: BaseException | None, where: TracebackType | None
    ) -> None:
        self.world.enter(self._before.pop())

    def use(self) -> None:
        self.world.enter(self.id)

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
        is_lost = world.loses and (srcDevice, dstDevice) in reached
        world.queue(queue, None if is_lost else lambda: world.copy(dst, src, size, rooms))

    reached: set[tuple[int, int]] = set()

    def deviceEnablePeerAccess(peerDevice: int) -> None:  # noqa: N802, N803
        if (world.current, peerDevice) in reached:
            raise CUDARuntimeError(ALREADY)
        reached.add((world.current, peerDevice))

    def deviceDisablePeerAccess(peerDevice: int) -> None:  # noqa: N802, N803
        if (world.current, peerDevice) not in reached:
            raise CUDARuntimeError(NEVER_ENABLED)
        reached.remove((world.current, peerDevice))

    def deviceCanAccessPeer(device: int, peerDevice: int) -> int:  # noqa: N802, N803
        return int(world.peers and device != peerDevice)

    def memGetInfo() -> tuple[int, int]:  # noqa: N802
        total = world.gpus[world.current].memory
        return total - world.taken(world.current), total

    def setDevice(device: int) -> None:  # noqa: N802
        world.enter(device)

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
