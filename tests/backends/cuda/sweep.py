"""Compiles every kernel that the example nets emit, training and evaluating, in every precision for every generation of
GPUs, and looks at what each takes: no register may be spilled, and every launch must be possible.

    python -m tests.backends.cuda.sweep [--arch sm_90] [--precision tf32] [NET ...]

prints a table, and leaves with 1 if something is amiss. No GPU needed; nothing is kept.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from alexnet_ir.backends.cuda.backend import CudaBackend
from alexnet_ir.backends.cuda.gpu import GPUS, Gpu, Precision
from alexnet_ir.backends.cuda.nvrtc import CompileError, Usage, compile, nvrtc
from alexnet_ir.backends.cuda.program import emissions
from alexnet_ir.backends.emission.commands import Kernel, Launch
from alexnet_ir.compiler import compile_inference, compile_step, read_model
from alexnet_ir.ir.plan import Plan
from alexnet_ir.setup import Setup

EXAMPLES = {path.stem: path for path in sorted((Path(__file__).parents[3] / "examples").glob("*.alx"))}
PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32", "bf16")

# What all GPUs can do, in the words of the CUDA C++ Programming Guide's table of compute capabilities.
REGISTERS = 65536  # of a block
REGISTER_UNIT = 8  # a thread's are rounded up to so many
THREADS = 1024  # of a block
GRID = (2**31 - 1, 65535, 65535)


@dataclass
class Sighting:
    """A kernel for a GPU, where it was seen first, what it uses or why it does not compile, and its launches."""

    kernel: Kernel
    gpu: Gpu
    where: str
    examined: Future[tuple[Usage, str]]
    launches: list[Launch] = field(default_factory=list)

    @property
    def usage(self) -> Usage:
        """Once it is compiled."""
        return self.examined.result()[0]

    @property
    def threads(self) -> int:
        """Of its largest block."""
        return max(x * y * z for x, y, z in (launch.block for launch in self.launches))

    @property
    def shared(self) -> int:
        """Bytes that a block takes at most, static and dynamic."""
        return self.usage.shared + max(launch.shared for launch in self.launches)

    def faults(self) -> Iterator[str]:
        """What must not be."""
        usage, error = self.examined.result()
        if error:
            yield error
        if usage.spill_stores or usage.spill_loads:
            yield f"spills {usage.spill_stores} bytes, loads {usage.spill_loads}"
        if usage.stack:
            yield f"a stack of {usage.stack} bytes"
        rounded = -(-usage.registers // REGISTER_UNIT) * REGISTER_UNIT
        if rounded * -(-self.threads // 32) * 32 > REGISTERS:
            yield f"{usage.registers} registers for each of {self.threads} threads"
        if self.shared > self.gpu.shared:
            yield f"{self.shared} bytes of shared memory, of {self.gpu.shared}"
        for launch in self.launches:
            if self.threads > THREADS or any(not 0 < n <= most for n, most in zip(launch.grid, GRID, strict=True)):
                yield f"grid {launch.grid} of blocks {launch.block}"

    def __str__(self) -> str:
        usage = self.usage
        figures = f"{usage.registers} registers, {self.threads} threads, {self.shared} bytes shared"
        return f"{self.gpu.arch} {self.kernel.name} ({self.where}): {figures}"


def examine(kernel: Kernel, arch: str) -> tuple[Usage, str]:
    """What a kernel uses, or why it does not compile."""
    try:
        return compile(kernel.source, kernel.name, arch).usage, ""
    except CompileError as failure:
        return Usage(0, 0, 0, 0, 0), str(failure)


def plans(nets: Sequence[str], gpu: Gpu, precision: Precision) -> Iterator[tuple[str, Plan]]:
    """Training step and evaluation of each net."""
    for net in nets:
        model, setup = read_model(EXAMPLES[net]), Setup(CudaBackend(gpu, precision), ("0",))
        step = compile_step(model, setup)
        yield net, step.plan
        yield net, compile_inference(model, setup, step).plan


def sweep(nets: Sequence[str], gpu: Gpu, precisions: Sequence[Precision]) -> list[Sighting]:
    """Every distinct kernel of the nets for one GPU, each compiled while the next are emitted."""
    seen: dict[Kernel, Sighting] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for precision in precisions:
            for net, plan in plans(nets, gpu, precision):
                for step, emission in emissions(plan, gpu, precision):
                    for launch in (command for command in emission.commands if isinstance(command, Launch)):
                        where = f"{precision} {net} {step.name}"
                        kernel = launch.kernel
                        if kernel not in seen:
                            seen[kernel] = Sighting(kernel, gpu, where, pool.submit(examine, kernel, gpu.arch))
                        seen[kernel].launches.append(launch)
    return list(seen.values())


def supported(gpu: Gpu, asked: Sequence[Precision]) -> list[Precision]:
    """Without tensor cores there is fp32 alone."""
    return [precision for precision in asked if gpu.tensor_cores or precision == "fp32"]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", nargs="*", metavar="NET", choices=[[], *EXAMPLES], help="all if none is named")
    parser.add_argument("--arch", action="append", choices=GPUS)
    parser.add_argument("--precision", action="append", choices=PRECISIONS)
    asked = parser.parse_args()
    print(f"NVRTC {'.'.join(map(str, nvrtc().version))} ({nvrtc().place})")
    print(f"{'':8}{'kernels':>8}{'seconds':>9}{'registers':>11}{'shared':>9}{'faults':>8}")
    found: list[Sighting] = []
    for arch in asked.arch or GPUS:
        start, precisions = time.perf_counter(), supported(GPUS[arch], asked.precision or PRECISIONS)
        some = sweep(asked.nets or list(EXAMPLES), GPUS[arch], precisions)
        row(arch, some, time.perf_counter() - start)
        found += some
    return report(found)


def row(arch: str, found: Sequence[Sighting], seconds: float) -> None:
    """One line of the table."""
    registers, shared = (
        max(figures, default=0)
        for figures in ((kernel.usage.registers for kernel in found), (kernel.shared for kernel in found))
    )
    faults = sum(any(kernel.faults()) for kernel in found)
    print(f"{arch:8}{len(found):8}{seconds:9.1f}{registers:11}{shared:9}{faults:8}", flush=True)


def report(found: Sequence[Sighting]) -> int:
    """The kernels that take most, and all that are at fault; 1 if there are any."""
    print("\nmost registers:")
    for kernel in sorted(found, key=lambda kernel: -kernel.usage.registers)[:10]:
        print(f"  {kernel}")
    at_fault = [(kernel, faults) for kernel in found if (faults := list(dict.fromkeys(kernel.faults())))]
    for kernel, faults in at_fault:
        print(f"FAULT {kernel}\n" + "\n".join(f"  {fault}" for fault in faults))
    print(f"\n{len(found)} kernels, {len(at_fault)} at fault")
    return bool(at_fault)


if __name__ == "__main__":
    sys.exit(main())
