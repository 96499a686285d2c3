"""Dropout (section 4.2 of the paper), with a mask that is a function of seed, stream, step and logical index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from alexnet_ir.ir.attributes import FRACTION, WHOLE, attribute, choice
from alexnet_ir.ir.graph import Builder, Node, Value
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ir.types import TensorType, f32
from alexnet_ir.ops.rules import want_shape
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

    def type_rule(self, input: TensorType, seed: TensorType, step: TensorType) -> TensorType:
        want_shape(self.name, "a seed", seed, ())
        want_shape(self.name, "a step", step, ())
        return f32(*input.shape)

    def reference(self, input: Array, seed: Array, step: Array) -> Array:
        key = Key(int(seed), Domain.DROPOUT, self.stream, int(step))
        kept = input * keep_mask(key, self.p, input.size).reshape(input.shape)
        return kept if self.scale == "test" else kept / input.dtype.type(1 - self.p)

    def gradient(self, build: Builder, node: Node, *grads: Value) -> tuple[Value | None, ...]:
        return build.emit(self, grads[0], *node.operands[1:], name="grad_input"), None, None
