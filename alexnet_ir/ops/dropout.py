"""Dropout (section 4.2 of the paper), with a mask that is a function of seed, stream, step and logical index."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from alexnet_ir.ir.attributes import FRACTION, WHOLE, attribute, choice
from alexnet_ir.ir.graph import Builder, Node, Value
from alexnet_ir.ir.op import Array, Op, Strategy
from alexnet_ir.ir.types import BATCH, CHANNELS, PARTIAL, REPLICATED, TensorType, f32
from alexnet_ir.ops.rules import want_rank, want_shape
from alexnet_ir.philox import Domain, Key, keep_mask


@dataclass(frozen=True)
class Dropout(Op):
    """input, seed, step -> the input, zeroed with probability p. With scale "test" what is kept stays as it is (and
    evaluation multiplies by 1 - p); with "train" it is divided by 1 - p. Linear, so its gradient is itself: the mask is
    drawn again, never stored."""

    name: ClassVar[str] = "dropout"
    operands: ClassVar[tuple[str, ...]] = ("input", "seed", "step")
    flops_per_element: ClassVar[int] = 12
    p: float = attribute(FRACTION)
    scale: str = attribute(choice("test", "train"), "test")
    stream: int = attribute(WHOLE, 0, hidden=True)
    start: int = attribute(WHOLE, 0, hidden=True)
    period: int = attribute(WHOLE, 0, hidden=True)
    """Where the input is a share: its first element's position in the whole, and that of the second sample's beyond
    the first's (0: they follow one another)."""

    def type_rule(self, input: TensorType, seed: TensorType, step: TensorType) -> TensorType:
        want_shape(self.name, "a seed", seed, ())
        want_shape(self.name, "a step", step, ())
        if self.period:
            want_rank(self.name, "a share", input, 1, 6)
        return f32(*input.shape)

    def reference(self, input: Array, seed: Array, step: Array) -> Array:
        kept = input * self.mask(input.shape, int(seed), int(step))
        return kept if self.scale == "test" else kept / input.dtype.type(1 - self.p)

    def mask(self, shape: tuple[int, ...], seed: int, step: int) -> NDArray[np.bool_]:
        """True where an input of this shape is kept."""
        key, count = Key(seed, Domain.DROPOUT, self.stream, step), math.prod(shape)
        if not self.period:
            return keep_mask(key, self.p, count, self.start).reshape(shape)
        samples = [
            keep_mask(key, self.p, count // shape[0], self.start + sample * self.period) for sample in range(shape[0])
        ]
        return np.stack(samples).reshape(shape)

    def gradient(self, build: Builder, node: Node, *grads: Value) -> tuple[Value | None, ...]:
        return build.emit(self, grads[0], *node.operands[1:], name="grad_input"), None, None

    def splits(self, operands: Sequence[TensorType], results: Sequence[TensorType], devices: int) -> Iterator[Strategy]:
        yield from (Strategy((p, REPLICATED, REPLICATED), (p,)) for p in (BATCH, CHANNELS, PARTIAL))

    def shard(self, operands: Sequence[TensorType], device: int, devices: int) -> Op:
        """The mask is that of the whole, wherever its elements lie."""
        whole, placement = operands[0].shape, operands[0].placement
        if placement == BATCH:
            return replace(self, start=device * math.prod(whole) // devices)
        if placement == CHANNELS:
            sample = math.prod(whole[1:])
            return replace(self, start=device * sample // devices, period=sample)
        return self
