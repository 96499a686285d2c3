"""One GPU, through CuPy: its main stream, copies from and to the host, and kernels loaded on it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from alexnet_ir.backends.cuda.gpu import GPUS, Gpu
from alexnet_ir.backends.cuda.nvrtc import Compiled
from alexnet_ir.backends.emission.commands import Kernel, Launch
from alexnet_ir.ir.op import Array

OLDEST = 75
"""The least compute capability that kernels are written for, times ten."""
TEGRA = {72, 87, 88}
"""Chips that run no machine code but their own, whatever generation they are of."""
CHUNK, CHUNKS = 4 << 20, 4
"""Bytes of a pinned buffer that copies from and to the host pass through, and how many a GPU has."""
USUAL_SHARED = 48 << 10
"""Bytes of shared memory that a block may have without being asked."""
MAX_DYNAMIC_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES


class Card:
    """A GPU by its number; `cuda` is the module of CuPy."""

    def __init__(self, cuda: Any, number: int) -> None:
        self._cuda, self.number = cuda, number
        self.functions: dict[Kernel, Any] = {}
        self._shared: dict[Kernel, int] = {}
        self._turn = 0
        with self.current():
            self.main = cuda.Stream(non_blocking=True)
            self._chunks = [(cuda.alloc_pinned_memory(CHUNK), self.event()) for _ in range(CHUNKS)]

    def current(self) -> Any:
        """A context in which calls concern this GPU."""
        return self._cuda.Device(self.number)

    def event(self) -> Any:
        """An event for the streams of the current GPU."""
        return self._cuda.Event(disable_timing=True)

    def upload(self, address: int, content: Array) -> None:
        """Bytes to the GPU, after all that was queued before: the host goes on once they are in pinned memory."""
        runtime = self._cuda.runtime
        for start in range(0, content.size, CHUNK):
            chunk, copied = self._chunks[self._turn]
            self._turn = (self._turn + 1) % CHUNKS
            piece = content[start : start + CHUNK]
            copied.synchronize()
            ctypes.memmove(chunk.ptr, piece.ctypes.data, piece.size)
            runtime.memcpyAsync(address + start, chunk.ptr, piece.size, runtime.memcpyHostToDevice, self.main.ptr)
            copied.record(self.main)

    def download(self, address: int, nbytes: int) -> Array:
        """Bytes to the host, after all that was queued before."""
        runtime, found = self._cuda.runtime, np.empty(nbytes, np.uint8)
        chunk, copied = self._chunks[self._turn]
        copied.synchronize()
        for start in range(0, nbytes, CHUNK):
            piece = found[start : start + CHUNK]
            runtime.memcpyAsync(chunk.ptr, address + start, piece.size, runtime.memcpyDeviceToHost, self.main.ptr)
            self.main.synchronize()
            ctypes.memmove(piece.ctypes.data, chunk.ptr, piece.size)
        return found

    def load(self, compiled: Mapping[Kernel, Compiled], launches: Iterable[Launch]) -> None:
        """Have these launches' kernels ready."""
        for launch in launches:
            kernel = launch.kernel
            if kernel not in self.functions:
                module = self._cuda.function.Module()
                module.load(compiled[kernel].cubin)
                self.functions[kernel] = module.get_function(kernel.name)
            if launch.shared > self._shared.get(kernel, USUAL_SHARED):
                self._shared[kernel] = launch.shared
                driver, function = self._cuda.driver, self.functions[kernel]
                driver.funcSetAttribute(function.ptr, MAX_DYNAMIC_SHARED, launch.shared)


def gpu_of(cuda: Any, number: int) -> Gpu:
    """What the GPU of this number can do: as a generation that is known, else as the nearest before it whose machine
    code it runs, else on its own name."""
    capability = int(cuda.Device(number).compute_capability)
    runtime, known = cuda.runtime, {int(arch.removeprefix("sm_")): gpu for arch, gpu in GPUS.items()}
    before = [other for other in known if other // 10 == capability // 10 and other <= capability not in TEGRA]
    gpu = known[max(before)] if before else Gpu(f"sm_{capability}", 0, 0, tensor_cores=capability >= 80)
    return replace(
        gpu,
        shared=runtime.deviceGetAttribute(runtime.cudaDevAttrMaxSharedMemoryPerBlockOptin, number),
        multiprocessors=runtime.deviceGetAttribute(runtime.cudaDevAttrMultiProcessorCount, number),
    )
