"""Runs what is emitted for an op on the host runner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from alexnet_ir.backends.cuda.gpu import GPUS, Gpu, Precision
from alexnet_ir.backends.cuda.host.machine import HostMachine
from alexnet_ir.backends.cuda.host.runner import compiler
from alexnet_ir.backends.cuda.program import CudaEmitter
from alexnet_ir.backends.emission.commands import Emission
from alexnet_ir.ir.layout import Layout, Stored
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ir.types import TensorType
from tests.backends.emitted import Guarded, expected, layouts, run_emitted

__all__ = ["Guarded", "emitted", "expected", "layouts", "needs_gxx", "run"]

needs_gxx = pytest.mark.skipif(compiler() is None, reason="the host runner needs g++")


def run(
    op: Op,
    operands: Sequence[Array],
    *,
    gpu: Gpu = GPUS["sm_90"],
    precision: Precision = "fp32",
    stored: Stored | Sequence[Stored] = "f32",
    result_stored: Stored = "f32",
    channels_last: bool | Sequence[bool] = True,
    machine: HostMachine | None = None,
    over: Mapping[int, int] | None = None,
) -> list[Array]:
    """The results, as logical arrays (see `run_emitted`)."""
    return run_emitted(
        op,
        operands,
        CudaEmitter(gpu, precision).emit,
        (machine or HostMachine()).run,
        stored=stored,
        result_stored=result_stored,
        channels_last=channels_last,
        over=over,
    )


def emitted(
    op: Op,
    types: Sequence[TensorType],
    results: Sequence[TensorType],
    lying: Sequence[Layout],
    made: Sequence[Layout],
    gpu: Gpu,
    precision: Precision,
) -> Emission:
    """What is emitted for an op on tensors so laid out."""
    operands, outs = list(zip(types, lying, strict=True)), list(zip(results, made, strict=True))
    return CudaEmitter(gpu, precision).emit(op, operands, outs)
