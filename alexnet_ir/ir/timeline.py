"""When each step of a program would run, by the time model of a profile, and in words what several devices gain."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from alexnet_ir.diagnostics import listed
from alexnet_ir.ir.names import layer_of
from alexnet_ir.ir.plan import Plan, Program, Step, Stream
from alexnet_ir.ir.profile import Profile


@dataclass(frozen=True, slots=True)
class Exchange:
    """The transfers that serve one line of the model with one exchange, such as `all_reduce`, together."""

    layer: str
    kind: str
    nbytes: int
    seconds: float
    """Summed over all links."""


@dataclass(frozen=True)
class Timeline:
    """A program's steps in seconds from its start. Each stream runs its steps in order; a step starts when its stream
    is free, its operands are there, and what a plan lets it wait for has ended."""

    program: Program
    profile: Profile
    starts: tuple[float, ...]
    ends: tuple[float, ...]

    @cached_property
    def seconds(self) -> float:
        """Until the last step ends."""
        return max(self.ends, default=0.0)

    @cached_property
    def busy(self) -> dict[Stream, float]:
        """Seconds that each stream works: the devices, all of them, and the links that are used."""
        found = {Stream(device): 0.0 for device in range(self.program.devices)}
        for step, start, end in zip(self.program.steps, self.starts, self.ends, strict=True):
            found[step.stream] = found.get(step.stream, 0.0) + end - start
        return dict(sorted(found.items()))

    @cached_property
    def computing(self) -> tuple[float, ...]:
        """Seconds that each device works."""
        return tuple(seconds for stream, seconds in self.busy.items() if not stream.is_link)

    @cached_property
    def communicating(self) -> float:
        """Seconds during which a transfer is under way, on whatever link."""
        return _covered(
            (start, end)
            for step, start, end in zip(self.program.steps, self.starts, self.ends, strict=True)
            if step.stream.is_link
        )

    @cached_property
    def exposed(self) -> float:
        """Seconds by which transfers make the run longer: against links that take no time."""
        free = replace(self.profile, link_bandwidth=float("inf"), link_latency=0.0)
        return max(0.0, self.seconds - simulate(self.program, free).seconds)

    @property
    def hidden(self) -> float:
        """Seconds of communication behind which the devices compute."""
        return max(0.0, self.communicating - self.exposed)

    @cached_property
    def exchanges(self) -> tuple[Exchange, ...]:
        """What is exchanged between devices, what takes longest first."""
        found: dict[tuple[object, str], Exchange] = {}
        for step, start, end in zip(self.program.steps, self.starts, self.ends, strict=True):
            if step.stream.is_link:
                layer, kind = layer_of(step.name), str(getattr(step.op, "kind", step.op.name))
                old = found.get((step.span or layer, kind), Exchange(layer, kind, 0, 0.0))
                nbytes = old.nbytes + self.program.types[step.operands[0]].nbytes
                found[step.span or layer, kind] = replace(old, nbytes=nbytes, seconds=old.seconds + end - start)
        return tuple(sorted(found.values(), key=lambda e: (-e.seconds, e.layer, e.kind)))


def simulate(program: Program, profile: Profile) -> Timeline:
    """When a program's steps would run. For a plan, memory that is used twice counts too."""
    waits = program.waits if isinstance(program, Plan) else ((),) * len(program.steps)
    there: dict[str, float] = {}
    free: dict[Stream, float] = {}
    starts: list[float] = []
    ends: list[float] = []
    for step, earlier in zip(program.steps, waits, strict=True):
        operands = (there.get(name, 0.0) for name in step.operands)
        start = max(free.get(step.stream, 0.0), *operands, *(ends[i] for i in earlier), 0.0)
        end = start + step_seconds(step, program, profile)
        free[step.stream] = end
        there.update(dict.fromkeys(step.results, end))
        starts.append(start)
        ends.append(end)
    return Timeline(program, profile, tuple(starts), tuple(ends))


def step_seconds(step: Step, program: Program, profile: Profile) -> float:
    """A step's time on one of the program's devices, or a transfer's between two."""
    profile, operands = profile.of(program.devices), [program.types[name] for name in step.operands]
    if step.stream.is_link:
        return profile.transfer_seconds(operands[0].nbytes)
    return profile.step_seconds(step.op, operands, [program.types[name] for name in step.results])


def _covered(intervals: Iterable[tuple[float, float]]) -> float:
    """The length of what intervals cover together."""
    total = reached = 0.0
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def duration(seconds: float) -> str:
    """0.00123 as `1.23 ms`."""
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * scale >= 0.9995 or unit == "us":
            break
    value = seconds * scale
    return f"{value:.0f} {unit}" if value >= 99.95 else f"{value:.3g} {unit}"


def explain(one: Timeline, many: Timeline) -> str:
    """Why several devices would be faster or slower than one, by what the exchanges and the busiest device take."""
    count, times = f"{many.program.devices} devices", one.seconds / many.seconds if many.seconds else 1.0
    verdict = (
        f"{times:.2f} times as fast as" if times >= 1.005 else "no faster than" if times > 0.995 else "slower than"
    )
    said = [
        f"{count} would be {verdict} 1 ({duration(many.seconds)} against {duration(one.seconds)} a step)",
        _work_text(one, many),
        _exchange_text(many),
    ]
    return f"{said[0]}: {listed(text for text in said[1:] if text)}"


def _work_text(one: Timeline, many: Timeline) -> str:
    """Of devices that share one piece of hardware none is gained, so each has its share of the rates."""
    if many.profile.shared:
        return f"they share one {many.profile.name} ({1 / many.program.devices:.0%} of its rates each)"
    most = max(range(len(many.computing)), key=lambda device: many.computing[device])
    share = many.computing[most] / one.seconds if one.seconds else 1.0
    return f"device {most}, which computes most, has {share:.0%} of the work of 1 ({duration(many.computing[most])})"


def _exchange_text(many: Timeline) -> str:
    if not many.exchanges:
        return "nothing is exchanged"
    largest = many.exchanges[0]
    return (
        f"the exchanges take {duration(many.communicating)}, of which {duration(many.exposed)} are not hidden behind "
        f"computation; the largest is {largest.layer}'s {largest.kind} ({duration(largest.seconds)} on all links)"
    )
