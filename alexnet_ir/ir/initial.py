"""What a state holds before the first step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from alexnet_ir.ir.attributes import NON_NEGATIVE, REAL, Attributes, attribute
from alexnet_ir.philox import Domain, Key, normal, uniform

TOGETHER = 1 << 18
"""Elements that are drawn at a time, in float64."""


@dataclass(frozen=True)
class Initial(Attributes, ABC):
    """Base of the initial values; each element is a function of (seed, the state's name, index) only."""

    def values(self, name: str, shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
        """The initial value of the state `name`."""
        values, key = np.empty(math.prod(shape), np.float32), Key(seed, Domain.INIT, name)
        for start in range(0, values.size, TOGETHER):
            part = values[start : start + TOGETHER]
            part[:] = self.draw(key, part.size, start)
        return values.reshape(shape)

    @abstractmethod
    def draw(self, key: Key, count: int, start: int) -> NDArray[np.float64]:
        """`count` elements in row-major order, from element `start` on."""


@dataclass(frozen=True)
class Constant(Initial):
    """Every element is `value`."""

    name: ClassVar[str] = "constant"
    value: float = attribute(REAL)

    def draw(self, key: Key, count: int, start: int) -> NDArray[np.float64]:
        return np.full(count, self.value)


@dataclass(frozen=True)
class Normal(Initial):
    """Normal with mean 0 and standard deviation `std`."""

    name: ClassVar[str] = "normal"
    std: float = attribute(NON_NEGATIVE)

    def draw(self, key: Key, count: int, start: int) -> NDArray[np.float64]:
        return self.std * normal(key, count, start)


@dataclass(frozen=True)
class Uniform(Initial):
    """Uniform from `low` up to `high`."""

    name: ClassVar[str] = "uniform"
    low: float = attribute(REAL, spelled="a")
    high: float = attribute(REAL, spelled="b")

    def draw(self, key: Key, count: int, start: int) -> NDArray[np.float64]:
        return self.low + (self.high - self.low) * uniform(key, count, start)


INITIALS: dict[str, type[Initial]] = {cls.name: cls for cls in (Constant, Normal, Uniform)}
