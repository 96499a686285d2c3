"""Programs that Hypothesis grows: one to three devices, transfers, states, steps in place, and workspaces."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from hypothesis import strategies as st

from alexnet_ir.ir.initial import Constant
from alexnet_ir.ir.layout import Layout
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ir.plan import PlannedInput, PlannedOutput, PlannedState, Program, Step, Stream
from alexnet_ir.ir.target import Target
from alexnet_ir.ir.types import REPLICATED, On, TensorType
from alexnet_ir.ops.shape import Copy


@dataclass(frozen=True)
class Mix(Op):
    """Bytes that depend on every byte of the operands; results may overwrite operands as `over` says."""

    name: ClassVar[str] = "mix"
    operands: ClassVar[tuple[str, ...]] = ("operand...",)
    sizes: Sequence[int] = ()
    over: tuple[tuple[int, int], ...] = ()
    scratch: int = 0

    def reference(self, *arrays: Array) -> tuple[Array, ...]:
        key = 0
        for array in arrays:
            key = zlib.crc32(array.tobytes(), key)
        return tuple(
            np.random.default_rng((key, i)).integers(256, size=n, dtype="u1") for i, n in enumerate(self.sizes)
        )


def mix_in_place(op: Op) -> tuple[tuple[int, int], ...]:
    return op.over if isinstance(op, Mix) else ()


def mix_scratch(
    op: Op, operands: Sequence[TensorType], results: Sequence[TensorType], layouts: Sequence[Layout] = ()
) -> int:
    return op.scratch if isinstance(op, Mix) else 0


MIXER = Target("mixer", in_place=mix_in_place, workspace=mix_scratch, alignment=8)


class _Grower:
    """Grows a program step by step; all choices come from `choose`."""

    def __init__(self, choose: random.Random) -> None:
        self.choose, self.devices = choose, choose.randint(1, 3)
        self.types: dict[str, TensorType] = {}
        self.steps: list[Step] = []
        self.states: dict[str, PlannedState] = {}

    def value(self, name: str, size: int, device: int) -> str:
        self.types[name] = TensorType("u8", (size,), On(device))
        return name

    def on(self, device: int) -> list[str]:
        return [name for name, type_ in self.types.items() if type_.device == device]

    def shards(self, name: str, size: int) -> tuple[str | None, ...]:
        here = [self.choose.random() < 0.8 for _ in range(self.devices)]
        here[self.choose.randrange(self.devices)] = True
        return tuple(self.value(f"{name}@{d}", size, d) if there else None for d, there in enumerate(here))

    def program(self) -> Program:
        inputs = {f"x{i}": self.shards(f"x{i}", self.size()) for i in range(2)}
        states = {f"s{i}": self.shards(f"s{i}", self.size()) for i in range(3)}
        updates: dict[str, str] = {}
        waiting = [shard for shards in states.values() for shard in shards if shard and self.choose.random() < 0.8]
        for number in range(self.choose.randint(1, 25)):
            if waiting and self.choose.random() < 0.2:
                shard = waiting.pop(self.choose.randrange(len(waiting)))
                updates[shard] = self.mix(f"v{number}", self.types[shard].device, shard)
            elif self.devices > 1 and self.choose.random() < 0.4:
                self.copy(f"v{number}")
            else:
                self.mix(f"v{number}", self.choose.randrange(self.devices))
        fetched = self.choose.sample(sorted(self.types), min(2, len(self.types)))
        return Program(
            "grown",
            self.devices,
            {name: PlannedInput(self.whole(shards), None, shards) for name, shards in inputs.items()},
            {
                name: PlannedState(
                    self.whole(shards), Constant(0), "parameter", shards, tuple(updates.get(s or "") for s in shards)
                )
                for name, shards in states.items()
            },
            {name: PlannedOutput(self.types[name], self.alone(name)) for name in fetched},
            tuple(self.steps),
            self.types,
        )

    def whole(self, shards: Sequence[str | None]) -> TensorType:
        return self.types[next(s for s in shards if s)].at(REPLICATED)

    def alone(self, name: str) -> tuple[str | None, ...]:
        return tuple(name if d == self.types[name].device else None for d in range(self.devices))

    def size(self) -> int:
        return self.choose.choice((1, 8, 8, 16, 16, 40, 100))

    def mix(self, name: str, device: int, shard: str | None = None) -> str:
        """A step on values of a device; it replaces a state's shard, or stands for itself."""
        there = self.on(device)
        operands = [shard] if shard else []
        operands += [self.choose.choice(there[-6:]) for _ in range(self.choose.randint(0 if shard else 1, 3)) if there]
        sizes = [self.types[shard].size if shard else self.choose.choice([*map(self.length, operands), self.size()])]
        sizes += [self.size()] * (self.choose.random() < 0.3)
        over = [(r, o) for r in range(len(sizes)) for o in range(len(operands)) if self.choose.random() < 0.7]
        scratch = self.choose.choice((0, 0, 24, 60))
        results = [self.value(f"{name}.{i}" if i else name, size, device) for i, size in enumerate(sizes)]
        op = Mix(tuple(sizes), tuple(over), scratch)
        self.steps.append(Step(op, tuple(operands), tuple(results), name, None, Stream(device)))
        return name

    def length(self, name: str) -> int:
        return self.types[name].size

    def copy(self, name: str) -> None:
        sent = self.choose.choice(sorted(self.types))
        device = self.types[sent].device
        to = self.choose.choice([d for d in range(self.devices) if d != device])
        self.value(name, self.types[sent].size, to)
        self.steps.append(Step(Copy(to), (sent,), (name,), name, None, Stream(device, to)))


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Programs of one to three devices, with transfers, states, values in place of others, and workspaces."""
    return _Grower(random.Random(draw(st.integers(0, 2**32)))).program()
