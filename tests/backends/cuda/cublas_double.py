"""A double of the cuBLAS library, as ctypes sees it."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from alexnet_ir.backends.cuda.host.machine import at
from alexnet_ir.backends.emission.encode import bf16_bits, decode, round_tf32
from alexnet_ir.ir.layout import Layout, Stored

from .cupy_world import World, Wrong

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
        self._world.handles[number] = {"gpu": self._world.current, "stream": None, "workspace": None, "made": set()}
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
        product = mode_a, mode_b, m, n, k, type_a, type_c
        if found["stream"].capture and product not in found["made"]:
            raise Wrong("cuBLAS may have to load something while a graph is captured")
        found["made"].add(product)
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
