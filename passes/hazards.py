"""Which steps must wait for which, when streams run side by side and memory is used again.

A step waits for those that make its operands, and before it writes to memory for all that read or wrote there. Steps of
one stream run in order; of what remains, what other waits imply is left out.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from alexnet_ir.ir.plan import Program, Slot, Stream

Clock = dict[Stream, int]
"""The latest position on each stream that has ended."""
Place = tuple[int | str, Slot]
"""Bytes of a device's arena, or of a state's shard, which is named."""


class Memory:
    """The last accesses to each byte of one memory, as ranges from `starts[i]` up to the next start."""

    def __init__(self) -> None:
        self.starts: list[int] = [0]
        self.accesses: list[Clock] = [{}]

    def read(self, slot: Slot, stream: Stream, position: int) -> None:
        """Note that a step reads these bytes."""
        for index in self._ranges(slot):
            self.accesses[index] = {**self.accesses[index], stream: position}

    def write(self, slot: Slot, stream: Stream, position: int) -> list[int]:
        """The steps that accessed these bytes; from now on, who waits for this step has waited for them."""
        ranges = self._ranges(slot)
        before = [at for index in ranges for at in self.accesses[index].values()]
        self.starts[ranges.start : ranges.stop] = [slot.offset]
        self.accesses[ranges.start : ranges.stop] = [{stream: position}]
        return before

    def _ranges(self, slot: Slot) -> range:
        return range(self._cut(slot.offset), self._cut(slot.end))

    def _cut(self, offset: int) -> int:
        """The index of the range that starts here, made by a cut if there is none."""
        index = bisect_left(self.starts, offset)
        if index == len(self.starts) or self.starts[index] != offset:
            self.starts.insert(index, offset)
            self.accesses.insert(index, self.accesses[index - 1])
        return index


def waits(
    program: Program, slots: Mapping[str, Slot], aliases: Mapping[str, str], workspaces: Mapping[int, Slot]
) -> tuple[tuple[int, ...], ...]:
    """For each step the earlier ones of other streams, by position, that must have ended before it starts."""
    streams = [step.stream for step in program.steps]
    if len(set(streams)) <= 1:
        return ((),) * len(streams)
    return _reduced(streams, list(_dependencies(program, _places(program, slots, aliases), workspaces)))


def _places(program: Program, slots: Mapping[str, Slot], aliases: Mapping[str, str]) -> dict[str, Place]:
    """Where each value lies."""
    found: dict[str, Place] = {}
    for name, type_ in program.types.items():
        if name in slots:
            found[name] = (type_.device, slots[name])
        else:
            found[name] = (aliases.get(name, name), Slot(0, type_.nbytes))
    return found


def _dependencies(program: Program, places: Mapping[str, Place], workspaces: Mapping[int, Slot]) -> Iterator[list[int]]:
    """For each step those that it depends on: by values, and by the memory that it writes."""
    made = {name: position for position, step in enumerate(program.steps) for name in step.results}
    memories: defaultdict[int | str, Memory] = defaultdict(Memory)
    for position, step in enumerate(program.steps):
        before = [made[name] for name in step.operands if name in made]
        for where, slot in (places[name] for name in step.operands):
            memories[where].read(slot, step.stream, position)
        written = [places[name] for name in step.results]
        if position in workspaces:
            written.append((step.stream.device, workspaces[position]))
        for where, slot in written:
            before += memories[where].write(slot, step.stream, position)
        yield [at for at in before if at != position]


def _reduced(streams: Sequence[Stream], dependencies: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    """Without what follows from the order of a stream, or from the other waits."""
    ended: list[Clock] = []
    running: dict[Stream, Clock] = {}
    found = []
    for position, (stream, before) in enumerate(zip(streams, dependencies, strict=True)):
        clock = dict(running.get(stream, {}))
        needed = []
        for at in sorted(set(before), reverse=True):
            if clock.get(streams[at], -1) < at:
                needed.append(at)
                _join(clock, ended[at])
        clock[stream] = position
        ended.append(clock)
        running[stream] = clock
        found.append(tuple(reversed(needed)))
    return tuple(found)


def _join(clock: Clock, other: Clock) -> None:
    for stream, position in other.items():
        clock[stream] = max(clock.get(stream, -1), position)
