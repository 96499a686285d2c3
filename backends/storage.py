"""The states of a net on their devices, shared by the executables of the net; the host sees whole values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from alexnet_ir.backends.memory import Float, aligned, array_at, assemble, buffer, share
from alexnet_ir.ir.op import Array
from alexnet_ir.ir.plan import PlannedState, Program
from alexnet_ir.ir.types import TensorType


class ShardedStorage(ABC):
    """The shards of a program's states, wherever they lie."""

    def __init__(self, program: Program, values: Mapping[str, Array]) -> None:
        missing = [name for name in program.states if name not in values]
        if missing:
            raise ValueError(f"no values for {', '.join(missing)}")
        self.devices = program.devices
        self._types = {name: state.type for name, state in program.states.items()}
        self._here = {name: [shard is not None for shard in state.shards] for name, state in program.states.items()}

    @abstractmethod
    def get(self, name: str, device: int) -> Array:
        """A device's shard, as the host sees it."""

    @abstractmethod
    def put(self, name: str, device: int, shard: Array) -> None:
        """Give a device its shard."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a state's shards."""
        return self._types[name].local(self.devices)

    def read(self, name: str) -> Array:
        """A copy of a whole state."""
        return assemble([self.get(name, device) for device in self._where(name)], self._types[name])

    def write(self, name: str, value: Array) -> None:
        """Give a state a value of its shape."""
        type_ = self._types[name]
        if value.shape != type_.shape:
            raise ValueError(f"{name} has shape {type_.shape}, not {value.shape}")
        for device in self._where(name):
            self.put(name, device, share(value, type_, device, self.devices))

    def __contains__(self, name: str) -> bool:
        return name in self._types

    def check(self, program: Program) -> None:
        """ValueError where it lacks a state of the program, or holds one otherwise than that places it."""
        missing = [name for name in program.states if name not in self]
        if missing:
            raise ValueError(f"the storage lacks {', '.join(missing)}")
        other = [name for name, state in program.states.items() if not self._holds(name, state, program.devices)]
        if other:
            raise ValueError(f"the storage has another type or placement of {', '.join(other)} than the plan")

    def _where(self, name: str) -> list[int]:
        """The devices that have a shard."""
        return [device for device, is_here in enumerate(self._here[name]) if is_here]

    def _holds(self, name: str, state: PlannedState, devices: int) -> bool:
        here = [shard is not None for shard in state.shards]
        return (self.devices, self._types[name], self._here[name]) == (devices, state.type, here)


class ArrayStorage(ShardedStorage):
    """Shards in NumPy arrays, one buffer a device. `shards[name][device]` is an array in that device's buffer (None
    where the device has no share)."""

    def __init__(self, program: Program, values: Mapping[str, Array], float_: Float) -> None:
        super().__init__(program, values)
        self.shards: dict[str, list[Array | None]] = {name: [None] * self.devices for name in program.states}
        for device in range(self.devices):
            self._place(device, float_)
        for name in program.states:
            self.write(name, np.asarray(values[name]))

    def _place(self, device: int, float_: Float) -> None:
        offsets, end = {}, 0
        for name in self.shards:
            if device in self._where(name):
                offsets[name], end = end, end + aligned(self._local(name).nbytes)
        memory = buffer(end, float_)
        for name, offset in offsets.items():
            self.shards[name][device] = array_at(memory, offset, self._local(name), float_)

    def _local(self, name: str) -> TensorType:
        return TensorType(self._types[name].dtype, self.shape(name))

    def get(self, name: str, device: int) -> Array:
        found = self.shards[name][device]
        assert found is not None
        return found

    def put(self, name: str, device: int, shard: Array) -> None:
        self.get(name, device)[...] = shard
