"""The contract of an op: what one class says about it, once.

An op is a frozen dataclass; its attributes are its fields. It states a type rule, its meaning in NumPy, its gradient as
nodes, and its cost. It knows nothing of files, devices or kernels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from alexnet_ir.ir.attributes import Attributes
from alexnet_ir.ir.types import REPLICATED, ErrorType, On, Placement, ResultType, TensorType

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


@dataclass(frozen=True, slots=True)
class Strategy:
    """One way to share an op out over devices: where it wants its operands and leaves its results, and the bytes it
    exchanges in between (a halo, the sums of a normalisation), over all devices."""

    operands: tuple[Placement, ...]
    results: tuple[Placement, ...]
    exchanged: int = 0

    def fits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> bool:
        """Whether values of these types can be so placed."""
        placed = zip((*operands, *results), (*self.operands, *self.results), strict=True)
        return all(type_.can_be(placement, devices) for type_, placement in placed)

    def accepts(self, placements: Sequence[Placement]) -> bool:
        """Whether operands so placed are what it wants; a replicated one is on every device."""
        return all(
            have == want or (isinstance(want, On) and have == REPLICATED)
            for have, want in zip(placements, self.operands, strict=True)
        )


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

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        """The ways to share the op out, from logical types; beside these, every op can run replicated or on one
        device."""
        yield from ()

    def strategies(
        self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int
    ) -> Iterator[Strategy]:
        """All ways to run the op on so many devices, from logical types."""
        yield Strategy((REPLICATED,) * len(operands), (REPLICATED,) * len(results))
        if devices > 1:
            found = self.splits(operands, results, devices)
            yield from (strategy for strategy in found if strategy.fits(operands, results, devices))
            for device in range(devices):
                yield Strategy((On(device),) * len(operands), (On(device),) * len(results))

    def shard(self, operands: Sequence[TensorType], device: int, devices: int) -> Op:
        """The op that one device runs on its share; `operands` are the placed logical types."""
        return self

    def infer(self, operands: Sequence[ResultType], devices: int = 1) -> tuple[ResultType, ...]:
        """Arity, the type rule, and placements by the strategy that takes the operands as they lie (S030 if none does);
        an operand in error makes every result an error, silently."""
        self._check_arity(len(operands))
        types = [t for t in operands if isinstance(t, TensorType)]
        if len(types) < len(operands):
            return tuple(ErrorType() for _ in self.result_names)
        found = self.type_rule(*types)
        results = found if isinstance(found, tuple) else (found,)
        return self.placed(types, results, devices)

    def placed(
        self, operands: Sequence[TensorType], results: tuple[TensorType, ...], devices: int
    ) -> tuple[ResultType, ...]:
        """The results as the strategy leaves them that takes the operands as they lie."""
        where = {t.placement for t in operands} - {REPLICATED}
        if not where:
            return results
        if len(where) == 1 and isinstance(place := min(where, key=str), On) and place.device < devices:
            return tuple(t.at(place) for t in results)
        strategy = self.strategy(operands, results, devices)
        return tuple(t.at(p) for t, p in zip(results, strategy.results, strict=True))

    def strategy(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Strategy:
        """The one that takes the operands as they lie; TypeRuleError S030 if none does."""
        placements = [t.placement for t in operands]
        for strategy in self.strategies(operands, results, devices):
            if strategy.accepts(placements):
                return strategy
        where = [f"{p} {n}" for n, p in zip(self._operand_names(len(operands)), placements, strict=True)]
        raise TypeRuleError("S030", f"`{self.name}` on {devices} devices cannot take {', '.join(where)}")

    def evaluate(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """`reference` with its results always as a tuple of arrays."""
        found = self.reference(*arrays)
        return tuple(np.asarray(a) for a in found) if isinstance(found, tuple) else (np.asarray(found),)

    @property
    def result_names(self) -> tuple[str, ...]:
        """The names of this very op's results: those of its class, but for an op that has as many as it needs."""
        return self.results

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


@dataclass(frozen=True, slots=True)
class Part:
    """One op of a fused one. Its operands are numbers: first the fused op's operands, then the parts' results in
    order."""

    op: Op
    operands: tuple[int, ...]


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
