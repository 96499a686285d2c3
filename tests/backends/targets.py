"""What an emitted op runs on in a test: C on this processor, CUDA on the host runner."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from alexnet_ir.ir.op import Array

from .cpu import running as cpu
from .cuda import running as cuda

Run = Callable[..., list[Array]]
"""Of an op and operands, and `run_emitted`'s options: the results."""
TARGETS = pytest.mark.parametrize(
    "run",
    [pytest.param(cpu.run, id="cpu", marks=cpu.needs_cc), pytest.param(cuda.run, id="cuda", marks=cuda.needs_gxx)],
)
