"""The oracle: every step by the op's own meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from alexnet_ir.backends.base import Storage
from alexnet_ir.backends.executable import NumpyExecutable
from alexnet_ir.backends.kernel import Kernel
from alexnet_ir.backends.storage import ArrayStorage
from alexnet_ir.backends.streams import cores
from alexnet_ir.backends.target import kernel_of, numpy_target
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ir.plan import Plan
from alexnet_ir.ir.target import Target


@dataclass(frozen=True)
class ReferenceBackend:
    """Every op by its own NumPy meaning, in float64 or float32. Products use so many threads a device (None: its share
    of the cores)."""

    name: ClassVar[str] = "reference"
    kernels: ClassVar[Mapping[type[Op], Kernel]] = {}
    dtype: np.dtype[Any] = np.dtype("f8")
    threads: int | None = None

    @property
    def target(self) -> Target:
        """What passes must know of it; bytes are those of float32, in proportion to which all else grows."""
        return numpy_target(self.name, kernel_of(self.kernels))

    def storage(self, plan: Plan, values: Mapping[str, Array]) -> ArrayStorage:
        """Arrays in the backend's float type."""
        return ArrayStorage(plan, values, self.dtype)

    def build(self, plan: Plan, storage: Storage) -> NumpyExecutable:
        """The plan on these arrays."""
        assert isinstance(storage, ArrayStorage)
        threads = self.threads or max(1, cores() // plan.devices)
        return NumpyExecutable(plan, storage, kernel_of(self.kernels), self.dtype, threads)
