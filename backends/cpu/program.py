"""What CPUs are emitted for, and what passes must know of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from alexnet_ir.backends import meaning
from alexnet_ir.backends.cpu.emit import FUSED, emit, has_kernel
from alexnet_ir.backends.cpu.emitters.augment import augmented
from alexnet_ir.backends.cpu.isa import Isa
from alexnet_ir.backends.cpu.site import Site
from alexnet_ir.backends.cpu.toolchain import FLAGS
from alexnet_ir.backends.emission.commands import Emission, Tensor
from alexnet_ir.backends.emission.inplace import in_place
from alexnet_ir.backends.emission.program import Emitter
from alexnet_ir.backends.emission.site import ALIGNMENT, Lying, tensors_of
from alexnet_ir.backends.target import FUSIONS
from alexnet_ir.ir.op import Op
from alexnet_ir.ir.target import Storing, Target, Types


@dataclass(frozen=True)
class CEmitter(Emitter):
    """Emits C for a kind of processor and so many threads a device; `exact` forbids what rounds more than a direct
    convolution does."""

    suffix: ClassVar[str] = ".c"
    isa: Isa
    threads: int
    exact: bool = False

    @property
    def target(self) -> Target:
        """What passes must know of it."""
        exact = " exact" if self.exact else ""
        return Target(
            f"cpu {self.isa.name}, {self.threads} threads{exact}",
            FUSIONS | frozenset(FUSED),
            in_place=in_place,
            workspace=self.workspace,
            kept=self.kept,
            temporary=_temporary,
            alignment=ALIGNMENT,
            storing=Storing(),
        )

    @property
    def about(self) -> Mapping[str, str]:
        return {"isa": self.isa.name, "threads": str(self.threads)}

    @property
    def by_hand(self) -> str:
        return f"cc {' '.join((*FLAGS, *self.isa.flags))} -fopenmp -o FILE.so FILE -lm"

    def emit(self, op: Op, operands: Sequence[Lying], results: Sequence[Lying]) -> Emission:
        return emit(Site(op, *tensors_of(operands, results), self.isa, self.threads, self.exact))

    def augment(
        self, images: Tensor, places: Tensor, shifts: Tensor, mean: Tensor, result: Tensor, factor: float
    ) -> Emission:
        return augmented(self.isa, images, places, shifts, mean, result, factor)


def _temporary(op: Op, operands: Types, results: Types) -> int:
    """What runs by its meaning allocates what that makes; kernels nothing."""
    return 0 if has_kernel(op) else meaning.temporary(op, operands, results)
