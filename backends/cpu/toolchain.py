"""The machine's C compiler: whether there is one, what it can do, and libraries made by it."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from alexnet_ir.backends.cpu.isa import NATIVE, NEON, Isa, native
from alexnet_ir.backends.emission.cache import folder
from alexnet_ir.backends.emission.commands import Kernel
from alexnet_ir.backends.emission.compile import CompileError, library
from alexnet_ir.backends.streams import cores
from alexnet_ir.diagnostics import AlexnetError, error

FLAGS = (
    "-std=gnu11", "-O3", "-fPIC", "-shared", "-w", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math",
)  # fmt: skip
"""Never -ffast-math: a library linked with it makes the whole process flush subnormal numbers to zero, and NaN is no
longer looked for."""
WAITING = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "5000"}
"""How threads wait for the next kernel: threads that spin for long take the cores from others, those that never do are
late (a tenth of a small net's step). OpenMP reads this when it is loaded; the latter is GNU's."""
KIND = "native"
"""Of what is kept, in the folder of all that was compiled."""
MOST_LINES = 4
"""Of what a compiler says, that are shown."""


@dataclass(frozen=True)
class Toolchain:
    """A compiler: the path of its program, and what else the command begins with. `version` is all that it says of
    itself and of this machine's processor, whose vectors are `isa`; `openmp` are the flags for OpenMP (none
    where it has none)."""

    path: str
    options: tuple[str, ...]
    version: str
    isa: Isa
    openmp: tuple[str, ...]

    def command(self, isa: Isa) -> list[str]:
        """What compiles C from standard input; `-o FILE` is still to be said."""
        return [self.path, *self.options, *FLAGS, *isa.flags, *self.openmp, "-x", "c", "-", "-lm"]

    def runs(self, isa: Isa) -> bool:
        """Whether this machine's processor can run what is compiled for it."""
        return (isa.name == NEON.name) == (self.isa.name == NEON.name) and isa.width <= self.isa.width

    def functions(self, kernels: Iterable[Kernel], isa: Isa) -> dict[Kernel, Any]:
        """Each kernel's entry point as a function of ctypes, without types; several are compiled at a time.
        AlexnetError where the compiler fails, or what it made cannot be loaded."""
        for name, value in WAITING.items():
            os.environ.setdefault(name, value)
        distinct = list(dict.fromkeys(kernels))
        with ThreadPoolExecutor(cores()) as pool:
            return dict(zip(distinct, pool.map(lambda kernel: self._function(kernel, isa), distinct), strict=True))

    def _function(self, kernel: Kernel, isa: Isa) -> Any:
        try:
            path = self._library(kernel, isa)
            try:
                return getattr(ctypes.CDLL(str(path)), kernel.name)
            except OSError:  # a machine that lost its power may keep a file without its content
                path.unlink(missing_ok=True)
                return getattr(ctypes.CDLL(str(self._library(kernel, isa))), kernel.name)
        except (CompileError, OSError) as failure:
            raise self._failed(kernel, str(failure)) from None

    def _failed(self, kernel: Kernel, said: str) -> AlexnetError:
        return error(
            f"the C compiler {self.path} failed on the kernel `{kernel.name}`",
            notes=[line for line in said.splitlines() if line.strip()][:MOST_LINES],
            helps=[
                f"see that {tempfile.gettempdir()} and {folder(KIND)} have room; ALEXNET_IR_CACHE moves the latter",
                "name another compiler in CC; `alexnet-ir compile --emit c -o DIR` writes what it is to compile",
            ],
        )

    def _library(self, kernel: Kernel, isa: Isa) -> Path:
        return library(KIND, kernel.name, kernel.source, self.command(isa), self.version)


@cache
def toolchain() -> Toolchain | None:
    """The compiler that $CC names, else `cc`, `gcc` or `clang`, if it makes libraries of C; None if there is none."""
    named = os.environ.get("CC")
    for command in [named] if named else ["cc", "gcc", "clang"]:
        name, *options = shlex.split(command) or [""]
        path = shutil.which(name)
        found = _probed(path, tuple(options)) if path is not None else None
        if found is not None:
            return found
    return None


def _probed(path: str, options: tuple[str, ...]) -> Toolchain | None:
    """What a compiler can do; None where it makes no library."""
    for flag, openmp in product(NATIVE, (("-fopenmp",), ())):  # Apple's clang, for one, has no OpenMP
        macros = _said(path, *options, flag, "-dM", "-E", "-x", "c", os.devnull)
        found = Toolchain(path, options, macros, native(macros, flag), openmp)
        if macros and _works(found):
            return found
    return None


def _said(*command: str) -> str:
    """Nothing where the command fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return ""
    return "" if done.returncode else done.stdout


def _works(tools: Toolchain) -> bool:
    """Whether it makes a library that can be loaded."""
    source = (
        f"#include <math.h>\n{'#include <omp.h>' * bool(tools.openmp)}\nfloat probe(float x) {{ return sqrtf(x); }}\n"
    )
    try:
        tools.functions([Kernel("probe", source)], tools.isa)
    except AlexnetError:
        return False
    return True
