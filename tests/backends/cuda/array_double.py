"""Arrays for the double of CuPy: memory of its GPUs, work on them queued on the user's stream of each GPU.

Freed memory is poisoned where its stream has come that far, as CuPy's pool hands it out again there: whoever still
needs it on another stream must have the user's stream wait."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from alexnet_ir.backends.cuda.host.machine import at

from .cupy_double import POISON, World


class Buffer:
    """Memory of the current GPU, out of the pool of its current stream."""

    def __init__(self, module: Any, nbytes: int) -> None:
        self.world: World = module.world
        self.stream, self.number = module.cuda.get_current_stream(), self.world.current
        self.memory = module.cuda.memory.Memory(nbytes)

    def __del__(self) -> None:
        memory = self.memory
        self.world.queue(self.stream, lambda: at(memory.ptr, memory.size).fill(POISON))


class DeviceArray:
    """cupy.ndarray. `seen` is its memory as a NumPy array, to be looked at by queued work only."""

    def __init__(self, module: Any, buffer: Buffer, seen: Any) -> None:
        self._module, self._buffer, self._seen = module, buffer, seen
        self.shape, self.dtype, self.nbytes = seen.shape, seen.dtype, seen.nbytes
        self.data = SimpleNamespace(ptr=seen.ctypes.data)
        self.device = module.cuda.Device(buffer.number)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape, "typestr": self.dtype.str, "data": (self.data.ptr, False),
            "strides": self._seen.strides, "version": 3,
        }  # fmt: skip

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __len__(self) -> int:
        return len(self._seen)

    def __getitem__(self, key: Any) -> DeviceArray:
        """A view by slices and numbers, a new array by arrays of positions."""
        if isinstance(key, np.ndarray):
            return self.made(lambda seen: seen[key])
        return DeviceArray(self._module, self._buffer, self._seen[key])

    def copy(self) -> DeviceArray:
        return self.made(np.copy)

    def fill(self, value: float) -> None:
        self._queued(lambda: self._seen.fill(value))

    def get(self) -> Any:
        """A NumPy array, once the stream is through."""
        found: list[Any] = []
        self._queued(lambda: found.append(np.ascontiguousarray(self._seen)))
        self._buffer.stream.synchronize()
        return found[0]

    def made(self, make: Callable[[Any], Any], dtype: Any = None) -> DeviceArray:
        """What this makes of the array, as a new one."""
        like = make(np.zeros(self.shape, self.dtype))
        with self.device:
            result: DeviceArray = self._module.empty(like.shape, dtype or self.dtype)

            def work() -> None:
                result._seen[...] = make(self._seen)

            result._queued(work)
        return result

    def is_contiguous(self) -> bool:
        return bool(self._seen.flags.c_contiguous)

    def _queued(self, work: Callable[[], None]) -> None:
        self._buffer.world.queue(self._buffer.stream, work)


def with_arrays(module: SimpleNamespace, world: World) -> SimpleNamespace:
    """The double of CuPy, with arrays."""
    streams: dict[int, Any] = {}

    def get_current_stream() -> Any:
        if world.current not in streams:
            streams[world.current] = module.cuda.Stream(non_blocking=True)
        return streams[world.current]

    def empty(shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        count = int(np.prod(shape))
        buffer = Buffer(module, max(1, count * np.dtype(dtype).itemsize))
        seen = at(buffer.memory.ptr, count * np.dtype(dtype).itemsize).view(dtype).reshape(shape)
        return DeviceArray(module, buffer, seen)

    def asarray(array: Any) -> DeviceArray:
        if isinstance(array, DeviceArray):
            return array
        found, content = empty(array.shape, array.dtype), array.copy()
        found._queued(lambda: np.copyto(found._seen, content))
        return found

    def ascontiguousarray(array: DeviceArray, dtype: Any = None) -> DeviceArray:
        if array.is_contiguous() and np.dtype(dtype or array.dtype) == array.dtype:
            return array
        return array.made(np.copy, np.dtype(dtype or array.dtype))

    module.world = world
    module.cuda.get_current_stream = get_current_stream
    for function in (empty, asarray, ascontiguousarray):
        setattr(module, function.__name__, function)
    return module
