"""(being written) Runs emitted kernels on the CPU: the very same source, compiled by g++, a fiber for each thread of a
block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alexnet_ir.backends.cuda.launch import Dim3, Kernel


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that a kernel may touch, and what to call them in a report."""

    address: int
    nbytes: int
    name: str


class HostKernel:
    """A kernel made ready to run."""

    def __init__(self, kernel: Kernel, check: bool = False) -> None:
        raise NotImplementedError

    def __call__(
        self,
        grid: Dim3,
        block: Dim3,
        arguments: Sequence[Memory | np.generic],
        *,
        shared: int = 0,
        regions: Sequence[Memory] = (),
        order: str = "forward",
        seed: int = 0,
    ) -> None:
        raise NotImplementedError
