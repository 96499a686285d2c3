"""C++ made into libraries, kept in a folder of the user so that each is compiled once."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from alexnet_ir.backends.emission.compile import CompileError
from alexnet_ir.backends.emission.compile import library as kept_library

HERE = Path(__file__).parent
RUNTIME = ("fibers.cpp", "blocks.cpp", "warps.cpp", "checks.cpp", "hooks.cpp")
HEADERS = ("calls.h", "cuda_host.h", "runtime.h")

COMMON = ("-std=gnu++17", "-fPIC", "-shared", "-U_FORTIFY_SOURCE", "-ffp-contract=off", "-fno-math-errno")
KERNEL = (
    *COMMON,
    "-w",
    "-g1",
    "-gdwarf-4",  # addr2line knows it better
    "-fno-exceptions",
    "-fno-rtti",
    "-fno-gnu-unique",  # or the library would stay loaded, and its static shared arrays be another's
    "-fno-strict-aliasing",  # a float4 read where floats were written is usual in CUDA
    "-fstack-clash-protection",  # a stack that overflows meets the page that nobody may touch
)
FAST = (*KERNEL, "-fwrapv", "-O1")
CHECK = (
    *KERNEL,
    "-O1",
    "-fsanitize=thread",  # calls of a function for each access; the functions are ours (checks.cpp)
    "-fsanitize=bounds,alignment,integer-divide-by-zero,signed-integer-overflow",
    "-nostdlib",  # so without libtsan and libubsan
)
LIBRARIES = ("-lm", "-lc", "-lgcc")


@cache
def compiler() -> str | None:
    """$CXX, or g++, if it is there."""
    return shutil.which(os.environ.get("CXX") or "g++")


@cache
def _compiler_version() -> str:
    path = compiler()
    if path is None:
        raise CompileError("the host runner needs g++ (or another compiler named by $CXX)")
    return path + subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout


def library(name: str, source: str, flags: Sequence[str], sources: Sequence[Path] = ()) -> Path:
    """The shared library of `source` (or of files), compiled unless it was before."""
    depends = "".join([_compiler_version(), _header_text(), *(path.read_text(encoding="utf-8") for path in sources)])
    files = ["-x", "c++", *map(str, sources or ("-",)), *LIBRARIES]
    return kept_library("host", name, source, [str(compiler()), *flags, "-I", str(HERE), *files], depends)


@cache
def _header_text() -> str:
    return "".join((HERE / name).read_text(encoding="utf-8") for name in HEADERS)


@cache
def runtime() -> Path:
    """The library of the runtime."""
    flags = [*COMMON, "-O2", "-g1", "-Wall"]
    return library("runtime", "", flags, [HERE / name for name in RUNTIME])
