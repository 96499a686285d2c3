"""Programs for two devices, written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from alexnet_ir.ir.initial import Constant
from alexnet_ir.ir.layout import plain
from alexnet_ir.ir.op import Op
from alexnet_ir.ir.plan import Arena, Plan, PlannedInput, PlannedOutput, PlannedState, Program, Slot, Step, Stream
from alexnet_ir.ir.types import PARTIAL, On, Split, f32
from alexnet_ir.ops.elementwise import Add, Scale
from alexnet_ir.ops.shape import Copy

ROUNDS = 5
SHARE = f32(2, 300)


def step(op: Op, operands: Sequence[str], result: str, device: int) -> Step:
    """One op on a device, or over the link from it."""
    return Step(op, tuple(operands), (result,), result, None, Stream(device, op.to if isinstance(op, Copy) else -1))


def exchanging(rounds: int = ROUNDS) -> Program:
    """v0 = x; in each round a device adds what the other has to a half of its own. A state sums up what comes out."""
    steps, types = [], {}
    for device in range(2):
        types |= {f"x@{device}": SHARE.at(On(device)), f"w@{device}": SHARE.at(On(device))}
    names = ["x@0", "x@1"]
    for number in range(rounds):
        made = []
        for device in range(2):
            other = 1 - device
            half, came, total = (f"{what}{number}@{device}" for what in ("half", "came", "v"))
            steps += [
                step(Copy(device), [names[other]], came, other),
                step(Scale(0.5), [names[device]], half, device),
                step(Add(), [half, came], total, device),
            ]
            types |= {name: SHARE.at(On(device)) for name in (half, came, total)}
            made.append(total)
        names = made
    for device in range(2):
        steps.append(step(Add(), [f"w@{device}", names[device]], f"next@{device}", device))
        types[f"next@{device}"] = SHARE.at(On(device))
    whole = f32(4, 300).at(Split(0))
    shards, kept, updates = (tuple(f"{name}@{d}" for d in range(2)) for name in ("x", "w", "next"))
    outputs = {
        "v": PlannedOutput(whole, tuple(names)),
        "sum": PlannedOutput(SHARE.at(PARTIAL), tuple(names)),
        "first": PlannedOutput(SHARE, tuple(names)),
        "one": PlannedOutput(SHARE.at(On(1)), (None, names[1])),
        "next": PlannedOutput(whole, updates),
    }
    inputs = {"x": PlannedInput(whole, None, shards)}
    states = {"w": PlannedState(whole, Constant(0), "parameter", kept, updates)}
    return Program("exchanging", 2, inputs, states, outputs, tuple(steps), types)


def separate(program: Program) -> Plan:
    """Each value in a place of its own; a step waits for what it reads of other streams."""
    slots, ends = {}, [0] * program.devices
    kept = {shard for state in program.states.values() for shard in state.shards}
    for name, type_ in program.types.items():
        if name not in kept:
            slots[name] = Slot(ends[type_.device], type_.nbytes)
            ends[type_.device] += -(-type_.nbytes // 64) * 64
    made = {name: position for position, one in enumerate(program.steps) for name in one.results}
    waits = tuple(
        tuple(made[n] for n in one.operands if n in made and program.steps[made[n]].stream != one.stream)
        for one in program.steps
    )
    shared = {field.name: getattr(program, field.name) for field in fields(Program)}
    layouts = {name: plain(type_) for name, type_ in program.types.items()}
    arenas = tuple(Arena(0, e, e, e, 0) for e in ends)
    return Plan(**shared, arenas=arenas, layouts=layouts, slots=slots, aliases={}, workspaces={}, kept={}, waits=waits)
