"""The states of a net in NumPy arrays: one buffer a device, shared by the executables of the net."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from alexnet_ir.backends.memory import Float, aligned, array_at, assemble, buffer, share
from alexnet_ir.ir.op import Array
from alexnet_ir.ir.plan import PlannedState, Program
from alexnet_ir.ir.types import TensorType


class ArrayStorage:
    """The shards of a plan's states. `shards[name][device]` is an array in that device's buffer (None where the device
    has no share)."""

    def __init__(self, plan: Program, values: Mapping[str, Array], float_: Float) -> None:
        missing = [name for name in plan.states if name not in values]
        if missing:
            raise ValueError(f"no values for {', '.join(missing)}")
        self.devices = plan.devices
        self._types = {name: state.type for name, state in plan.states.items()}
        self.shards: dict[str, list[Array | None]] = {name: [None] * plan.devices for name in plan.states}
        for device in range(plan.devices):
            self._place(plan, device, float_)
        for name in plan.states:
            self.write(name, np.asarray(values[name]))

    def _place(self, plan: Program, device: int, float_: Float) -> None:
        offsets, end = {}, 0
        for name, state in plan.states.items():
            if state.shards[device] is not None:
                offsets[name], end = end, end + aligned(self._local(state.type).nbytes)
        memory = buffer(end, float_)
        for name, offset in offsets.items():
            self.shards[name][device] = array_at(memory, offset, self._local(self._types[name]), float_)

    def _local(self, type_: TensorType) -> TensorType:
        return TensorType(type_.dtype, type_.local(self.devices))

    def read(self, name: str) -> Array:
        """A copy of a whole state."""
        return assemble([shard for shard in self.shards[name] if shard is not None], self._types[name])

    def write(self, name: str, value: Array) -> None:
        """Give a state a value of its shape."""
        type_ = self._types[name]
        if value.shape != type_.shape:
            raise ValueError(f"{name} has shape {type_.shape}, not {value.shape}")
        for device, shard in enumerate(self.shards[name]):
            if shard is not None:
                shard[...] = share(value, type_, device, self.devices)

    def __contains__(self, name: str) -> bool:
        return name in self._types

    def check(self, plan: Program) -> None:
        """ValueError where it lacks a state of the plan, or holds one otherwise than the plan places it."""
        missing = [name for name in plan.states if name not in self]
        if missing:
            raise ValueError(f"the storage lacks {', '.join(missing)}")
        other = [name for name, state in plan.states.items() if not self._holds(name, state, plan.devices)]
        if other:
            raise ValueError(f"the storage has another type or placement of {', '.join(other)} than the plan")

    def _holds(self, name: str, state: PlannedState, devices: int) -> bool:
        here = [shard is not None for shard in self.shards[name]]
        return (self.devices, self._types[name], here) == (devices, state.type, [s is not None for s in state.shards])
