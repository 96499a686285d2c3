"""What GPUs are emitted for, and what passes must know of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from alexnet_ir.backends.cuda.emit import FUSED, emit
from alexnet_ir.backends.cuda.emitters.augment import augmented
from alexnet_ir.backends.cuda.gpu import MULTIPLIED, Gpu, Precision
from alexnet_ir.backends.cuda.site import site_of
from alexnet_ir.backends.emission.commands import Emission, Tensor
from alexnet_ir.backends.emission.inplace import in_place
from alexnet_ir.backends.emission.program import Emitter
from alexnet_ir.backends.emission.site import ALIGNMENT, Lying
from alexnet_ir.backends.target import FUSIONS
from alexnet_ir.ir.layout import Stored
from alexnet_ir.ir.op import Op
from alexnet_ir.ir.plan import Plan, Step
from alexnet_ir.ir.target import Storing, Target


@dataclass(frozen=True)
class CudaEmitter(Emitter):
    """Emits for one generation of GPUs, in one precision."""

    suffix: ClassVar[str] = ".cu"
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

    @property
    def about(self) -> Mapping[str, str]:
        return {"arch": self.gpu.arch, "precision": self.precision}

    @property
    def by_hand(self) -> str:
        return f"nvcc -std=c++17 -ftz=true -arch={self.gpu.arch} -cubin FILE"

    def emit(self, op: Op, operands: Sequence[Lying], results: Sequence[Lying]) -> Emission:
        return emit(site_of(op, operands, results, self.gpu, self.precision))

    def augment(
        self, images: Tensor, places: Tensor, shifts: Tensor, mean: Tensor, result: Tensor, factor: float
    ) -> Emission:
        return augmented(images, places, shifts, mean, result, factor)


def emissions(plan: Plan, gpu: Gpu, precision: Precision) -> Iterator[tuple[Step, Emission]]:
    """Each step of a plan with what it runs."""
    emitter = CudaEmitter(gpu, precision)
    for step in plan.steps:
        yield step, emitter.step(plan, step)
