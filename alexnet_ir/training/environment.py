"""On what a run runs: what its folder and its checkpoints say of it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from alexnet_ir.backends.cpu.backend import CpuBackend
from alexnet_ir.backends.cuda.backend import CudaBackend
from alexnet_ir.backends.streams import cores
from alexnet_ir.training.step import TrainingStep
from alexnet_ir.version import __version__

PACKAGES = ("numpy", "safetensors", "lark", "cupy-cuda12x", "cupy-cuda13x")


def environment_of(step: TrainingStep, options: Mapping[str, Any]) -> dict[str, Any]:
    """Versions, machine, devices and placement, the caller's options, and when it began."""
    setup, placing = step.setup, step.compiled.placing
    return {
        "alexnet_ir": __version__,
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "platform": platform.platform(),
        "processor": processor(),
        "cores": cores(),
        "devices": ",".join(setup.devices),
        "backend": _about(step),
        "placement": str(placing),
        "seed": step.seed,
        "options": dict(options),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    """What is different of what may change a result, as `old -> new`."""
    return {
        key: f"{old.get(key)} -> {value}"
        for key, value in new.items()
        if key not in ("options", "started") and old.get(key) != value
    }


def _about(step: TrainingStep) -> str:
    """How kernels are made: what else changes the last bits."""
    backend = step.setup.backend
    if isinstance(backend, CudaBackend):
        return f"{backend.gpu.arch} in {backend.precision}"
    return backend.about if isinstance(backend, CpuBackend) else backend.name


def processor() -> str:
    """Its name, or its architecture where the system does not tell."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(errors="replace").splitlines() if told.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
