"""Products by cuBLAS, through ctypes on the library that CuPy has loaded: CuPy's own `gemmEx` sets the stream in every
call, which takes a handle's workspace away, and then a captured graph allocates for itself.

One handle serves one stream: on several streams at once it would not give the same bits every time."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any

from alexnet_ir.backends.emission.commands import Gemm
from alexnet_ir.ir.layout import Stored

WORKSPACE = 32 << 20
"""Bytes of device memory for each handle."""
TYPES: dict[Stored, int] = {"f32": 0, "tf32": 0, "bf16": 14}
"""cudaDataType of what is stored: CUDA_R_32F, CUDA_R_16BF."""
COMPUTE: dict[Stored, int] = {"f32": 68, "tf32": 77, "bf16": 68}
"""cublasComputeType_t by the operands: CUBLAS_COMPUTE_32F, ..._32F_FAST_TF32. Sums are float32 in all."""
NORMAL, TRANSPOSED = 0, 1
DEFAULT_ALGORITHM = -1
ATOMICS_NOT_ALLOWED = 0

_P, _I = ctypes.c_void_p, ctypes.c_int
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cublasCreate_v2": (_P,),
    "cublasSetStream_v2": (_P, _P),
    "cublasSetWorkspace_v2": (_P, _P, ctypes.c_size_t),
    "cublasSetAtomicsMode": (_P, _I),
    "cublasGetProperty": (_I, _P),
    "cublasGemmEx": (_P, _I, _I, _I, _I, _I, _P, _P, _I, _I, _P, _I, _I, _P, _P, _I, _I, _I, _I),
}
_STATUS = {
    1: "not initialised", 3: "out of memory", 7: "invalid value", 8: "not for this GPU", 13: "execution failed",
    14: "internal error", 15: "not supported",
}  # fmt: skip


def library(major: int) -> Any:
    """cuBLAS for a major version of CUDA, which is there once CuPy has loaded it; OSError where it is not."""
    found = ctypes.CDLL(f"cublas64_{major}.dll" if sys.platform == "win32" else f"libcublas.so.{major}")
    for name, types in _SIGNATURES.items():
        getattr(found, name).argtypes = types
    return found


def version(cublas: Any) -> str:
    """As `13.1.0`."""
    numbers = []
    for part in range(3):
        number = ctypes.c_int()
        _check(cublas.cublasGetProperty(part, ctypes.byref(number)))
        numbers.append(str(number.value))
    return ".".join(numbers)


class Handle:
    """cuBLAS on one stream of the current device. `workspace` is the address of WORKSPACE bytes there, which the owner
    of the handle keeps."""

    def __init__(self, cublas: Any, stream: int, workspace: int) -> None:
        self._cublas = cublas
        self._handle = ctypes.c_void_p()
        _check(cublas.cublasCreate_v2(ctypes.byref(self._handle)))
        _check(cublas.cublasSetStream_v2(self._handle, stream))  # this first: it takes a workspace away
        _check(cublas.cublasSetWorkspace_v2(self._handle, workspace, WORKSPACE))
        _check(cublas.cublasSetAtomicsMode(self._handle, ATOMICS_NOT_ALLOWED))
        self._one, self._zero = ctypes.c_float(1), ctypes.c_float(0)

    def product(self, command: Gemm, a: int, b: int, out: int) -> Callable[[], None]:
        """What queues the product, of operands at these addresses.

        cuBLAS has columns one after another, so that it sees every row-major matrix transposed: it is given
        out^T [n, m] = b^T a^T."""
        m, n, k = command.m, command.n, command.k
        modes = [TRANSPOSED if transposed else NORMAL for transposed in command.transposed]
        rows_a, rows_b = (m if command.transposed[0] else k), (k if command.transposed[1] else n)
        stored, made = TYPES[command.stored], TYPES[command.out_stored]
        arguments = (
            self._handle, modes[1], modes[0], n, m, k,
            ctypes.addressof(self._one), b, stored, rows_b, a, stored, rows_a,
            ctypes.addressof(self._zero), out, made, n, COMPUTE[command.stored], DEFAULT_ALGORITHM,
        )  # fmt: skip

        def queue() -> None:
            _check(self._cublas.cublasGemmEx(*arguments))

        return queue


def _check(status: int) -> None:
    if status:
        raise RuntimeError(f"cuBLAS: {_STATUS.get(status, f'status {status}')}")
