"""Gives every value of a program a place in its device's arena, and says which steps wait for which.

Before:  conv1 = conv(image, conv1.weight)     relu1 = relu(conv1)     pool1, pool1.argmax = maxpool(relu1)
After:   image in bytes 0 to 600, conv1 and relu1 in 640 to 1640 (relu overwrites its operand), pool1 in 0 to 250

Values share bytes where one is dead before the other is made. What replaces a state is written right over it where the
target can do so, once everybody else has read the old value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

from alexnet_ir.ir.plan import Arena, Plan, Program, Slot
from alexnet_ir.ir.target import Bytes, Target
from alexnet_ir.passes.allocate import allocate
from alexnet_ir.passes.hazards import waits
from alexnet_ir.passes.layout import ChooseLayouts
from alexnet_ir.passes.lifetimes import (
    Buffer,
    Layouts,
    aliases,
    buffers,
    lifetimes,
    most_live,
    rounded,
    workspaces,
)


@dataclass(frozen=True)
class PlanMemory:
    """One arena a device. Inputs are fed before every run: their memory is used again after their last reader."""

    name: ClassVar[str] = "plan-memory"
    target: Target = Target("none")

    def run(self, program: Program) -> Plan:
        """The plan of a program."""
        life, layouts = lifetimes(program), ChooseLayouts(self.target).run(program)
        aliased = aliases(program, self.target, life, layouts)
        values = buffers(program, self.target, life, layouts, aliased)
        spaces, kept = workspaces(program, self.target, layouts)
        taken = [*values, *spaces.values(), *kept.values()]
        offsets, sizes = _allocated(taken, program.devices)
        slots = {
            name: Slot(offset, layouts[name].nbytes(program.types[name].shape))
            for buffer, offset in zip(values, offsets, strict=False)
            for name in buffer.values
        }
        scratch = _slots(spaces, offsets[len(values) :])
        shared = {field.name: getattr(program, field.name) for field in fields(Program)}
        return Plan(
            **shared,
            arenas=tuple(self._arena(program, layouts, taken, device, size) for device, size in enumerate(sizes)),
            layouts=layouts,
            slots=slots,
            aliases=aliased,
            workspaces=scratch,
            kept=_slots(kept, offsets[len(values) + len(spaces) :]),
            waits=waits(program, slots, aliased, scratch),
        )

    def _arena(self, program: Program, layouts: Layouts, taken: Sequence[Buffer], device: int, size: int) -> Arena:
        """A device's figures."""
        here = {n: layouts[n].nbytes(t.shape) for n, t in program.types.items() if t.device == device}
        states = sum(
            here.pop(shard) for state in program.states.values() if (shard := state.shards[device]) is not None
        )
        values = sum(rounded(nbytes, self.target) for nbytes in here.values())
        spaces = sum(buffer.nbytes for buffer in taken if buffer.device == device and not buffer.values)
        live = most_live(buffer for buffer in taken if buffer.device == device)
        temporary = _most(program, self.target.temporary, device)
        return Arena(states, size, states + live, states + values + spaces, temporary)


def _slots(spaces: Mapping[int, Buffer], offsets: Sequence[int]) -> dict[int, Slot]:
    """Of workspaces by position."""
    return {
        position: Slot(offset, buffer.nbytes)
        for (position, buffer), offset in zip(spaces.items(), offsets, strict=False)
    }


def _allocated(taken: Sequence[Buffer], devices: int) -> tuple[list[int], list[int]]:
    """The offset of each buffer in its device's arena, and the arenas' sizes."""
    offsets, sizes = [0] * len(taken), []
    for device in range(devices):
        here = [index for index, buffer in enumerate(taken) if buffer.device == device]
        found, size = allocate([taken[index] for index in here])
        sizes.append(size)
        for index, offset in zip(here, found, strict=True):
            offsets[index] = offset
    return offsets, sizes


def _most(program: Program, nbytes: Bytes, device: int) -> int:
    """The largest of these numbers of bytes among a device's steps."""
    types = program.types
    return max(
        (
            nbytes(step.op, [types[name] for name in step.operands], [types[name] for name in step.results])
            for step in program.steps
            if step.stream.device == device
        ),
        default=0,
    )
