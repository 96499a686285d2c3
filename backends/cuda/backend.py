"""The backend of emitted CUDA kernels, on whatever machine runs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from alexnet_ir.backends.base import Storage
from alexnet_ir.backends.cuda.executor import CupyMachine
from alexnet_ir.backends.cuda.gpu import Gpu, Precision
from alexnet_ir.backends.cuda.program import CudaEmitter
from alexnet_ir.backends.cuda.room import needed, shortage
from alexnet_ir.backends.emission.executable import EmittedExecutable
from alexnet_ir.backends.emission.machine import Machine
from alexnet_ir.backends.emission.storage import EmittedStorage
from alexnet_ir.ir.op import Array
from alexnet_ir.ir.plan import Plan
from alexnet_ir.ir.target import Target


@dataclass(frozen=True)
class CudaBackend:
    """Emits for `gpu` and runs on `machine`; without one, plans can be made and looked at, but not run."""

    name: ClassVar[str] = "cuda"
    gpu: Gpu
    precision: Precision
    machine: Machine | None = None

    @cached_property
    def emitter(self) -> CudaEmitter:
        """What makes commands of steps."""
        return CudaEmitter(self.gpu, self.precision)

    @property
    def target(self) -> Target:
        """What passes must know of it."""
        return self.emitter.target

    def check_room(self, plan: Plan, batch: int, at_batch: Callable[[int], Plan]) -> None:
        """AlexnetError where the GPUs have too little memory for a plan of so many images; it names a batch that fits,
        found by plans at others."""
        if isinstance(self.machine, CupyMachine):
            free = [self.machine.free_bytes(device) for device in range(plan.devices)]
            refusal = shortage(plan, free, self.machine.devices, batch, lambda other: needed(at_batch(other)))
            if refusal is not None:
                raise refusal

    def storage(self, plan: Plan, values: Mapping[str, Array]) -> EmittedStorage:
        """States in the devices' memory."""
        assert self.machine is not None
        return EmittedStorage(plan, values, self.machine)

    def build(self, plan: Plan, storage: Storage) -> EmittedExecutable:
        """The plan's commands, prepared."""
        assert isinstance(storage, EmittedStorage)
        return EmittedExecutable(plan, storage, self.emitter)
