"""Where there is no GPU: emitted C; NumPy where there is no C compiler either."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from alexnet_ir.backends.base import Executable, Storage
from alexnet_ir.backends.cpu.isa import Isa
from alexnet_ir.backends.cpu.machine import NativeMachine
from alexnet_ir.backends.cpu.program import CEmitter
from alexnet_ir.backends.cpu.toolchain import toolchain
from alexnet_ir.backends.emission.executable import EmittedExecutable
from alexnet_ir.backends.emission.storage import EmittedStorage
from alexnet_ir.backends.numpy.backend import NumpyBackend
from alexnet_ir.backends.streams import cores
from alexnet_ir.diagnostics import counted, error
from alexnet_ir.ir.op import Array
from alexnet_ir.ir.plan import Plan
from alexnet_ir.ir.target import Target


@dataclass(frozen=True)
class CpuBackend:
    """Logical devices that share so many threads (None: one a core). `isa` is what to emit for (None: what this machine
    is); `exact` forbids what rounds more than a direct convolution does."""

    name: ClassVar[str] = "cpu"
    devices: int = 1
    threads: int | None = None
    isa: Isa | None = None
    exact: bool = False

    @cached_property
    def emitter(self) -> CEmitter | None:
        """What makes commands of steps; None where there is no C compiler and no processor was named."""
        tools = toolchain()
        isa = self.isa or (tools.isa if tools else None)
        threads = self.threads_each if tools is None or tools.openmp else 1
        return CEmitter(isa, threads, self.exact) if isa else None

    @property
    def threads_each(self) -> int:
        """Of a device."""
        return max(1, (self.threads or cores()) // self.devices)

    @property
    def about(self) -> str:
        """What runs, in words: `avx512, 2 threads`."""
        each = " each" if self.devices > 1 else ""
        return f"{self.emitter.isa.name if self.emitter else 'NumPy'}, {counted(self.threads_each, 'thread')}{each}"

    @property
    def remark(self) -> str | None:
        """What is not as it could be, in words."""
        tools = toolchain()
        if tools is None:
            named = os.environ.get("CC")
            why = f"CC names {named}, which makes no library of C" if named else "there is no C compiler that works"
            return f"{why}, so NumPy does the work, several times slower: install gcc or clang"
        if not tools.openmp:
            return f"{tools.path} has no OpenMP, so kernels run on one thread: another compiler can be named in CC"
        return None

    @property
    def target(self) -> Target:
        """What passes must know of it."""
        return self.emitter.target if self.emitter else self._numpy().target

    def storage(self, plan: Plan, values: Mapping[str, Array]) -> Storage:
        """States in this process' memory."""
        machine = self._machine()
        return EmittedStorage(plan, values, machine) if machine else self._numpy().storage(plan, values)

    def build(self, plan: Plan, storage: Storage) -> Executable:
        """The plan's commands, compiled; AlexnetError where the compiler fails."""
        if isinstance(storage, EmittedStorage):
            assert self.emitter is not None
            return EmittedExecutable(plan, storage, self.emitter)
        return self._numpy().build(plan, storage)

    def _numpy(self) -> NumpyBackend:
        return NumpyBackend(threads=self.threads_each)

    def _machine(self) -> NativeMachine | None:
        """AlexnetError for a processor that this machine's is not."""
        if self.emitter is None:
            return None
        tools, isa = toolchain(), self.emitter.isa
        if tools is None:
            raise error(f"C for {isa.name} needs a C compiler to run", helps=["install gcc or clang"])
        if not tools.runs(isa):
            raise error(f"C for {isa.name} does not run on this machine", helps=[f"it runs C for {tools.isa.name}"])
        return NativeMachine(tools, isa, self.threads_each, self.devices)
