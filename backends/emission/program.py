"""A plan as commands: what each step emits, for a target that knows what that takes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import ClassVar

from alexnet_ir.backends.emission.commands import Emission, Tensor
from alexnet_ir.backends.emission.site import Lying
from alexnet_ir.ir.layout import Layout
from alexnet_ir.ir.op import Op
from alexnet_ir.ir.plan import Plan, Step
from alexnet_ir.ir.target import Target, Types
from alexnet_ir.ir.types import REPLICATED, TensorType


class Emitter(ABC):
    """Emits for a kind of machine. Equal ones emit the same (they are hashable: a frozen dataclass each)."""

    suffix: ClassVar[str]
    """Of a source file."""

    @property
    @abstractmethod
    def target(self) -> Target:
        """What passes must know of it."""

    @property
    @abstractmethod
    def about(self) -> Mapping[str, str]:
        """What it emits for, in words by name."""

    @property
    @abstractmethod
    def by_hand(self) -> str:
        """The command that compiles a FILE alone."""

    @abstractmethod
    def emit(self, op: Op, operands: Sequence[Lying], results: Sequence[Lying]) -> Emission:
        """What an op runs on values that lie so. `emission` remembers it."""

    @abstractmethod
    def augment(
        self, images: Tensor, places: Tensor, shifts: Tensor, mean: Tensor, result: Tensor, factor: float
    ) -> Emission:
        """What makes a result [n, c, height, width] of stored images, as `Augmented` says, with a mean [1, c, rows,
        columns]. Of images, [1, c, rows, columns], there are as many as their place has room for."""

    def workspace(self, op: Op, operands: Types, results: Types, layouts: Sequence[Layout]) -> int:
        """Bytes."""
        return self.emission(op, operands, results, layouts).workspace

    def kept(self, op: Op, operands: Types, results: Types, layouts: Sequence[Layout]) -> int:
        """Bytes of it that the prologue fills."""
        return self.emission(op, operands, results, layouts).kept

    def emission(self, op: Op, operands: Types, results: Types, layouts: Sequence[Layout]) -> Emission:
        """What an op runs on tensors so laid out."""
        types = tuple(type_.at(REPLICATED) for type_ in (*operands, *results))
        return _emission(self, op, types, len(operands), tuple(layouts))

    def step(self, plan: Plan, step: Step) -> Emission:
        """What a step of a plan runs."""
        operands, results = ([plan.types[n] for n in names] for names in (step.operands, step.results))
        return self.emission(step.op, operands, results, [plan.layouts[n] for n in (*step.operands, *step.results)])


@lru_cache(maxsize=4096)
def _emission(
    emitter: Emitter, op: Op, types: tuple[TensorType, ...], count: int, layouts: tuple[Layout, ...]
) -> Emission:
    lying = list(zip(types, layouts, strict=True))
    return emitter.emit(op, lying[:count], lying[count:])
