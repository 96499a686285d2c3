"""What a backend runs: a program of steps, and the plan that gives its values memory.

A `Program` is for N devices. Steps stand in one order that respects every dependency; each runs on a stream (a device,
or the link from one device to another), and a stream runs its steps in that order. A `Plan` is a program whose values
lie in one arena a device.
"""

from __future__ import annotations

from dataclasses import dataclass

from alexnet_ir.diagnostics import Span
from alexnet_ir.ir.graph import Role
from alexnet_ir.ir.initial import Initial
from alexnet_ir.ir.layout import Layout
from alexnet_ir.ir.op import Op
from alexnet_ir.ir.types import TensorType


@dataclass(frozen=True, slots=True, order=True)
class Stream:
    """Where steps run one after another: a device, or the link from `device` to device `to`."""

    device: int
    to: int = -1

    @property
    def is_link(self) -> bool:
        """Whether its steps are transfers."""
        return self.to >= 0

    def __str__(self) -> str:
        return f"{self.device}->{self.to}" if self.is_link else str(self.device)


@dataclass(frozen=True, slots=True)
class Step:
    """One op on named values. `name` is the node's; a transfer's operand lies on `stream.device`, its result on
    `stream.to`; all else of a step lies on `stream.device`."""

    op: Op
    operands: tuple[str, ...]
    results: tuple[str, ...]
    name: str
    span: Span | None
    stream: Stream = Stream(0)


Shards = tuple[str | None, ...]
"""For each device the name of the value that is its share; None where it has none."""


@dataclass(frozen=True, slots=True)
class PlannedInput:
    """A value fed for every run; `default` where nothing else is fed. `type` is the whole's, and says how it is shared
    out."""

    type: TensorType
    default: float | None
    shards: Shards


@dataclass(frozen=True, slots=True)
class PlannedState:
    """A value that outlives the run. `updates` name the values that replace its shards at the end (None: it stays)."""

    type: TensorType
    initial: Initial
    role: Role
    shards: Shards
    updates: Shards


@dataclass(frozen=True, slots=True)
class PlannedOutput:
    """A value fetched after a run; the host puts the shards together as `type` says (a partial value: their sum)."""

    type: TensorType
    shards: Shards


@dataclass(frozen=True)
class Program:
    """Steps in order. States and inputs are readable under their shards' names from the first step on. `types` are
    those of the shards: local shapes, `on(device)` where there are several devices."""

    name: str
    devices: int
    inputs: dict[str, PlannedInput]
    states: dict[str, PlannedState]
    outputs: dict[str, PlannedOutput]
    steps: tuple[Step, ...]
    types: dict[str, TensorType]

    def device(self, value: str) -> int:
        """Where a value lies."""
        return self.types[value].device


@dataclass(frozen=True, slots=True)
class Slot:
    """Bytes `offset` up to `offset + nbytes` of a device's arena."""

    offset: int
    nbytes: int

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.offset + self.nbytes

    def overlaps(self, other: Slot) -> bool:
        """Whether they share a byte (of one arena)."""
        return self.offset < other.end and other.offset < self.end


@dataclass(frozen=True, slots=True)
class Arena:
    """One device's memory in bytes: `states` for the states, which stay, and `size` for the arena that a run works in.
    `lower_bound` is the most that is live at once, which no plan goes below; `separate` is what all values and
    workspaces take, each in a place of its own (both with the states); `temporary` is the most that a step allocates
    beside the arena."""

    states: int
    size: int
    lower_bound: int
    separate: int
    temporary: int

    @property
    def peak(self) -> int:
        """States and arena together."""
        return self.states + self.size


@dataclass(frozen=True)
class Plan(Program):
    """A program with memory: the layout of every value, the slot of every value that is no state, the workspace of each
    step that has one (but for the part of it that is kept from run to run, in a slot of its own), and for each step the
    earlier steps of other streams (by position) that must have ended before it starts. A value in `aliases` has no
    slot: it lies in the memory of a state's shard, which it replaces."""

    arenas: tuple[Arena, ...]
    layouts: dict[str, Layout]
    slots: dict[str, Slot]
    aliases: dict[str, str]
    workspaces: dict[int, Slot]
    kept: dict[int, Slot]
    waits: tuple[tuple[int, ...], ...]

    def nbytes(self, value: str) -> int:
        """What a value takes, as it is stored."""
        return self.layouts[value].nbytes(self.types[value].shape)
