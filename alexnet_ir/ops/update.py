"""Update rules. Rates and factors are operands (scalars), so that a schedule changes numbers and never the program."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alexnet_ir.ir.op import Array, Op, Strategy
from alexnet_ir.ir.types import BATCH, CHANNELS, REPLICATED, TensorType, f32
from alexnet_ir.ops.rules import want_shape


@dataclass(frozen=True)
class UpdateOp(Op):
    """A parameter, its slots and its gradient, all of one shape, then scalars; gives the new parameter and slots."""

    def type_rule(self, *operands: TensorType) -> tuple[TensorType, ...]:
        shape = operands[0].shape
        for name, operand in zip(self.operands, operands, strict=True):
            is_tensor = name in self.tensors()
            want_shape(self.name, name, operand, shape if is_tensor else ())
        return tuple(f32(*shape) for _ in self.results)

    @classmethod
    def tensors(cls) -> tuple[str, ...]:
        """The operands that have the parameter's shape."""
        return ("parameter", *cls.slots(), "gradient")

    @classmethod
    def slots(cls) -> tuple[str, ...]:
        """The optimizer's slots, in order."""
        return cls.results[1:]

    @classmethod
    def rates(cls) -> tuple[str, ...]:
        """The scalars of the recipe that it reads."""
        return tuple(n for n in cls.operands if n not in (*cls.tensors(), "lr_mult", "decay_mult"))

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        for placement in (BATCH, CHANNELS):
            places = [placement if name in self.tensors() else REPLICATED for name in self.operands]
            yield Strategy(tuple(places), (placement,) * len(results))


@dataclass(frozen=True)
class Sgd(UpdateOp):
    """v' = momentum v - lr lr_mult (gradient + weight_decay decay_mult w); w' = w + v' (section 5 of the paper)."""

    name: ClassVar[str] = "sgd"
    operands: ClassVar[tuple[str, ...]] = (
        "parameter", "velocity", "gradient", "lr", "momentum", "weight_decay", "lr_mult", "decay_mult",
    )  # fmt: skip
    results: ClassVar[tuple[str, ...]] = ("", "velocity")
    flops_per_element: ClassVar[int] = 6

    def reference(
        self, parameter: Array, velocity: Array, gradient: Array, lr: Array, momentum: Array, weight_decay: Array,
        lr_mult: Array, decay_mult: Array,
    ) -> tuple[Array, ...]:  # fmt: skip
        step = gradient + (weight_decay * decay_mult) * parameter
        moved = momentum * velocity - (lr * lr_mult) * step
        return parameter + moved, moved


@dataclass(frozen=True)
class Adam(UpdateOp):
    """Kingma and Ba 2015, algorithm 1, `step` counted from 0; the decay is added to the gradient."""

    name: ClassVar[str] = "adam"
    operands: ClassVar[tuple[str, ...]] = (
        "parameter", "mean", "square", "gradient", "step", "lr", "beta1", "beta2", "eps", "weight_decay", "lr_mult",
        "decay_mult",
    )  # fmt: skip
    results: ClassVar[tuple[str, ...]] = ("", "mean", "square")
    flops_per_element: ClassVar[int] = 14

    def reference(
        self, parameter: Array, mean: Array, square: Array, gradient: Array, step: Array, lr: Array, beta1: Array,
        beta2: Array, eps: Array, weight_decay: Array, lr_mult: Array, decay_mult: Array,
    ) -> tuple[Array, ...]:  # fmt: skip
        gradient = gradient + (weight_decay * decay_mult) * parameter
        mean = beta1 * mean + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * gradient * gradient
        t = int(step) + 1
        rate = lr * lr_mult / (1 - beta1**t)
        return parameter - rate * mean / (np.sqrt(square / (1 - beta2**t)) + eps), mean, square
