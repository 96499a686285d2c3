"""Where there is no GPU: emitted C; NumPy where there is no C compiler either."""

from __future__ import annotations

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
        """What makes commands of steps; None where there is no C compiler and none was asked for."""
        tools = toolchain()
        isa = self.isa or (tools.isa if tools else None)
        threads = max(1, (self.threads or cores()) // self.devices)
        return CEmitter(isa, threads, self.exact) if isa else None

    @property
    def remark(self) -> str | None:
        """What is not as it could be, in words."""
        tools = toolchain()
        if tools is None:
            return "there is no C compiler, so NumPy does the work, several times slower: install gcc or clang"
        if not tools.openmp:
            return f"{tools.path} has no OpenMP, so one thread does the work: another compiler can be named in CC"
        return None

    @property
    def target(self) -> Target:
        """What passes must know of it."""
        return self.emitter.target if self.emitter else NumpyBackend().target

    def storage(self, plan: Plan, values: Mapping[str, Array]) -> Storage:
        """States in this process' memory."""
        machine = self._machine()
        return EmittedStorage(plan, values, machine) if machine else NumpyBackend().storage(plan, values)

    def build(self, plan: Plan, storage: Storage) -> Executable:
        """The plan's commands, compiled."""
        if isinstance(storage, EmittedStorage):
            assert self.emitter is not None
            return EmittedExecutable(plan, storage, self.emitter)
        return NumpyBackend().build(plan, storage)

    def _machine(self) -> NativeMachine | None:
        tools = toolchain()
        if tools is None or self.emitter is None:
            return None
        return NativeMachine(tools, self.emitter.isa, self.emitter.threads, self.devices)
