"""Values as the language writes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from alexnet_ir.dsl import spec
from alexnet_ir.dsl.signature import spelled
from alexnet_ir.ir.attributes import Attributes, kinds_of
from alexnet_ir.ir.initial import Constant, Initial
from alexnet_ir.ir.text import compact

SMALL = 1e-3
"""Numbers below are written with an exponent."""


@dataclass(frozen=True, slots=True)
class Words:
    """How values are written: with so many digits, and names of layers as the other file has them."""

    digits: int = 6
    names: Mapping[str, str] = field(default_factory=dict)

    def of(self, value: Any) -> str:
        """`normal(0.01)`, `[epochs(25), epochs(51)]`, `(0, 3)`, `2e-5`, `none`; lists are lists, pairs are tuples."""
        match value:
            case None | bool():
                return "none" if value is None else str(value).lower()
            case str():
                return f'"{value}"'
            case int():
                return str(value)
            case float():
                return self._number(value)
            case list():
                return f"[{', '.join(map(self.of, value))}]"
            case tuple():
                return f"({', '.join(map(self.of, value))})"
            case spec.Reference():
                return self.names.get(value.id, value.id)
            case spec.SetEvent():
                settings = [f"{name} = {self.of(number)}" for name, number in value.values]
                return f"set({', '.join([self.of(value.target), *settings])})"
            case Constant():
                return self.of(value.value)
        return f"{value.name}({', '.join(self._arguments(value))})"

    def _number(self, value: float) -> str:
        rounded = float(f"{value:.{self.digits}g}")
        if rounded == int(rounded):
            return str(int(rounded))
        return f"{Decimal(repr(rounded)).normalize():e}" if abs(rounded) < SMALL else repr(rounded)

    def _arguments(self, value: Attributes) -> list[str]:
        """All of them, defaults too; without names where there is only one, or they are plain from their order."""
        values = {spelled(type(value), name): part for name, part in attributes(value).items()}
        texts = {name: self.of(part) for name, part in values.items() if part is not None}
        if len(values) == 1 or isinstance(value, Initial | spec.At):
            return list(texts.values())
        return [f"{name} = {text}" for name, text in texts.items()]


def both(old: Any, new: Any, names: Mapping[str, str]) -> tuple[str, str]:
    """Two values that differ, in as few digits as tell them apart; layers are called as the second file does."""
    texts = (Words(names=names).of(old), Words().of(new))
    return texts if texts[0] != texts[1] else (Words(17, names).of(old), Words(17).of(new))


def attributes(owner: Attributes) -> dict[str, Any]:
    """What `owner` was given, as the language has it: pads and pairs compact, sequences as lists."""
    hidden = {f.name for f in dataclasses.fields(owner) if f.metadata.get("hidden")}
    found = {}
    for name, kind in kinds_of(type(owner)).items():
        value = getattr(owner, name)
        if name not in hidden:
            found[name] = compact(value) if kind.compact else list(value) if isinstance(value, tuple) else value
    return found
