"""From when to when each value of a program is needed, and which values can have one memory, one after another.

Positions are those of the steps; -1 is before the first, and as many as there are steps is after the last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate

from alexnet_ir.ir.layout import Layout
from alexnet_ir.ir.plan import PlannedInput, PlannedOutput, PlannedState, Program, Shards
from alexnet_ir.ir.target import Target

BEFORE = -1
Layouts = Mapping[str, Layout]
"""Of all values of a program."""


@dataclass(frozen=True, slots=True)
class Buffer:
    """Bytes of a device's arena that are taken from one position to another, both included. `values` have them one
    after another, each in place of the one before; a workspace has none."""

    device: int
    nbytes: int
    first: int
    last: int
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lifetimes:
    """Where each value is made (`first`) and where it is read for the last time (`last`)."""

    first: dict[str, int]
    last: dict[str, int]
    states: frozenset[str]

    def frees(self, value: str, position: int) -> bool:
        """Whether the step at this position may overwrite the value, which it reads: it was made by a step, and nobody
        reads it later."""
        return self.first[value] > BEFORE and self.last[value] == position


def shards(planned: Iterable[PlannedInput | PlannedOutput | PlannedState]) -> Iterator[str]:
    """The names of all shards that there are."""
    for each in planned:
        yield from names(each.shards)


def names(found: Shards) -> Iterator[str]:
    """Those of the devices that have one."""
    return (name for name in found if name is not None)


def replacements(program: Program) -> Iterator[tuple[str, str]]:
    """Each state's shard that is replaced after the run, and the value that replaces it."""
    for state in program.states.values():
        for shard, update in zip(state.shards, state.updates, strict=True):
            if shard is not None and update is not None:
                yield shard, update


def lifetimes(program: Program) -> Lifetimes:
    """A value lives from the step that makes it to its last reader; outputs, and what replaces a state, to the end.
    What a transfer reads lives until its result is read for the first time, so that nobody need wait for the transfer
    to have the memory."""
    first = dict.fromkeys(program.types, BEFORE)
    for position, step in enumerate(program.steps):
        first.update(dict.fromkeys(step.results, position))
    states = frozenset(shards(program.states.values()))
    last, arrivals = dict(first), _arrivals(program)
    for position, step in enumerate(program.steps):
        for name in step.operands:
            sent = step.stream.is_link and name not in states
            last[name] = max(last[name], arrivals[step.results[0]] if sent else position)
    kept = (*shards(program.outputs.values()), *(update for _, update in replacements(program)))
    last.update(dict.fromkeys(kept, len(program.steps)))
    return Lifetimes(first, last, states)


def _arrivals(program: Program) -> dict[str, int]:
    """For the result of each transfer the position of its first reader, else the transfer's."""
    found = {}
    for position, step in reversed(tuple(enumerate(program.steps))):
        found.update(dict.fromkeys(step.operands, position))
        if step.stream.is_link:
            found.setdefault(step.results[0], position)
    return found


def aliases(program: Program, target: Target, life: Lifetimes, layouts: Layouts) -> dict[str, str]:
    """The values that are written right over the state's shard which they replace, and that shard: made by a step that
    may overwrite it, after everybody else has read the old value."""
    updates = {update: shard for shard, update in replacements(program)}
    found = {}
    for position, step in enumerate(program.steps):
        for result, operand in target.in_place(step.op):
            new, old = step.results[result], step.operands[operand]
            free = life.last[old] == position and step.operands.count(old) == 1
            if updates.get(new) == old and free and layouts[new] == layouts[old]:
                found[new] = old
    return found


def buffers(
    program: Program, target: Target, life: Lifetimes, layouts: Layouts, aliased: dict[str, str]
) -> list[Buffer]:
    """The memory that all values but the states and the aliased ones need."""
    owners = _owners(program, target, life, layouts, aliased)
    shared: dict[str, list[str]] = {}
    for name in program.types:
        if name not in life.states and name not in aliased:
            shared.setdefault(owners.get(name, name), []).append(name)
    return [
        Buffer(
            program.device(owner),
            rounded(layouts[owner].nbytes(program.types[owner].shape), target),
            life.first[owner],
            max(life.last[name] for name in values),
            tuple(values),
        )
        for owner, values in shared.items()
    ]


def _owners(
    program: Program, target: Target, life: Lifetimes, layouts: Layouts, aliased: dict[str, str]
) -> dict[str, str]:
    """For each value that is made in place the value that had the memory first."""
    owners: dict[str, str] = {}
    for position, step in enumerate(program.steps):
        overwritten: set[str] = set()
        for result, operand in target.in_place(step.op):
            new, old = step.results[result], step.operands[operand]
            if (
                new not in owners
                and new not in aliased
                and old not in aliased
                and old not in overwritten
                and life.frees(old, position)
                and step.operands.count(old) == 1
                and layouts[new] == layouts[old]
                and program.types[new].size == program.types[old].size
            ):
                owners[new] = owners.get(old, old)
                overwritten.add(old)
    return owners


def workspaces(program: Program, target: Target, layouts: Layouts) -> tuple[dict[int, Buffer], dict[int, Buffer]]:
    """The workspace of each step that has one, live during that step only; and the part of it that is kept from run to
    run, live during all of them."""
    lasting = frozenset(shards(program.states.values())) - {old for old, new in replacements(program) if old != new}
    found, kept = {}, {}
    for position, step in enumerate(program.steps):
        operands, results = ([program.types[n] for n in names] for names in (step.operands, step.results))
        lying = [layouts[name] for name in (*step.operands, *step.results)]
        nbytes, same = target.workspace(step.op, operands, results, lying), 0
        if len(step.operands) > 1 and step.operands[1] in lasting:
            same = target.kept(step.op, operands, results, lying)
        if same > 0:
            kept[position] = Buffer(step.stream.device, rounded(same, target), BEFORE, len(program.steps))
        if nbytes > same:
            found[position] = Buffer(step.stream.device, rounded(nbytes - same, target), position, position)
    return found, kept


def rounded(nbytes: int, target: Target) -> int:
    """Up to what the target aligns to."""
    return -(-nbytes // target.alignment) * target.alignment


def most_live(taken: Iterable[Buffer]) -> int:
    """The most bytes that are live at once."""
    changes: dict[int, int] = {}
    for buffer in taken:
        changes[buffer.first] = changes.get(buffer.first, 0) + buffer.nbytes
        changes[buffer.last + 1] = changes.get(buffer.last + 1, 0) - buffer.nbytes
    return max(accumulate(changes[position] for position in sorted(changes)), default=0)
