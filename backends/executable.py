"""A plan on NumPy arrays: an arena a device, every value a view of it, every step a kernel on such views."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from alexnet_ir.backends.augment import Augmented
from alexnet_ir.backends.base import Fed
from alexnet_ir.backends.kernel import KernelOf, Types, Work
from alexnet_ir.backends.memory import Float, array_at, assemble, buffer, carve, dtype_of, share
from alexnet_ir.backends.storage import ArrayStorage
from alexnet_ir.backends.streams import run_streams
from alexnet_ir.ir.op import Array
from alexnet_ir.ir.plan import Plan, PlannedInput, Shards, Slot, Stream
from alexnet_ir.ir.types import ITEM_BYTES
from alexnet_ir.ops.shape import Copy


class NumpyExecutable:
    """A plan on its arenas and a storage; products use so many threads. `values` are the views, by the names of the
    values."""

    def __init__(self, plan: Plan, storage: ArrayStorage, kernel_of: KernelOf, float_: Float, threads: int) -> None:
        storage.check(plan)
        self.plan, self.storage, self.threads = plan, storage, threads
        self._float, self._kernel_of = float_, kernel_of
        self.arenas = [buffer(arena.size, float_) for arena in plan.arenas]
        self._kept = self._state_views()
        self.values = {name: self._view(name, slot) for name, slot in plan.slots.items()} | self._kept
        self._spare = self._spares()
        self._work = [self._bind(position) for position in range(len(plan.steps))]
        self._copied = [0] * len(plan.steps)

    def run(self, inputs: Mapping[str, Fed]) -> dict[str, Array]:
        """One run; ValueError for an input that is missing or of another shape. No array is shared with the caller."""
        given = {name: fed(name, planned, inputs, self._float) for name, planned in self.plan.inputs.items()}
        for name, whole in given.items():
            planned = self.plan.inputs[name]
            for device, shard in enumerate(planned.shards):
                if shard is not None:
                    self.values[shard][...] = share(whole, planned.type, device, self.plan.devices)
        self._copied = [0] * len(self.plan.steps)
        with np.errstate(all="ignore"):  # NaN and infinity come out in the loss, which is where they are looked for
            steps = [(planned.stream, waits) for planned, waits in zip(self.plan.steps, self.plan.waits, strict=True)]
            run_streams(steps, self.step, self.threads)
            outputs = {name: assemble(self._shards(out.shards), out.type) for name, out in self.plan.outputs.items()}
        self._replace_states()
        return outputs

    @property
    def exchanged_bytes(self) -> int:
        """What the copies of the last run moved between devices, in the plan's element sizes."""
        return sum(self._copied)

    def step(self, position: int) -> None:
        """Run one step on the values there are."""
        self._work[position]()
        planned = self.plan.steps[position]
        if isinstance(planned.op, Copy):
            self._copied[position] = self.plan.types[planned.results[0]].nbytes

    def _state_views(self) -> dict[str, Array]:
        """The states' shards under their names, and the values that replace them in place."""
        views = {}
        for name, state in self.plan.states.items():
            for shard, array in zip(state.shards, self.storage.shards[name], strict=True):
                if shard is not None and array is not None:
                    views[shard] = array
        views |= {name: views[shard] for name, shard in self.plan.aliases.items()}
        return views

    def _view(self, name: str, slot: Slot) -> Array:
        return array_at(self.arenas[self.plan.device(name)], slot.offset, self.plan.types[name], self._float)

    def _types(self, position: int) -> tuple[Types, Types]:
        """Of a step's operands and results."""
        step = self.plan.steps[position]
        return [self.plan.types[name] for name in step.operands], [self.plan.types[name] for name in step.results]

    def _bind(self, position: int) -> Work:
        step = self.plan.steps[position]
        kernel = self._kernel_of(step.op)
        operands, outs = (tuple(self.values[name] for name in names) for names in (step.operands, step.results))
        if position in self.plan.workspaces:
            offset = self.plan.workspaces[position].offset * self._float.itemsize // ITEM_BYTES["f32"]
            memory = self.arenas[step.stream.device][offset:]
        else:
            memory = self._spare[step.stream]
        return kernel.bind(
            step.op, operands, outs, carve(memory, kernel.scratch(step.op, *self._types(position)), self._float)
        )

    def _spares(self) -> dict[Stream, Array]:
        """For each stream a workspace for those steps that the plan gives none, because it was made for no target."""
        sizes: dict[Stream, int] = {}
        for position, step in enumerate(self.plan.steps):
            need = self._kernel_of(step.op).workspace(step.op, *self._types(position))
            planned = position in self.plan.workspaces
            sizes[step.stream] = max(sizes.get(step.stream, 0), 0 if planned else need)
        return {stream: buffer(size, self._float) for stream, size in sizes.items()}

    def _shards(self, names: Shards) -> list[Array]:
        return [self.values[name] for name in names if name is not None]

    def _replace_states(self) -> None:
        """Copy what replaces a state and does not lie in its memory; states that replace each other are read first."""
        moves = []
        for state in self.plan.states.values():
            for shard, update in zip(state.shards, state.updates, strict=True):
                if shard is not None and update not in (None, shard) and self.plan.aliases.get(str(update)) != shard:
                    source = self.values[str(update)]
                    moves.append((self.values[shard], source.copy() if update in self._kept else source))
        for place, source in moves:
            np.copyto(place, source)


def fed(name: str, planned: PlannedInput, inputs: Mapping[str, Fed], float_: Float) -> Array:
    """What is fed for an input, or its default; ValueError where there is neither, or of another shape."""
    value = inputs.get(name, planned.default)
    if value is None:
        raise ValueError(f"nothing was fed to {name}")
    dtype = dtype_of(planned.type, float_)
    array = value.evaluate(dtype) if isinstance(value, Augmented) else np.asarray(value, dtype)
    if array.shape != planned.type.shape:
        raise ValueError(f"{name} has shape {planned.type.shape}, not {array.shape}")
    return array
