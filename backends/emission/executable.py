"""A plan on a machine: an arena a device, every step's commands with their addresses, prepared once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from alexnet_ir.backends.augment import Augmented
from alexnet_ir.backends.base import Fed
from alexnet_ir.backends.emission.augment import Intake, Shard
from alexnet_ir.backends.emission.commands import Move, Place, Tensor
from alexnet_ir.backends.emission.encode import NUMPY, decode, encode
from alexnet_ir.backends.emission.machine import Block, Task, on_gpu
from alexnet_ir.backends.emission.program import Emitter
from alexnet_ir.backends.emission.storage import EmittedStorage
from alexnet_ir.backends.executable import fed
from alexnet_ir.backends.memory import assemble, share
from alexnet_ir.ir.layout import plain
from alexnet_ir.ir.op import Array
from alexnet_ir.ir.plan import Plan, PlannedInput, PlannedOutput, Stream


class EmittedExecutable:
    """A plan with its storage. What is fed and fetched has a fixed place, so that what is prepared can be replayed."""

    def __init__(self, plan: Plan, storage: EmittedStorage, emitter: Emitter) -> None:
        storage.check_layouts(plan)
        self.plan, self.storage, self.machine = plan, storage, storage.machine
        self._arenas = [storage.arena(device, arena.size) for device, arena in enumerate(plan.arenas)]
        self._emitter = emitter
        self._emissions = [emitter.step(plan, step) for step in plan.steps]
        self.tasks = [self._task(position) for position in range(len(plan.steps))]
        self.prepared = self.machine.prepare(self.tasks)
        prologue = [self._task(position, True) for position in sorted(plan.kept)]
        self._prologue = self.machine.prepare(prologue) if prologue else None
        self._seen = -1
        self._between: list[Block] = []
        replacements = self._replacements()
        self._replace = self.machine.prepare(replacements) if replacements else None
        self._copied = 0
        self._intakes: dict[str, Intake] = {}

    def run(self, inputs: Mapping[str, Fed]) -> dict[str, Array]:
        """One run; ValueError for an input that is missing or of another shape. What lies on a GPU is copied from there
        to the input's place, which a captured graph needs to be always the same."""
        self.feed(inputs)
        if self._prologue and self._seen != self.storage.changes:
            self._prologue()
        self.storage.changes += 1  # the arena's content at least, which others use too
        self._seen = self.storage.changes
        self.prepared()
        self._copied = sum(self._moved(task) for task in self.tasks)
        outputs = {name: self._fetched(output) for name, output in self.plan.outputs.items()}
        if self._replace:
            self._replace()
        return outputs

    def feed(self, inputs: Mapping[str, Fed]) -> None:
        """Bring the inputs of one run to where they belong."""
        given = {name: _fed(name, planned, inputs) for name, planned in self.plan.inputs.items()}
        for name, whole in given.items():
            planned = self.plan.inputs[name]
            if isinstance(whole, Augmented):
                self._intake(name)(whole, planned.type, self.plan.devices)
                continue
            for device, shard in enumerate(planned.shards):
                if shard is not None:
                    self._feed(device, shard, share(whole, planned.type, device, self.plan.devices))

    @property
    def exchanged_bytes(self) -> int:
        """What the transfers of the last run moved between devices."""
        return self._copied

    def address(self, value: str) -> int:
        """Where a value lies on its device."""
        if value in self.plan.slots:
            return self._arenas[self.plan.device(value)].address + self.plan.slots[value].offset
        return self.storage.addresses[self.plan.aliases.get(value, value)]

    def _feed(self, device: int, shard: str, content: Array) -> None:
        layout, address = self.plan.layouts[shard], self.address(shard)
        if on_gpu(content):
            assert layout == plain(self.plan.types[shard]), "what is fed lies as the host has it"
            self.machine.adopt(device, address, content, NUMPY[layout.stored])
        else:
            self.machine.upload(device, address, encode(content, layout))

    def _intake(self, name: str) -> Intake:
        """Made when something augmented is fed to this input for the first time."""
        if name not in self._intakes:
            shards = []
            for device, shard in enumerate(self.plan.inputs[name].shards):
                if shard is not None:
                    place = Place("result", 0, self.plan.nbytes(shard))
                    result = Tensor(self.plan.types[shard].shape, self.plan.layouts[shard], place)
                    shards.append(Shard(device, result, self.address(shard)))
            self._intakes[name] = Intake(self.machine, self._emitter, shards)
        return self._intakes[name]

    def _task(self, position: int, is_prologue: bool = False) -> Task:
        """What a step runs every time, or before the first time."""
        step, emission, resolve = self.plan.steps[position], self._emissions[position], partial(self._resolve, position)
        if is_prologue:
            return Task(step.name, Stream(step.stream.device), (), emission.prologue, resolve)
        commands = emission.commands if position in self.plan.kept else emission.all
        return Task(step.name, step.stream, self.plan.waits[position], commands, resolve)

    def _resolve(self, position: int, place: Place) -> int:
        step = self.plan.steps[position]
        if place.kind == "workspace":
            kept, offset = self.plan.kept.get(position), place.number
            if place.nbytes == 0:  # of a step that may have no workspace at all
                offset = 0
            elif kept is None:
                offset += self.plan.workspaces[position].offset
            elif offset < self._emissions[position].kept:
                offset += kept.offset
            else:
                offset += self.plan.workspaces[position].offset - self._emissions[position].kept
            return self._arenas[step.stream.device].address + offset
        return self.address((step.operands if place.kind == "operand" else step.results)[place.number])

    def _replacements(self) -> list[Task]:
        """What copies, once the outputs are fetched, what replaces a state and does not lie in its memory; states that
        replace each other are read before any is written."""
        reads: list[Task] = []
        writes: list[Task] = []
        for state in self.plan.states.values():
            for device, (shard, update) in enumerate(zip(state.shards, state.updates, strict=True)):
                if shard is None or update in (None, shard) or self.plan.aliases.get(str(update)) == shard:
                    continue
                nbytes, source = self.plan.nbytes(shard), self.address(str(update))
                if update in self.storage.addresses:
                    block = self.machine.allocate(device, nbytes)
                    self._between.append(block)
                    reads.append(_copy(shard, device, nbytes, source, block.address))
                    source = block.address
                writes.append(_copy(shard, device, nbytes, source, self.address(shard)))
        return reads + writes

    def _moved(self, task: Task) -> int:
        """Bytes that a transfer moves to another device."""
        if not task.stream.is_link:
            return 0
        return sum(command.source.nbytes for command in task.commands if isinstance(command, Move))

    def _fetched(self, output: PlannedOutput) -> Array:
        shards = []
        for device, shard in enumerate(output.shards):
            if shard is not None:
                shape, layout = self.plan.types[shard].shape, self.plan.layouts[shard]
                memory = self.machine.download(device, self.address(shard), self.plan.nbytes(shard))
                shards.append(decode(memory, layout, shape))
        return assemble(shards, output.type)


def _fed(name: str, planned: PlannedInput, inputs: Mapping[str, Fed]) -> Array | Augmented:
    """What is fed for an input: a NumPy array of its type; an array on a GPU, or what is made there, of its shape."""
    value: Any = inputs.get(name)
    if isinstance(value, Augmented):
        value.check()
    elif not on_gpu(value):
        return fed(name, planned, inputs, np.dtype("f4"))
    if tuple(value.shape) != planned.type.shape:
        raise ValueError(f"{name} has shape {planned.type.shape}, not {tuple(value.shape)}")
    return value  # type: ignore[no-any-return]


def _copy(name: str, device: int, nbytes: int, source: int, target: int) -> Task:
    """A task that copies bytes on a device."""
    places = Place("operand", 0, nbytes), Place("result", 0, nbytes)
    addresses = dict(zip(places, (source, target), strict=True))
    return Task(f"{name}.replaced", Stream(device), (), (Move(*places),), addresses.__getitem__)
