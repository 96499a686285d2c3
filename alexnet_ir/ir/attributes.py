"""Attributes: how a dataclass field says which values it takes.

Everything that can be called in a model file (ops, initialisers, optimizers, transforms ...) is a frozen dataclass; its
fields are the arguments. `attribute(KIND, default)` declares one: the kind says in words what it expects and turns
what was given (`4`, `(0, 3)`) into one canonical value, so that a wrong argument gets the same message everywhere.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

Pair = tuple[int, int]
Pads = tuple[Pair, Pair]


@dataclass(frozen=True, slots=True)
class Kind:
    """What an attribute accepts. `convert` returns the canonical value or raises ValueError; `compact` kinds print a
    tuple of equal parts as that part: ((2, 2), (2, 2)) as 2."""

    expects: str
    convert: Callable[[Any], Any]
    compact: bool = False


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        raise ValueError
    return value


def _whole(least: int) -> Callable[[Any], int]:
    def convert(value: Any) -> int:
        number = _number(value)
        if number != int(number) or number < least:
            raise ValueError
        return int(number)

    return convert


def _real(accept: Callable[[float], bool]) -> Callable[[Any], float]:
    def convert(value: Any) -> float:
        number = float(_number(value))
        if not accept(number):
            raise ValueError
        return number

    return convert


def _pair(least: int) -> Callable[[Any], Pair]:
    whole = _whole(least)

    def convert(value: Any) -> Pair:
        if not isinstance(value, tuple):
            return (whole(value), whole(value))
        first, second = value
        return (whole(first), whole(second))

    return convert


def _pads(value: Any) -> Pads:
    pair = _pair(0)
    if isinstance(value, tuple) and any(isinstance(part, tuple) for part in value):
        rows, columns = value
        return (pair(rows), pair(columns))
    return (pair(value), pair(value))


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _shape(value: Any) -> tuple[int, ...]:
    if not isinstance(value, tuple):
        raise ValueError
    return tuple(_whole(0)(part) for part in value)


COUNT = Kind("a whole number of at least 1", _whole(1))
WHOLE = Kind("a whole number of at least 0", _whole(0))
PAIR = Kind("a whole number of at least 1, or a pair (rows, columns) of them", _pair(1), compact=True)
PADS = Kind(
    "a whole number of at least 0, a pair (before, after), or ((top, bottom), (left, right))", _pads, compact=True
)
REAL = Kind("a number", _real(lambda _: True))
POSITIVE = Kind("a number above 0", _real(lambda x: x > 0))
NON_NEGATIVE = Kind("a number of at least 0", _real(lambda x: x >= 0))
FRACTION = Kind("a number from 0 up to, but not including, 1", _real(lambda x: 0 <= x < 1))
FLAG = Kind("true or false", _flag)
TEXT = Kind("a string", _text)
SHAPE = Kind("a tuple of whole numbers", _shape)


def choice(*words: str) -> Kind:
    """One of a few strings."""

    def convert(value: Any) -> str:
        if value not in words:
            raise ValueError
        return str(value)

    quoted = [f'"{word}"' for word in words]
    return Kind(f"{', '.join(quoted[:-1])} or {quoted[-1]}" if len(quoted) > 1 else quoted[0], convert)


def sequence_of(kind: Kind, what: str) -> Kind:
    """A list `[a, b]` of values of one kind; `what` says it in the plural."""

    def convert(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise ValueError
        return tuple(kind.convert(item) for item in value)

    return Kind(f"a list of {what}", convert)


def instance_of(*classes: type, expects: str) -> Kind:
    """A value that the language builds by a call of its own, like `epochs(90)`."""

    def convert(value: Any) -> Any:
        if not isinstance(value, classes):
            raise ValueError
        return value

    return Kind(expects, convert)


def optional(kind: Kind) -> Kind:
    """The same, or `none`."""
    return Kind(
        f"{kind.expects}, or none", lambda value: None if value is None else kind.convert(value), compact=kind.compact
    )


def attribute(
    kind: Kind, default: Any = dataclasses.MISSING, *, spelled: str = "", kw_only: bool = False, hidden: bool = False
) -> Any:
    """A dataclass field of this kind; `default` is given as a user would write it. `spelled` is the argument's name in
    the language where it differs (`from` is no Python name); a hidden one is no argument in the language."""
    if default is not dataclasses.MISSING:
        default = kind.convert(default)
    metadata = {"kind": kind, "spelled": spelled, "hidden": hidden}
    return dataclasses.field(default=default, kw_only=kw_only, metadata=metadata)


class AttributeValueError(ValueError):
    """A value that an attribute's kind does not accept."""

    def __init__(self, owner: str, name: str, kind: Kind, value: object) -> None:
        self.owner, self.name, self.kind, self.value = owner, name, kind, value
        super().__init__(f"`{name}` of `{owner}`: expected {kind.expects}, found {value!r}")


@dataclass(frozen=True)
class Attributes:
    """Base of every dataclass whose fields are attributes: converts and checks them when it is built."""

    name: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for field, kind in kinds_of(type(self)).items():
            object.__setattr__(self, field, converted(self.name, field, kind, getattr(self, field)))


def converted(owner: str, name: str, kind: Kind, value: object) -> Any:
    """`value` as `kind` has it; AttributeValueError where it is not accepted."""
    try:
        return kind.convert(value)
    except (ValueError, TypeError):
        raise AttributeValueError(owner, name, kind, value) from None


def kinds_of(cls: type) -> dict[str, Kind]:
    """The attributes of a dataclass, in order."""
    return {f.name: f.metadata["kind"] for f in dataclasses.fields(cls) if "kind" in f.metadata}


def defaults_of(cls: type) -> dict[str, Any]:
    """The attributes that have a default, with it."""
    return {f.name: f.default for f in dataclasses.fields(cls) if f.default is not dataclasses.MISSING}
