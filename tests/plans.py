"""Plans under test: checkers that know only what a plan says, and a machine of bytes that runs it, in any order that
its waits allow."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import combinations
from typing import Any

import numpy as np

from alexnet_ir.ir.layout import Layout, plain
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ir.plan import Arena, Plan, Program, Slot, Step, Stream
from alexnet_ir.ir.target import Target
from alexnet_ir.ir.types import TensorType
from alexnet_ir.ops.update import UpdateOp

NUMPY = {"f32": "f4", "i32": "i4", "i64": "i8", "u8": "u1"}

# --- a target for nets ------------------------------------------------------------------------------------------------

OVERWRITING = {"relu", "tanh", "sigmoid", "identity", "flatten", "unflatten", "bias_add", "dropout", "add", "scale"}


def overwrites(op: Op) -> tuple[tuple[int, int], ...]:
    """What a simple backend can do in place: elementwise ops, and updates over the state that they replace."""
    if isinstance(op, UpdateOp):
        return tuple((i, op.operands.index(name or "parameter")) for i, name in enumerate(op.results))
    return ((0, 0),) if op.name in OVERWRITING else ()


def columns(
    op: Op, operands: Sequence[TensorType], results: Sequence[TensorType], layouts: Sequence[Layout] = ()
) -> int:
    """A workspace for convolutions: one sample's columns, or so."""
    return 4 * operands[0].size // operands[0].shape[0] if op.name.startswith("conv") else 0


SIMPLE = Target("simple", in_place=overwrites, workspace=columns, temporary=columns)


# --- checkers ---------------------------------------------------------------------------------------------------------


def kept(program: Program) -> set[str]:
    """The values that are needed after the last step."""
    found = [shard for output in program.outputs.values() for shard in output.shards]
    found += [update for state in program.states.values() for update in state.updates]
    return {name for name in found if name is not None}


def live(program: Program) -> list[set[str]]:
    """For each position the values that are made and still needed there, or read or made by the step itself; found
    backwards, as compilers do."""
    needed, found = kept(program), []
    for step in reversed(program.steps):
        found.append(needed | set(step.results) | set(step.operands))
        needed = (needed - set(step.results)) | set(step.operands)
    return found[::-1]


def in_place(step: Step, target: Target, after: set[str]) -> set[tuple[str, str]]:
    """The results of a step and the operands that they may share bytes with, which nobody needs after it."""
    found = ((step.results[r], step.operands[o]) for r, o in target.in_place(step.op))
    return {(new, old) for new, old in found if old not in after and step.operands.count(old) == 1}


def check_memory(plan: Plan, target: Target) -> None:
    """Everything fits its arena, is aligned, and shares no byte with what is needed at the same time."""
    states = {shard for state in plan.states.values() for shard in state.shards}
    assert set(plan.types) == {*plan.slots, *plan.aliases, *states} - {None}
    assert set(plan.slots).isdisjoint({*plan.aliases, *states})
    for name, slot in plan.slots.items():
        assert slot.nbytes == plan.types[name].nbytes
        assert slot.offset % target.alignment == 0
        assert 0 <= slot.offset < slot.end <= plan.arenas[plan.device(name)].size
    alive = live(plan)
    for position, step in enumerate(plan.steps):
        after = alive[position + 1] if position + 1 < len(alive) else kept(plan)
        shared = in_place(step, target, after - set(step.results))
        here = sorted(name for name in alive[position] if name in plan.slots)
        for one, other in combinations(here, 2):
            if plan.device(one) == plan.device(other) and plan.slots[one].overlaps(plan.slots[other]):
                assert (one, other) in shared or (other, one) in shared, f"{one} and {other} overlap at {step.name}"
                assert plan.slots[one] == plan.slots[other]
                sources = {shard for planned in plan.inputs.values() for shard in planned.shards}
                assert sources.isdisjoint({one, other}), "an input is overwritten in place"
        if position in plan.workspaces:
            scratch = plan.workspaces[position]
            assert scratch.offset % target.alignment == 0
            assert scratch.end <= plan.arenas[step.stream.device].size
            beside = [plan.slots[name] for name in here if plan.device(name) == step.stream.device]
            assert not any(scratch.overlaps(slot) for slot in beside), f"the workspace of {step.name} overlaps"
    first = [name for planned in plan.inputs.values() for name in planned.shards if name is not None]
    for one, other in combinations(first, 2):
        assert plan.device(one) != plan.device(other) or not plan.slots[one].overlaps(plan.slots[other])


def check_aliases(plan: Plan, target: Target) -> None:
    """An alias replaces that very state, where the target can, after everybody has read the old value."""
    replaced = {
        (update, shard)
        for state in plan.states.values()
        for shard, update in zip(state.shards, state.updates, strict=True)
    }
    made = {name: position for position, step in enumerate(plan.steps) for name in step.results}
    for new, old in plan.aliases.items():
        assert (new, old) in replaced
        step = plan.steps[made[new]]
        assert (step.results.index(new), step.operands.index(old)) in target.in_place(step.op)
        assert old not in kept(plan)
        assert not any(old in later.operands for later in plan.steps[made[new] + 1 :])


def reached(plan: Plan) -> list[int]:
    """For each step the earlier ones that must have ended before it starts, as bits: those of its stream, those that it
    waits for, and theirs."""
    ended: list[int] = []
    last: dict[Stream, int] = {}
    for position, step in enumerate(plan.steps):
        before = [*plan.waits[position], *([last[step.stream]] if step.stream in last else [])]
        assert all(at < position for at in before)
        reach = 0
        for at in before:
            reach |= ended[at] | 1 << at
        ended.append(reach)
        last[step.stream] = position
    return ended


Access = tuple[int | str, Slot, bool]


def accesses(plan: Plan, position: int) -> Iterator[Access]:
    """The memories and bytes that a step reads or writes (True)."""
    step = plan.steps[position]
    for names, writes in ((step.operands, False), (step.results, True)):
        for name in names:
            if name in plan.slots:
                yield plan.device(name), plan.slots[name], writes
            else:
                yield plan.aliases.get(name, name), Slot(0, plan.types[name].nbytes), writes
    if position in plan.workspaces:
        yield step.stream.device, plan.workspaces[position], True


def check_waits(plan: Plan) -> None:
    """Two steps, of which one writes what the other reads or writes, are ordered by streams and waits."""
    before = reached(plan)
    touched = [list(accesses(plan, position)) for position in range(len(plan.steps))]
    for early, late in combinations(range(len(plan.steps)), 2):
        conflict = any(
            where == there and (writes or overwrites) and slot.overlaps(other)
            for where, slot, writes in touched[early]
            for there, other, overwrites in touched[late]
        )
        assert not conflict or before[late] >> early & 1, f"{plan.steps[late].name} runs into {plan.steps[early].name}"
    for position, step in enumerate(plan.steps):
        assert all(plan.steps[at].stream != step.stream for at in plan.waits[position])


def check(plan: Plan, target: Target) -> None:
    """All that holds of every plan."""
    check_memory(plan, target)
    check_aliases(plan, target)
    check_waits(plan)
    for arena in plan.arenas:
        assert arena.lower_bound <= arena.peak <= arena.separate


# --- a machine of bytes -----------------------------------------------------------------------------------------------


class Machine:
    """Runs a plan on arenas of bytes by the ops' meanings; memory that is not yet written holds NaN."""

    def __init__(self, plan: Plan, states: Mapping[str, Array]) -> None:
        self.plan = plan
        self.arenas = [np.full(arena.size, 0xFF, "u1") for arena in plan.arenas]
        self.states = {name: np.ascontiguousarray(a).view("u1").reshape(-1).copy() for name, a in states.items()}

    def bytes(self, name: str) -> Array:
        """The bytes of a value, where they lie."""
        if name in self.plan.slots:
            slot = self.plan.slots[name]
            return self.arenas[self.plan.device(name)][slot.offset : slot.end]
        return self.states[self.plan.aliases.get(name, name)]

    def value(self, name: str) -> Array:
        """The array that a value is."""
        type_ = self.plan.types[name]
        return self.bytes(name).view(NUMPY[type_.dtype]).reshape(type_.shape)

    def step(self, position: int) -> None:
        """One step: it spoils its workspace, then writes its results."""
        step = self.plan.steps[position]
        made = [np.array(array) for array in step.op.evaluate([self.value(name) for name in step.operands])]
        if position in self.plan.workspaces:
            slot = self.plan.workspaces[position]
            self.arenas[step.stream.device][slot.offset : slot.end] = 0xFF
        for name, array in zip(step.results, made, strict=True):
            self.value(name)[...] = array

    def poison(self, needed: set[str]) -> None:
        """NaN over all bytes of the arenas but those of values that are needed."""
        for device, arena in enumerate(self.arenas):
            free = np.ones(len(arena), bool)
            for name in needed:
                if name in self.plan.slots and self.plan.device(name) == device:
                    free[self.plan.slots[name].offset : self.plan.slots[name].end] = False
            arena[free] = 0xFF

    def run(
        self, feeds: Mapping[str, Any], order: Sequence[int] | None = None, after: Callable[[int], None] | None = None
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """The outputs by their shards' names, and the states' shards after the run."""
        for name, value in feeds.items():
            self.value(name)[...] = value
        for position in range(len(self.plan.steps)) if order is None else order:
            self.step(position)
            if after is not None:
                after(position)
        outputs = {n: self.value(n).copy() for o in self.plan.outputs.values() for n in o.shards if n is not None}
        moved = {}
        for state in self.plan.states.values():
            for shard, update in zip(state.shards, state.updates, strict=True):
                if shard is not None:
                    moved[shard] = self.bytes(shard if update is None else update).copy()
        self.states.update(moved)
        return outputs, {name: self.value(name).copy() for name in moved}


def apart(program: Program) -> Plan:
    """The plan in which everything has a place of its own, and nothing runs side by side."""
    ends = [0] * program.devices
    slots = {}
    for name, type_ in program.types.items():
        slots[name] = Slot(ends[type_.device], type_.nbytes)
        ends[type_.device] += -(-type_.nbytes // 64) * 64
    for state in program.states.values():
        for shard in state.shards:
            slots.pop(shard or "", None)
    shared = {field.name: getattr(program, field.name) for field in fields(Program)}
    none = ((),) * len(program.steps)
    return Plan(
        **shared,
        arenas=tuple(Arena(0, end, end, end, 0) for end in ends),
        layouts={name: plain(type_) for name, type_ in program.types.items()},
        slots=slots,
        aliases={},
        workspaces={},
        kept={},
        waits=none,
    )


def legal_order(plan: Plan, choose: random.Random) -> list[int]:
    """Some order in which the steps may run: streams in theirs, and all waits kept."""
    before, done, order = reached(plan), 0, []
    while len(order) < len(plan.steps):
        ready = [p for p in range(len(plan.steps)) if not done >> p & 1 and before[p] & ~done == 0]
        order.append(choose.choice(ready))
        done |= 1 << order[-1]
    return order


def same(found: dict[str, Array], expected: dict[str, Array]) -> None:
    """The same arrays, bit by bit (NaN is NaN)."""
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
