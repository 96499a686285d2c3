"""The machine's C compiler: whether there is one, what it can do, and libraries made by it."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

from alexnet_ir.backends.cpu.isa import Isa, native
from alexnet_ir.backends.emission.commands import Kernel
from alexnet_ir.backends.emission.compile import CompileError, library
from alexnet_ir.backends.streams import cores

FLAGS = (
    "-std=gnu11", "-O3", "-fPIC", "-shared", "-w", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math",
)  # fmt: skip
"""Never -ffast-math: a library linked with it makes the whole process flush subnormal numbers to zero, and NaN is no
longer looked for."""


@dataclass(frozen=True)
class Toolchain:
    """A compiler by its path. `version` is all that it says of itself and of this machine's processor; `isa` is what
    `-march=native` is; `openmp` are the flags for OpenMP (none where it has none)."""

    path: str
    version: str
    isa: Isa
    openmp: tuple[str, ...]

    def command(self, isa: Isa) -> list[str]:
        """What compiles C from standard input; `-o FILE` is still to be said."""
        return [self.path, *FLAGS, *isa.flags, *self.openmp, "-x", "c", "-", "-lm"]

    def functions(self, kernels: Iterable[Kernel], isa: Isa) -> dict[Kernel, Any]:
        """Each kernel's entry point as a function of ctypes, without types; several are compiled at a time."""
        distinct = list(dict.fromkeys(kernels))
        with ThreadPoolExecutor(cores()) as pool:
            return dict(zip(distinct, pool.map(lambda kernel: self._function(kernel, isa), distinct), strict=True))

    def _function(self, kernel: Kernel, isa: Isa) -> Any:
        path = library("native", kernel.name, kernel.source, self.command(isa), self.version)
        return getattr(ctypes.CDLL(str(path)), kernel.name)


@cache
def toolchain() -> Toolchain | None:
    """The compiler that $CC names, else `cc`, `gcc` or `clang`, if it makes libraries of C; None if there is none."""
    named = os.environ.get("CC")
    for name in [named] if named else ["cc", "gcc", "clang"]:
        path = shutil.which(name)
        if path is not None:
            return _probed(path)
    return None


def _probed(path: str) -> Toolchain | None:
    """What a compiler can do; None where it compiles nothing."""
    try:
        macros = _said(path, "-march=native", "-dM", "-E", "-x", "c", os.devnull)
    except CompileError:
        return None
    openmp = ("-fopenmp",) if _links_openmp(path) else ()
    return Toolchain(path, macros, native(macros), openmp)


def _links_openmp(path: str) -> bool:
    """Apple's clang, for one, has no OpenMP."""
    source = "#include <omp.h>\nint threads(void) { return omp_get_max_threads(); }\n"
    try:
        library("native", "openmp", source, [path, "-fPIC", "-shared", "-fopenmp", "-x", "c", "-"], path)
    except CompileError:
        return False
    return True


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise CompileError(done.stderr)
    return done.stdout
