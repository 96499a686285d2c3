"""Where code is emitted: an op with the tensors it meets; and how a language writes down what is known of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from alexnet_ir.backends.emission.commands import Place, Tensor
from alexnet_ir.ir.attributes import Pair
from alexnet_ir.ir.layout import Layout
from alexnet_ir.ir.op import Op
from alexnet_ir.ir.types import TensorType

ALIGNMENT = 256
"""Of every buffer and every part of a workspace, in bytes."""
INTS = 2**31
"""What an int does not count any more."""
AXES = {0: "", 1: "C", 2: "NC", 3: "NCH", 4: "NCHW", 5: "NCHWX", 6: "NCHWXY"}
"""A letter for each axis of a shape by its length, in the names of a tensor's constants."""
Lying = tuple[TensorType, Layout]
"""What a value is, and how it lies."""


@dataclass(frozen=True)
class Site:
    """An op to be emitted, on these tensors."""

    op: Op
    operands: tuple[Tensor, ...]
    results: tuple[Tensor, ...]


def tensors_of(operands: Sequence[Lying], results: Sequence[Lying]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """A step's operands and results as tensors."""

    def tensors(kind: str, given: Sequence[Lying]) -> tuple[Tensor, ...]:
        return tuple(
            Tensor(type_.shape, layout, Place(kind, number, layout.nbytes(type_.shape)))  # type: ignore[arg-type]
            for number, (type_, layout) in enumerate(given)
        )

    return tensors("operand", operands), tensors("result", results)


def round_up(count: int, multiple: int) -> int:
    """To the next multiple."""
    return -(-count // multiple) * multiple


@dataclass
class Workspace:
    """Hands out parts of a step's workspace while it is emitted."""

    nbytes: int = field(default=0)

    def take(self, nbytes: int) -> Place:
        """The next part of so many bytes, aligned."""
        place = Place("workspace", self.nbytes, nbytes)
        self.nbytes += round_up(nbytes, ALIGNMENT)
        return place

    def tensor(self, shape: tuple[int, ...], layout: Layout) -> Tensor:
        """A tensor that lies in the next part."""
        return Tensor(shape, layout, self.take(layout.nbytes(shape)))


# --- source -----------------------------------------------------------------------------------------------------------

Constant = int | float | str | bool
"""A number, or an expression of type int."""


class Dialect(Protocol):
    """A language that kernels are emitted in."""

    @property
    def inline(self) -> str:
        """What stands before a function that shall be inlined."""

    @property
    def has_templates(self) -> bool:
        """Whether functions may be templates, and take references."""

    def constant(self, name: str, value: Constant) -> str:
        """The line that defines a constant."""

    def tensor(self, name: str, tensor: Tensor) -> str:
        """The lines that define a tensor's constants."""


def both(name: str, pair: Pair) -> dict[str, int]:
    """Constants for rows and columns."""
    return {f"{name}_H": pair[0], f"{name}_W": pair[1]}


def float_literal(value: float) -> str:
    """The nearest float, in as few digits as name it."""
    nearest = str(np.float32(value))
    return {"inf": "INFINITY", "-inf": "-INFINITY", "nan": "NAN"}.get(nearest, f"{nearest}f")
