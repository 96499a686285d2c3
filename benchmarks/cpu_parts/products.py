"""AlexNet's fully connected layers: our kernels beside NumPy's BLAS, in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
from threadpoolctl import threadpool_limits

from alexnet_ir.backends.cpu.backend import CpuBackend
from alexnet_ir.backends.cpu.machine import NativeMachine
from alexnet_ir.backends.emission.commands import Place
from alexnet_ir.backends.emission.machine import Task
from alexnet_ir.diagnostics import error
from alexnet_ir.ir.layout import plain
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ir.plan import Stream
from alexnet_ir.ir.types import f32
from alexnet_ir.ops.dense import Fc, FcGradInput, FcGradWeight
from benchmarks.gpu_parts.report import Report, median

LAYERS = (9216, 4096), (4096, 4096), (4096, 1000)
"""Channels and kernels of fc6, fc7 and fc8."""
BATCHES = 1, 32, 128
PAUSE = 0.05
"""Seconds between turns, after which threads of a library no longer spin."""


def table(report: Report, threads: int, rounds: int) -> None:
    """Seconds of all products of a batch's training step, and of its forward part."""
    report.head("batch", "product", "ours, ms", "GFLOP/s", "NumPy's BLAS, ms", "GFLOP/s", "over ours")
    for batch in BATCHES:
        for name in ("fc", "fc_grad_input", "fc_grad_weight"):
            found: list[list[float]] = [[0.0] * rounds, [0.0] * rounds]
            for channels, kernels in LAYERS:
                for side, work in enumerate(_sides(name, batch, channels, kernels, threads)):
                    work()
                    for turn in range(rounds):
                        time.sleep(PAUSE)
                        begun = time.perf_counter()
                        work()
                        found[side][turn] += time.perf_counter() - begun
            ours, theirs = map(median, found)
            work_done = 2e-9 * batch * sum(channels * kernels for channels, kernels in LAYERS)
            cells = [f"{1e3 * ours:.2f}", f"{work_done / ours:.0f}", f"{1e3 * theirs:.2f}", f"{work_done / theirs:.0f}"]
            report.row(str(batch), name, *cells, f"{theirs / ours:.2f}")
    report.say("")


def _sides(name: str, batch: int, channels: int, kernels: int, threads: int) -> Iterator[Callable[[], object]]:
    """Our kernel and NumPy's product, on the same operands."""
    rng = np.random.default_rng(0)
    x, w, dy = (
        rng.standard_normal(shape, np.float32) for shape in ((batch, channels), (kernels, channels), (batch, kernels))
    )
    op, (left, right), (a, b) = {
        "fc": (Fc(), (x, w), (x, w.T)),
        "fc_grad_input": (FcGradInput(), (dy, w), (dy, w)),
        "fc_grad_weight": (FcGradWeight(), (dy, x), (dy.T, x)),
    }[name]
    out = np.empty((a.shape[0], b.shape[1]), np.float32)
    yield _ours(op, [left, right], out, threads)

    def theirs() -> None:
        with threadpool_limits(threads, "blas"):
            np.matmul(a, b, out=out)

    yield theirs


def _ours(op: Op, operands: list[Array], out: Array, threads: int) -> Callable[[], object]:
    backend = CpuBackend(threads=threads)
    machine, emitter = backend._machine(), backend.emitter
    if not isinstance(machine, NativeMachine) or emitter is None:
        raise error("products: there is no C compiler, so NumPy's BLAS is what runs")
    types = [f32(*array.shape) for array in (*operands, out)]
    lying = [(type_, plain(type_)) for type_ in types]
    emission = emitter.emit(op, lying[:-1], lying[-1:])
    workspace = machine.allocate(0, emission.workspace)

    def resolve(place: Place) -> int:
        if place.kind == "workspace":
            return workspace.address + place.number
        return int((operands[place.number] if place.kind == "operand" else out).ctypes.data)

    return machine.prepare([Task("product", Stream(0), (), emission.all, resolve)])
