"""Gives every value of a program a place in its device's arena."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

from alexnet_ir.ir.plan import Arena, Plan, Program, Slot
from alexnet_ir.ir.target import Target


@dataclass(frozen=True)
class PlanMemory:
    """Each value in a place of its own."""

    name: ClassVar[str] = "plan-memory"
    target: Target = Target("none")

    def run(self, program: Program) -> Plan:
        """The plan of a program."""
        ends = [0] * program.devices
        slots = {}
        for name, type_ in program.types.items():
            slots[name] = Slot(ends[type_.device], type_.nbytes)
            ends[type_.device] += -(-type_.nbytes // self.target.alignment) * self.target.alignment
        arenas = tuple(Arena(0, end, end, end, 0) for end in ends)
        shared = {field.name: getattr(program, field.name) for field in fields(Program)}
        return Plan(**shared, arenas=arenas, slots=slots, aliases={}, workspaces={}, waits=((),) * len(program.steps))
