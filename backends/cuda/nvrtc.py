"""CUDA C++ to cubins by NVRTC, through ctypes: no GPU, driver, CUDA toolkit or CuPy needed.

The library is looked for in Python's `nvidia` wheels, then in the toolkit that CUDA_PATH or CUDA_HOME names, then where
the system's loader looks.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from alexnet_ir.diagnostics import error

OPTIONS = (
    "-std=c++17",
    "-ftz=true",
    "--device-as-default-execution-space",
    "-lineinfo",  # profilers show lines
    "--ptxas-options=-v",  # the log says what a kernel uses
)
"""Beside the architecture; the second and third are what CuPy compiles everything with."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What each thread of a kernel takes: registers, and bytes of stack and of spilled registers; and the bytes of
    static shared memory that a block takes."""

    registers: int
    shared: int
    stack: int
    spill_stores: int
    spill_loads: int


@dataclass(frozen=True, slots=True)
class Compiled:
    """A kernel as machine code for one architecture, and what the compiler said."""

    cubin: bytes
    log: str
    usage: Usage


class CompileError(Exception):
    """A kernel that does not compile: a mistake of this program, not of its user."""


def compile(source: str, name: str, arch: str) -> Compiled:
    """Kernel `name` of a source for an architecture such as sm_90; CompileError with the compiler's log otherwise."""
    library = nvrtc().library
    program = ctypes.c_void_p()
    _check(library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), f"{name}.cu".encode(), 0, None, None))
    try:
        options = [option.encode() for option in (f"-arch={arch}", *OPTIONS)]
        code = library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
        log = _bytes("ProgramLog", program).replace(b"\0", b"").decode(errors="replace").strip()
        if code:
            raise CompileError(f"kernel {name} does not compile for {arch}:\n{log or _said(code)}")
        return Compiled(_bytes("CUBIN", program), log, usage(log, name, arch))
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def usage(log: str, name: str, arch: str) -> Usage:
    """What a log says of a kernel, functions that it calls included."""
    _, found, rest = log.partition(f"Compiling entry function '{name}' for")
    if not found:
        raise CompileError(f'no kernel {name} for {arch}: is there an `extern "C" __global__` function of that name?')
    section = rest.partition("Compiling entry function")[0]
    frames = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", section)
    stack, stores, loads = (sum(int(frame[i]) for frame in frames) for i in range(3))
    registers, shared = (re.search(pattern, section) for pattern in (r"Used (\d+) registers", r"(\d+) bytes smem"))
    assert registers
    return Usage(int(registers[1]), int(shared[1]) if shared else 0, stack, stores, loads)


def _check(code: int) -> None:
    if code:
        raise RuntimeError(f"NVRTC: {_said(code)}")


def _said(code: int) -> str:
    return ctypes.string_at(nvrtc().library.nvrtcGetErrorString(code)).decode()


def _bytes(what: str, program: ctypes.c_void_p) -> bytes:
    """Something of a program that NVRTC gives as a size and a copy."""
    size = ctypes.c_size_t()
    _check(getattr(nvrtc().library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    content = ctypes.create_string_buffer(size.value)
    _check(getattr(nvrtc().library, f"nvrtcGet{what}")(program, content))
    return content.raw


# --- the library ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Nvrtc:
    """The library, where it was found, and its version."""

    library: ctypes.CDLL
    place: str
    version: tuple[int, int]


@cache
def nvrtc() -> Nvrtc:
    """The first one that can be loaded; AlexnetError if there is none."""
    failures = []
    for place in places():
        try:
            return _load(place)
        except OSError as failure:
            if os.path.isabs(place):
                failures.append(f"{place}: {failure}")
    raise error(
        "CUDA kernels cannot be compiled: NVRTC, NVIDIA's compiler library, was not found",
        notes=failures or ["looked for in Python's nvidia packages, $CUDA_PATH, $CUDA_HOME and the system's libraries"],
        helps=[
            'on a machine with an NVIDIA driver: pip install "alexnet-ir[cuda13]" (or cuda12)',
            'without one, to compile only: pip install "nvidia-cuda-nvrtc==13.0.*"',
        ],
    )


def places() -> Iterator[str]:
    """Files that may be NVRTC, the best first; at the end bare names, for the system's loader."""
    spec = find_spec("nvidia")
    for folder in (spec and spec.submodule_search_locations) or ():
        yield from _libraries(Path(folder), ("*/lib", "*/bin", "*/bin/*"))
    for variable in ("CUDA_PATH", "CUDA_HOME"):
        if os.environ.get(variable):
            yield from _libraries(Path(os.environ[variable]), ("lib64", "lib", "bin", "bin/*"))
    yield from ("libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so", "nvrtc64_130_0.dll", "nvrtc64_120_0.dll")


def _libraries(root: Path, folders: tuple[str, ...]) -> list[str]:
    """NVRTC in these folders, the newest first; there are variants (`alt`) and parts (`builtins`) of similar names."""
    files = (file for folder in folders for file in root.glob(f"{folder}/*nvrtc*"))
    found = {int(name[1] or name[2]): str(file) for file in files if (name := _NAME.fullmatch(file.name))}
    return [found[version] for version in sorted(found, reverse=True)]


_NAME = re.compile(r"libnvrtc\.so\.(\d+)|nvrtc64_(\d+)0_0\.dll")


def _load(place: str) -> Nvrtc:
    """The library at a place. It opens its part `builtins` by name, so that has to be there before."""
    if os.path.isabs(place):
        for part in sorted(Path(place).parent.glob("*nvrtc-builtins*")):
            if re.search(r"builtins(\.so\.[\d.]+|64_\d+\.dll)$", part.name):
                ctypes.CDLL(str(part), mode=ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(place)
    library.nvrtcGetErrorString.restype = ctypes.c_void_p
    major, minor = ctypes.c_int(), ctypes.c_int()
    library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return Nvrtc(library, place, (major.value, minor.value))
