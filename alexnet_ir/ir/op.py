"""The contract of an op: what one class says about it, once.

An op is a frozen dataclass; its attributes are its fields. It states a type rule, its meaning in NumPy, its gradient as
nodes, and its cost. It knows nothing of files, devices or kernels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from alexnet_ir.ir.attributes import Attributes
from alexnet_ir.ir.types import REPLICATED, ErrorType, ResultType, TensorType

if TYPE_CHECKING:
    from alexnet_ir.ir.graph import Builder, Node, Value

Array: TypeAlias = NDArray[Any]


class TypeRuleError(Exception):
    """An op does not fit its operands. `argument` names the attribute to point at, where one is to blame."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        argument: str | None = None,
        label: str = "",
        notes: Iterable[str] = (),
        helps: Iterable[str] = (),
    ) -> None:
        self.code, self.message, self.argument, self.label = code, message, argument, label
        self.notes, self.helps = tuple(notes), tuple(helps)
        super().__init__(message)


class NotDifferentiableError(Exception):
    """A gradient was asked of an op that has none."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run of an op takes: multiply-accumulates of convolutions and products (padded zeros counted), floating
    point operations, and bytes read and written."""

    macs: int
    flops: int
    nbytes: int


@dataclass(frozen=True)
class Op(Attributes):
    """Base of all ops."""

    operands: ClassVar[tuple[str, ...]] = ("input",)
    """Names of the operands; a last name ending in `...` stands for one or more."""
    results: ClassVar[tuple[str, ...]] = ("",)
    """Names of the results, as suffixes of the node's name; the first is always empty."""
    flops_per_element: ClassVar[int] = 1
    """For the default cost: floating point operations an element of the largest operand or result."""

    def type_rule(self, *operands: Any) -> TensorType | tuple[TensorType, ...]:
        """Result types from operand types (logical shapes); TypeRuleError where they do not fit."""
        raise NotImplementedError(self.name)  # pragma: no cover - every op has its rule

    def reference(self, *arrays: Any) -> Array | tuple[Array, ...]:
        """The op's meaning on NumPy arrays of the operands' shapes, in their float type."""
        raise NotImplementedError(self.name)  # pragma: no cover - every op has its meaning

    def gradient(self, build: Builder, node: Node, *grads: Any) -> tuple[Value | None, ...]:
        """Emit the nodes that turn the gradients of the results into those of the operands (None: no gradient)."""
        raise NotDifferentiableError(self.name)

    def macs(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> int:
        """Multiply-accumulates; nothing but convolutions and products has any."""
        return 0

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType]) -> Cost:
        """Work and traffic of one run."""
        macs = self.macs(operands, results)
        flops = 2 * macs or self.flops_per_element * max(t.size for t in (*operands, *results))
        return Cost(macs, flops, sum(t.nbytes for t in (*operands, *results)))

    def infer(self, operands: Sequence[ResultType]) -> tuple[ResultType, ...]:
        """Arity, placements and the type rule; an operand in error makes every result an error, silently."""
        self._check_arity(len(operands))
        types = [t for t in operands if isinstance(t, TensorType)]
        if len(types) < len(operands):
            return tuple(ErrorType() for _ in self.results)
        for name, type_ in zip(self._operand_names(len(types)), types, strict=True):
            if type_.placement != REPLICATED:
                raise TypeRuleError("S030", f"`{self.name}` takes a replicated {name}, found {type_.placement}")
        found = self.type_rule(*types)
        return found if isinstance(found, tuple) else (found,)

    def evaluate(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """`reference` with its results always as a tuple of arrays."""
        found = self.reference(*arrays)
        return tuple(np.asarray(a) for a in found) if isinstance(found, tuple) else (np.asarray(found),)

    @property
    def variadic(self) -> bool:
        """Whether the last operand may be repeated."""
        return bool(self.operands) and self.operands[-1].endswith("...")

    def _operand_names(self, count: int) -> list[str]:
        names = [name.removesuffix("...") for name in self.operands]
        return names + [names[-1]] * (count - len(names)) if self.variadic else names

    def _check_arity(self, count: int) -> None:
        least = len(self.operands)
        if count < least or (count > least and not self.variadic):
            more = " or more" if self.variadic else ""
            raise TypeRuleError("S001", f"`{self.name}` takes {least}{more} operands, found {count}")


@dataclass(frozen=True)
class Source(Op):
    """A value that comes from outside the graph: its type is given, not inferred."""

    operands: ClassVar[tuple[str, ...]] = ()
    type: TensorType = TensorType("f32", ())

    def type_rule(self, *operands: Any) -> TensorType | tuple[TensorType, ...]:
        return self.type


@dataclass(frozen=True)
class Input(Source):
    """Fed anew for every run: images, labels, rates. `default` is fed where nothing else is."""

    name: ClassVar[str] = "input"
    default: float | None = None


@dataclass(frozen=True)
class Read(Source):
    """The value of a state before the step."""

    name: ClassVar[str] = "state"
