"""Float32 with NumPy and its BLAS: where there is no GPU and no C compiler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from alexnet_ir.backends.kernel import Kernel
from alexnet_ir.backends.numpy.kernels import KERNELS
from alexnet_ir.backends.reference.executor import ReferenceBackend
from alexnet_ir.ir.op import Op


@dataclass(frozen=True)
class NumpyBackend(ReferenceBackend):
    """Kernels of its own for the slow steps, the reference's meaning for the rest."""

    name: ClassVar[str] = "cpu"
    kernels: ClassVar[Mapping[type[Op], Kernel]] = KERNELS
    dtype: np.dtype[Any] = np.dtype("f4")
