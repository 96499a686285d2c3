"""C++ made into libraries, kept in a folder of the user so that each is compiled once."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from alexnet_ir.backends.emission.cache import folder, write_whole

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


class CompileError(Exception):
    """The compiler's words."""


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
    """The shared library of `source` (and of files), compiled unless it was before."""
    key = hashlib.sha256("\0".join([source, *flags, _compiler_version(), _header_text()]).encode())
    for path in sources:
        key.update(path.read_bytes())
    target = folder("host") / f"{name}-{key.hexdigest()[:24]}.so"
    if not target.exists():
        with tempfile.TemporaryDirectory() as place:
            made = Path(place) / target.name
            _compile(source, [*flags, "-I", str(HERE), "-o", str(made)], sources)
            write_whole(target, made.read_bytes())
    return target


def _compile(source: str, flags: Sequence[str], sources: Sequence[Path]) -> None:
    files = ["-x", "c++", *map(str, sources or ("-",))]
    path = compiler()
    assert path is not None
    done = subprocess.run([path, *flags, *files, *LIBRARIES], input=source, capture_output=True, text=True)
    if done.returncode:
        raise CompileError(done.stderr)


@cache
def _header_text() -> str:
    return "".join((HERE / name).read_text(encoding="utf-8") for name in HEADERS)


@cache
def runtime() -> Path:
    """The library of the runtime."""
    flags = [*COMMON, "-O2", "-g1", "-Wall"]
    return library("runtime", "", flags, [HERE / name for name in RUNTIME])
