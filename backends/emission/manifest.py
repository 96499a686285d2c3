"""The kernels of a plan as files to read: each distinct one with the layers that it serves, and a manifest of all
commands in order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alexnet_ir.backends.emission.commands import (
    Argument,
    Call,
    Command,
    Emission,
    Gemm,
    Kernel,
    Launch,
    Meaning,
    Place,
    Table,
)
from alexnet_ir.backends.emission.program import Emitter
from alexnet_ir.ir.plan import Plan, Step


@dataclass(frozen=True)
class Emitted:
    """A step of a plan, by position, and what it runs."""

    position: int
    step: Step
    emission: Emission

    @property
    def where(self) -> str:
        """`conv1 (line 14)`: the node and the line of the model that it serves."""
        return f"{self.step.name} (line {self.step.span.line})" if self.step.span else self.step.name


def emitted(plan: Plan, emitter: Emitter) -> tuple[Emitted, ...]:
    """All steps of a plan that run something."""
    found = (Emitted(position, step, emitter.step(plan, step)) for position, step in enumerate(plan.steps))
    return tuple(one for one in found if one.emission.all)


def file_names(steps: Sequence[Emitted], suffix: str) -> dict[Kernel, str]:
    """A file for each distinct kernel: named after the first step it serves, and its entry point."""
    names: dict[Kernel, str] = {}
    for one in steps:
        for command in one.emission.all:
            if isinstance(command, Launch | Call) and command.kernel not in names:
                base = re.sub(r"[^\w.-]", "_", f"{one.step.name}.{command.kernel.name}")
                same = sum(name.startswith(f"{base}.") for name in names.values())
                names[command.kernel] = f"{base}.{same + 1}{suffix}" if same else f"{base}{suffix}"
    return names


def files(plan: Plan, emitter: Emitter) -> dict[str, str]:
    """Sources by file name. Each begins with what it serves, how it is launched there, and how to compile it."""
    steps = emitted(plan, emitter)
    return {
        name: _header(kernel, steps, emitter) + kernel.source
        for kernel, name in file_names(steps, emitter.suffix).items()
    }


def _header(kernel: Kernel, steps: Sequence[Emitted], emitter: Emitter) -> str:
    lines = [f"{kernel.name}: {', '.join(map(' '.join, emitter.about.items()))}. Serves"]
    for one in steps:
        for command in one.emission.all:
            if isinstance(command, Launch | Call) and command.kernel == kernel:
                lines += [f"  {one.where}{_shape(command)}", *(f"    {why}" for why in [one.emission.reason] if why)]
    lines.append(f"To compile it alone: {emitter.by_hand}")
    return "".join(f"// {line}\n" for line in dict.fromkeys(lines))


def _shape(command: Launch | Call) -> str:
    if isinstance(command, Call):
        return ""
    return f": grid {command.grid}, block {command.block}, {command.shared:,} bytes of shared memory"


def manifest(plan: Plan, emitter: Emitter) -> dict[str, object]:
    """All commands in order, as plain data; addresses as the plan's values and offsets into a step's workspace."""
    steps = emitted(plan, emitter)
    names = file_names(steps, emitter.suffix)
    return {
        **emitter.about,
        "layouts": {name: str(layout) for name, layout in plan.layouts.items()},
        "steps": [
            {
                "step": one.position,
                "name": one.step.name,
                "stream": str(one.step.stream),
                "line": one.step.span.line if one.step.span else None,
                "waits": plan.waits[one.position],
                "workspace_bytes": one.emission.workspace,
                "reason": one.emission.reason,
                "commands": [_command(command, one.step, names) for command in one.emission.all],
            }
            for one in steps
        ],
    }


def _command(command: Command, step: Step, names: dict[Kernel, str]) -> dict[str, object]:
    if isinstance(command, Launch):
        return {
            "launch": command.kernel.name,
            "file": names[command.kernel],
            "grid": command.grid,
            "block": command.block,
            "shared_bytes": command.shared,
            "arguments": [_argument(argument, step) for argument in command.arguments],
        }
    if isinstance(command, Call):
        return {
            "call": command.kernel.name,
            "file": names[command.kernel],
            "arguments": [_argument(argument, step) for argument in command.arguments],
        }
    if isinstance(command, Meaning):
        return {
            "meaning": command.op.name,
            "operands": [_place(tensor.place, step) for tensor in command.operands],
            "results": [_place(tensor.place, step) for tensor in command.results],
        }
    if isinstance(command, Gemm):
        return {
            "gemm": [command.m, command.n, command.k],
            "a": _argument(command.a, step),
            "b": _argument(command.b, step),
            "out": _argument(command.out, step),
            "transposed": command.transposed,
            "stored": [command.stored, command.out_stored],
        }
    return {"move": _argument(command.source, step), "to": _argument(command.target, step)}


def _argument(argument: Argument, step: Step) -> object:
    if isinstance(argument, Place):
        return _place(argument, step)
    if isinstance(argument, Table):
        return {"table": [_place(place, step) for place in argument.places]}
    return {np.dtype(type(argument)).name: argument.item()}


def _place(place: Place, step: Step) -> str:
    if place.kind == "workspace":
        return f"workspace+{place.number}"
    return (step.operands if place.kind == "operand" else step.results)[place.number]
