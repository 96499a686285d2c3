"""A plan as commands: what each step emits, for a target that knows what that takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from alexnet_ir.backends.cuda.emit import FUSED, emit
from alexnet_ir.backends.cuda.gpu import MULTIPLIED, Gpu, Precision
from alexnet_ir.backends.cuda.inplace import in_place
from alexnet_ir.backends.cuda.launch import Emission
from alexnet_ir.backends.cuda.site import ALIGNMENT, site_of
from alexnet_ir.backends.target import FUSIONS
from alexnet_ir.ir.layout import Layout, Stored
from alexnet_ir.ir.op import Op
from alexnet_ir.ir.plan import Plan, Step
from alexnet_ir.ir.target import Storing, Target, Types
from alexnet_ir.ir.types import REPLICATED, TensorType


@dataclass(frozen=True)
class Emitter:
    """Emits for one generation of GPUs, in one precision."""

    gpu: Gpu
    precision: Precision

    @property
    def target(self) -> Target:
        """What passes must know of it. All parameters are updated together."""
        activations: Stored = "bf16" if self.precision == "bf16" else "f32"
        return Target(
            f"cuda {self.gpu.arch} {self.precision}",
            FUSIONS | frozenset(FUSED),
            in_place=in_place,
            workspace=self.workspace,
            alignment=ALIGNMENT,
            storing=Storing(activations, MULTIPLIED[self.precision]),
            together_bytes=2**62,
        )

    def workspace(self, op: Op, operands: Types, results: Types, layouts: Sequence[Layout]) -> int:
        """Bytes."""
        return self.emission(op, operands, results, layouts).workspace

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
    return emit(site_of(op, lying[:count], lying[count:], emitter.gpu, emitter.precision))


def emissions(plan: Plan, gpu: Gpu, precision: Precision) -> Iterator[tuple[Step, Emission]]:
    """Each step of a plan with what it runs."""
    emitter = Emitter(gpu, precision)
    for step in plan.steps:
        yield step, emitter.step(plan, step)
