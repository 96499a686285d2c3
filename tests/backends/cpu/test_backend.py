"""What the cpu backend is made for, what it makes a run of, and what that takes beside the plan's memory."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

import alexnet_ir
from alexnet_ir.backends.cpu import backend
from alexnet_ir.backends.cpu.backend import CpuBackend
from alexnet_ir.backends.cpu.isa import AVX2
from alexnet_ir.backends.emission.executable import EmittedExecutable
from alexnet_ir.backends.executable import NumpyExecutable
from alexnet_ir.diagnostics import AlexnetError
from alexnet_ir.training.step import TrainingStep
from tests.cli.conftest import TINY

from .running import TOOLS, needs_cc

SMALL = 16 << 10
"""Bytes: of Python's own, whatever the net."""
IMAGES, LABELS = np.random.default_rng(0).standard_normal((8, 2, 8, 8)), np.arange(8) % 4


def trainer(**options: object) -> TrainingStep:
    return alexnet_ir.compile(TINY).trainer(devices="cpu", **options)  # type: ignore[arg-type]


@needs_cc
def test_options_from_python() -> None:
    step = trainer(threads=1, conv="exact")
    assert step.setup.backend == CpuBackend(1, 1, None, True)
    assert step.setup.backend.emitter
    assert (step.setup.backend.emitter.threads, step.setup.backend.emitter.exact) == (1, True)
    with pytest.raises(AlexnetError, match="--threads 0: expected at least one"):
        trainer(threads=0)


@needs_cc
def test_a_run_allocates_nothing_but_what_it_returns() -> None:
    """The target says so of ops with kernels, which are all."""
    step = trainer(threads=2)
    assert all(
        step.setup.backend.target.temporary(one.op, *types(step, one.operands, one.results)) == 0
        for one in step.compiled.plan.steps
    )
    executable = step._training
    assert isinstance(executable, EmittedExecutable)
    step(IMAGES, LABELS)
    executable.prepared()
    tracemalloc.start()
    executable.prepared()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < SMALL


def types(step: TrainingStep, *names: tuple[str, ...]) -> list[list[object]]:
    return [[step.compiled.plan.types[name] for name in some] for some in names]


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy runs, and Python is warned; what is emitted for a named processor can be planned and not run."""
    monkeypatch.setattr(backend, "toolchain", lambda: None)
    with pytest.warns(UserWarning, match="there is no C compiler that works, so NumPy does the work"):
        step = trainer(threads=1)
    assert isinstance(step._training, NumpyExecutable)
    assert step._training.threads == 1
    assert np.isfinite(step(IMAGES, LABELS))
    assert step.setup.backend.about == "NumPy, 1 thread"
    named = CpuBackend(isa=AVX2)
    assert "avx2" in named.target.name
    with pytest.raises(AlexnetError, match="C for avx2 needs a C compiler to run"):
        named.storage(step.compiled.plan, {})


@needs_cc
def test_without_openmp_there_is_one_thread_to_emit_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """And products still use all."""
    assert TOOLS
    monkeypatch.setattr(backend, "toolchain", lambda: replace(TOOLS, openmp=()))
    single = CpuBackend(threads=4)
    assert single.emitter
    assert (single.emitter.threads, single.threads_each) == (1, 4)


def test_devices_share_threads() -> None:
    assert [CpuBackend(count, 7).threads_each for count in (1, 2, 3, 9)] == [7, 3, 2, 1]
