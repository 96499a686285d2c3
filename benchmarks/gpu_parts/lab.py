"""Where it is measured: a GPU, or for a rehearsal a double of CuPy whose kernels the host runner runs."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from alexnet_ir.backends.cuda import executor
from alexnet_ir.backends.cuda.backend import CudaBackend
from alexnet_ir.backends.cuda.eager import Arrays, arrays_at
from alexnet_ir.backends.cuda.executor import CupyMachine
from alexnet_ir.backends.cuda.found import available
from alexnet_ir.backends.cuda.gpu import GPUS, PRECISIONS, Gpu, Precision
from alexnet_ir.ir.op import Array
from alexnet_ir.setup import Kernels, Setup, setup_of


@dataclass
class Lab:
    """The GPU of number 0."""

    is_rehearsal = False
    _machines: dict[tuple[str, bool], CupyMachine] = field(default_factory=dict)

    @property
    def gpu(self) -> Gpu:
        """What it can do."""
        return self.machine().gpu

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """That it has, the quickest first."""
        return ("tf32", "bf16", "fp32") if self.gpu.tensor_cores else ("fp32",)

    def machine(self, devices: str = "0", graph: bool = True) -> CupyMachine:
        """For what is measured by itself; one for each choice."""
        if (devices, graph) not in self._machines:
            backend = self.setup("fp32", devices, graph=graph).backend
            assert isinstance(backend, CudaBackend)
            assert isinstance(backend.machine, CupyMachine)
            self._machines[devices, graph] = backend.machine
        return self._machines[devices, graph]

    def setup(self, precision: Precision, devices: str = "0", place: str | None = None, graph: bool = True) -> Setup:
        """What a training step is compiled for, with a machine of its own."""
        return setup_of(devices, place, kernels=Kernels(precision, graph=graph))

    def arrays(self) -> Arrays:
        """Runs single ops on arrays that the net takes."""
        return arrays_at(0)

    def given(self, array: Array) -> Any:
        """An array where the net is."""
        return executor.cupy().asarray(array)

    def read(self, array: Any) -> Array:
        """It again, on the host."""
        return executor.cupy().asnumpy(array)  # type: ignore[no-any-return]

    def synchronize(self) -> None:
        """Wait for all that is queued."""
        executor.cupy().cuda.Device(0).synchronize()

    def cache_bytes(self) -> int:
        """Of the L2."""
        return int(executor.cupy().cuda.runtime.getDeviceProperties(0)["l2CacheSize"])

    def facts(self) -> list[str]:
        """GPU and versions, a line each."""
        found = available()
        gpu = found.gpus[0]
        free = self.machine().free_bytes(0) or 0
        lines = [f"GPU: {gpu.name} ({gpu.arch}), {free / 2**30:.1f} GiB free"]
        lines += [f"{name}: {version}" for name, version in found.versions.items()]
        return [*lines, *clocks()]


class Rehearsal(Lab):
    """No GPU: kernels run on the CPU, and every figure is of no meaning."""

    is_rehearsal = True

    def __init__(self) -> None:
        super().__init__()
        import pytest

        from tests.backends.cuda import cupy_double

        self._double, self._patch = cupy_double, pytest.MonkeyPatch()
        self._world = cupy_double.enter(cupy_double.World(gpus=(cupy_double.Model(memory=8 << 30),)), self._patch)
        self._patch.setattr(executor.cupy().cuda, "get_elapsed_time", _elapsed, raising=False)

    def leave(self) -> None:
        """Whatever is in the place of CuPy is taken away."""
        self._patch.undo()

    @property
    def gpu(self) -> Gpu:
        return GPUS["sm_90"]

    @property
    def precisions(self) -> tuple[Precision, ...]:
        return PRECISIONS

    def setup(self, precision: Precision, devices: str = "0", place: str | None = None, graph: bool = True) -> Setup:
        names = tuple(devices.split(","))
        machine = CupyMachine(tuple(map(int, names)), graph, self._double.pickled)
        return Setup(CudaBackend(self.gpu, precision, machine), names, place)

    def arrays(self) -> Arrays:
        return arrays_at(None)

    def given(self, array: Array) -> Any:
        return array

    def read(self, array: Any) -> Array:
        return array  # type: ignore[no-any-return]

    def synchronize(self) -> None:
        """Nothing is queued."""

    def cache_bytes(self) -> int:
        return 1 << 12

    def facts(self) -> list[str]:
        return ["REHEARSAL: no GPU. Kernels run on the CPU, on tiny shapes; no figure says anything about a GPU."]


def _elapsed(start: Any, end: Any) -> float:
    """As cupy.cuda.get_elapsed_time, milliseconds: queued work of the double runs when it is waited for."""
    start.synchronize()
    before = time.perf_counter()
    end.synchronize()
    return 1e3 * (time.perf_counter() - before)


def clocks() -> list[str]:
    """What nvidia-smi says of driver, clocks and power; nothing where it says nothing."""
    asked = "driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.limit,temperature.gpu"
    try:
        done = subprocess.run(
            ["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader", "-i", "0"],
            capture_output=True, text=True, timeout=20, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ["clocks: nvidia-smi says nothing"]
    pairs = zip(asked.split(","), done.stdout.strip().split(", "), strict=False)
    return [f"{name}: {value}" for name, value in pairs]


def seconds_of(lab: Lab, work: Callable[[], object], times: int) -> float:
    """Of one of so many in a row, by the host's clock."""
    work()
    lab.synchronize()
    start = time.perf_counter()
    for _ in range(times):
        work()
    lab.synchronize()
    return (time.perf_counter() - start) / times
