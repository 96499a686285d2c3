"""Several ops as one step. Its meaning is that of its parts, one after another, so it cannot go stale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from alexnet_ir.ir.attributes import TEXT, WHOLE, Kind, attribute
from alexnet_ir.ir.op import Array, Cost, Op, Part, TypeRuleError
from alexnet_ir.ir.types import REPLICATED, TensorType

__all__ = ["Fused", "Part"]


def _parts(value: Any) -> tuple[Part, ...]:
    if not isinstance(value, tuple) or not value or not all(isinstance(part, Part) for part in value):
        raise ValueError
    return value


def _numbers(value: Any) -> tuple[int, ...]:
    if not isinstance(value, tuple) or not value:
        raise ValueError
    return tuple(WHOLE.convert(number) for number in value)


def _suffixes(value: Any) -> tuple[str, ...]:
    if not isinstance(value, tuple) or len({"", *value}) <= len(value):
        raise ValueError
    return tuple(TEXT.convert(name) for name in value)


PARTS = Kind("one or more parts", _parts)
NUMBERS = Kind("one or more whole numbers", _numbers)
SUFFIXES = Kind("a tuple of strings, no two alike", _suffixes)


@dataclass(frozen=True)
class Fused(Op):
    """`parts` in order; of all values (first the operands, then the parts' results) those numbered `yields` leave it,
    and the others are hidden. `rule` is the fusion that made it. `names` are those of the results after the first, as
    suffixes."""

    name: ClassVar[str] = "fused"
    operands: ClassVar[tuple[str, ...]] = ("operand...",)
    rule: str = attribute(TEXT)
    parts: tuple[Part, ...] = attribute(PARTS)
    yields: tuple[int, ...] = attribute(NUMBERS)
    names: tuple[str, ...] = attribute(SUFFIXES, ())

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.yields) != len(self.result_names):
            raise ValueError(f"{len(self.yields)} values leave `fused`, and {len(self.result_names)} have a name")

    @property
    def result_names(self) -> tuple[str, ...]:
        return "", *self.names

    # --- walking it -----------------------------------------------------------------------------------------------

    def walk(self, operands: int) -> Iterator[tuple[Part, range]]:
        """Each part with the numbers of its results, where so many operands come first."""
        number = operands
        for part in self.parts:
            results = range(number, number + len(part.op.result_names))
            yield part, results
            number = results.stop

    def types(self, operands: Sequence[TensorType]) -> list[TensorType]:
        """The types of all values by number, by the rules of the parts; where they lie is said of the whole."""
        found = [type_.at(REPLICATED) for type_ in operands]
        for part, results in self.walk(len(operands)):
            if not all(number < results.start for number in part.operands):
                raise TypeRuleError("S004", f"`fused`: {part.op.name} reads a value that is not there yet")
            inferred = part.op.infer([found[number] for number in part.operands])
            found += (t.at(REPLICATED) for t in inferred if isinstance(t, TensorType))
        return found

    def hidden(self, operands: Sequence[TensorType]) -> dict[int, TensorType]:
        """The types, by number, of what the parts make and nobody else sees."""
        types = dict(enumerate(self.types(operands)))
        return {n: t for n, t in types.items() if n >= len(operands) and n not in self.yields}

    def saved_bytes(self, operands: Sequence[TensorType]) -> int:
        """The traffic that the parts by themselves would have had for the hidden values: one write and each read."""
        read = [number for part in self.parts for number in part.operands]
        return sum(t.nbytes * (1 + read.count(number)) for number, t in self.hidden(operands).items())

    # --- the contract of an op ------------------------------------------------------------------------------------

    def type_rule(self, *operands: TensorType) -> tuple[TensorType, ...]:
        types = self.types(operands)
        if max(self.yields) >= len(types) or min(self.yields) < len(operands):
            raise TypeRuleError("S004", f"`fused`: of the values {self.yields} some are not made by its parts")
        return tuple(types[number] for number in self.yields)

    def reference(self, *arrays: Array) -> tuple[Array, ...]:
        """The parts' meanings; in between, too, floats are of the operands' type."""
        values = list(arrays)
        floats = next((a.dtype for a in arrays if a.dtype.kind == "f"), np.dtype("f8"))
        for part in self.parts:
            found = part.op.evaluate([values[number] for number in part.operands])
            values += (a.astype(floats, copy=False) if a.dtype.kind == "f" else a for a in found)
        return tuple(values[number] for number in self.yields)

    def macs(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> int:
        return sum(cost.macs for cost in self._costs(operands))

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        """The work of all parts; the traffic of what comes in and leaves."""
        costs = self._costs(operands)
        nbytes = sum(t.nbytes for t in (*operands, *results))
        return Cost(sum(c.macs for c in costs), sum(c.flops for c in costs), nbytes)

    def _costs(self, operands: Sequence[TensorType]) -> list[Cost]:
        types = self.types(operands)
        return [
            part.op.cost([types[number] for number in part.operands], [types[number] for number in results])
            for part, results in self.walk(len(operands))
        ]
