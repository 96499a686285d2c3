"""What a state holds before the first step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from alexnet_ir.ir.attributes import NON_NEGATIVE, REAL, Attributes, attribute


@dataclass(frozen=True)
class Initial(Attributes):
    """Base of the initial values; each element is a function of (seed, the state's name, index) only."""


@dataclass(frozen=True)
class Constant(Initial):
    """Every element is `value`."""

    name: ClassVar[str] = "constant"
    value: float = attribute(REAL)


@dataclass(frozen=True)
class Normal(Initial):
    """Normal with mean 0 and standard deviation `std`."""

    name: ClassVar[str] = "normal"
    std: float = attribute(NON_NEGATIVE)


@dataclass(frozen=True)
class Uniform(Initial):
    """Uniform from `low` up to `high`."""

    name: ClassVar[str] = "uniform"
    low: float = attribute(REAL)
    high: float = attribute(REAL)


INITIALS: dict[str, type[Initial]] = {cls.name: cls for cls in (Constant, Normal, Uniform)}
