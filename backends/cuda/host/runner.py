"""Runs emitted kernels on the CPU: the very same source, compiled by g++, a fiber for each thread of a block."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock

import numpy as np

from alexnet_ir.backends.cuda.host.compile import CHECK, FAST, compiler, library, runtime
from alexnet_ir.backends.emission.commands import Dim3, Kernel
from alexnet_ir.backends.emission.compile import CompileError

__all__ = ["CompileError", "HostKernel", "LaunchError", "Memory", "compiler"]

ORDERS = ("forward", "reverse", "shuffled")


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that a kernel may touch, and what to call them in a report."""

    address: int
    nbytes: int
    name: str


_one_launch = Lock()  # the runtime knows one launch at a time


class LaunchError(Exception):
    """What a kernel did that it must not; the message is the report."""


class Parameter(ctypes.Structure):
    """HostParameter in cuda_host.h."""

    _fields_ = (
        ("kind", ctypes.c_char),
        ("element", ctypes.c_char),
        ("size", ctypes.c_short),
        ("element_size", ctypes.c_short),
    )


NAMES = {"f": "float", "i": "int", "u": "unsigned", "s": "struct"}


class HostKernel:
    """A kernel made ready to run. With `check` every access is looked at, which is slow, and what is wrong raises
    LaunchError; without, only what stops a launch does."""

    def __init__(self, kernel: Kernel, check: bool = False) -> None:
        self._name, self._check = kernel.name, check
        self._runtime = _runtime()
        self._path = library(kernel.name, _source(kernel), CHECK if check else FAST)
        self._library = ctypes.CDLL(str(self._path))
        found = (Parameter * 128)()
        count = self._library.host_signature(found)
        self._parameters = list(found)[:count]

    def __call__(
        self,
        grid: Dim3,
        block: Dim3,
        arguments: Sequence[Memory | np.generic],
        *,
        shared: int = 0,
        regions: Sequence[Memory] = (),
        order: str = "forward",
        seed: int = 0,
    ) -> None:
        """Run all blocks and return. `regions`: further memory that may be touched, through a table of addresses.
        Blocks and threads run in `order`."""
        _allowed(grid, block, shared)
        values = self._values(arguments)
        addresses = (ctypes.c_void_p * max(1, len(values)))(*(ctypes.addressof(value) for value in values))
        memories = [*(a for a in arguments if isinstance(a, Memory)), *regions] if self._check else []
        sizes = [(ctypes.c_uint * 3)(*lengths) for lengths in (grid, block)]
        with _one_launch:
            self._runtime.host_configure(ORDERS.index(order), seed, self._check)
            for memory in memories:
                self._runtime.host_region(memory.address, memory.nbytes, memory.name.encode())
            self._library.host_launch_kernel(*sizes, ctypes.c_uint(shared), addresses)
            report: bytes = self._runtime.host_report()
        if report:
            raise LaunchError(f"{self._name}:\n{located(report.decode(), self._path)}".rstrip())

    def _values(self, arguments: Sequence[Memory | np.generic]) -> list[ctypes.Array[ctypes.c_char]]:
        if len(arguments) != len(self._parameters):
            raise TypeError(f"{self._name} takes {len(self._parameters)} arguments, not {len(arguments)}")
        pairs = enumerate(zip(arguments, self._parameters, strict=True))
        return [self._value(number, argument, parameter) for number, (argument, parameter) in pairs]

    def _value(self, number: int, argument: Memory | np.generic, parameter: Parameter) -> ctypes.Array[ctypes.c_char]:
        kind, size = parameter.kind.decode(), parameter.size
        wanted = "a pointer" if kind == "p" else f"{NAMES[kind]} of {size} bytes"
        if isinstance(argument, Memory):
            given, fits = "a pointer", kind == "p"
            content = argument.address.to_bytes(8, "little")
        elif isinstance(argument, np.generic):
            given = str(argument.dtype)
            fits = size == argument.dtype.itemsize and kind == {"V": "s", "b": "u"}.get(
                argument.dtype.kind, argument.dtype.kind
            )
            content = argument.tobytes()
        else:
            given, fits, content = type(argument).__name__, False, b""
        if not fits:
            raise TypeError(f"argument {number} of {self._name} is {wanted}; given is {given}")
        return ctypes.create_string_buffer(content, len(content))


def _allowed(grid: Dim3, block: Dim3, shared: int) -> None:
    """What any GPU refuses to launch."""
    threads = block[0] * block[1] * block[2]
    limits = (2**31 - 1, 65535, 65535, 1024, 1024, 64)
    if not all(1 <= length <= limit for length, limit in zip((*grid, *block), limits, strict=True)) or threads > 1024:
        raise LaunchError(f"no GPU launches a grid of {grid} blocks of {block} threads")
    if not 0 <= shared <= 227 << 10:
        raise LaunchError(f"no GPU has {shared} bytes of shared memory for a block")


_DYNAMIC = re.compile(r"extern\s+__shared__\s+(?:__align__\s*\(\s*\d+\s*\)\s*)?([\w\s]+?)\s+(\w+)\s*\[\s*\]\s*;")


def _source(kernel: Kernel) -> str:
    """What g++ compiles: the header, the source with dynamic shared arrays as pointers, and how to call it."""
    text = _DYNAMIC.sub(r"\1 *\2 = (\1 *)host_dynamic_shared();", kernel.source)
    return f'#include "cuda_host.h"\n#line 1 "{kernel.name}.cu"\n{text}\n#line 1 "launch"\nHOST_KERNEL({kernel.name})\n'


@cache
def _runtime() -> ctypes.CDLL:
    found = ctypes.CDLL(str(runtime()), mode=ctypes.RTLD_GLOBAL)
    found.host_report.restype = ctypes.c_char_p
    found.host_region.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
    return found


# --- reports ----------------------------------------------------------------------------------------------------------


def located(report: str, library: Path) -> str:
    """The report with places in the code (`@0x1234`, an offset into the library) as file and line; the
    first of lines that differ only in numbers of threads and bytes."""
    text = re.sub(r"@(0x[0-9a-f]+|\?)", lambda found: _place(found[1], str(library)), report)
    alike = {re.sub(r"(?<![:\d])\d+", "", line): line for line in reversed(text.splitlines())}
    return "\n".join(reversed(alike.values()))


@cache
def _place(offset: str, library: str) -> str:
    """`file.cu:12`, and by which calls that were inlined."""
    tool = shutil.which("addr2line")
    if tool is None or offset == "?":
        return "an unknown line"
    done = subprocess.run([tool, "-i", "-e", library, offset], capture_output=True, text=True)
    frames = [Path(line.split(" ")[0]).name for line in done.stdout.splitlines()]
    innermost, *callers = [frame for frame in frames if not frame.startswith(("cuda_host.h", "launch"))] or ["?"]
    return innermost + "".join(f", called in {caller}" for caller in callers)
