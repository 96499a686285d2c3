"""What a program is compiled for: devices, a placement on them, and limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alexnet_ir.backends.base import Backend
from alexnet_ir.backends.cpu.backend import CpuBackend
from alexnet_ir.backends.cpu.isa import ISAS
from alexnet_ir.backends.cuda.backend import CudaBackend
from alexnet_ir.backends.cuda.found import available, machine_of
from alexnet_ir.backends.cuda.gpu import GPUS, PRECISIONS, Gpu, Precision
from alexnet_ir.backends.cuda.host.compile import compiler
from alexnet_ir.backends.cuda.host.machine import HostMachine
from alexnet_ir.backends.reference.executor import ReferenceBackend
from alexnet_ir.diagnostics import counted, error, listed
from alexnet_ir.ir.profile import PROFILES, Profile, on_tensor_cores, profile_of

CPU: Mapping[str, Backend] = {"cpu": CpuBackend(), "reference": ReferenceBackend()}
HOST = "host"
"""Emitted CUDA kernels on this machine's CPU: slow, for whoever writes kernels."""
PLANNED_ARCH, PLAIN_ARCH = "sm_90", "sm_75"
"""What kernels are emitted for where there is no GPU and none is named; and without tensor cores, as in the paper."""
CONVOLUTIONS = ("exact", "fast")
"""How a CPU computes convolutions: as they are written, or also by Winograd's algorithms, which round more."""
OLD, NEW = "gtx580", "h100-nvlink"
"""Profiles for GPUs that are planned for (the paper's), and for those that there are."""


@dataclass(frozen=True)
class Setup:
    """`devices` are as in `--devices`; several of one name are logical devices with memory of their own. `place` names
    a placement (None: the file's for so many devices, else `auto`); `profile` says how fast a device is, and
    `memory_limit` how many bytes it may use."""

    backend: Backend = CPU["cpu"]
    devices: tuple[str, ...] = ("cpu",)
    place: str | None = None
    profile: Profile = PROFILES["cpu"]
    memory_limit: int | None = None


@dataclass(frozen=True)
class Kernels:
    """How emitted kernels are made and run. For which generation of GPUs or which vectors of CPUs (None: what there
    is). On GPUs in which precision (None: tf32 where the GPU has it), replayed as a CUDA graph or launched one by one,
    with every access checked (on the host). On a CPU by so many threads (None: one a core), convolutions `exact` or
    `fast` (None: fast)."""

    precision: str | None = None
    arch: str | None = None
    graph: bool = True
    check: bool = False
    threads: int | None = None
    conv: str | None = None


def setup_of(
    devices: str | None = None,
    place: str | None = None,
    profile: str | None = None,
    memory_limit: int | None = None,
    *,
    kernels: Kernels = Kernels(),
    present: bool = True,
) -> Setup:
    """From the words of the command line; AlexnetError where there is no such device, placement or profile. Devices
    need not be `present` to compile for them: GPUs are planned for as devices of the profile, the paper's if none is
    named."""
    names = tuple(name.strip() for name in (devices or (default_devices() if present else "cpu")).split(","))
    _check_names(devices, names)
    if names[0] in CPU:
        _refuse_gpu_options(names[0], kernels)
        figures = profile_of(profile) if profile else PROFILES["cpu"]
        return Setup(_on_cpu(names, kernels), names, place, figures, memory_limit)
    _refuse_cpu_options(devices, kernels)
    backend = _cuda(names, kernels, profile, present)
    usual = "cpu" if names[0] == HOST else NEW if present or kernels.arch or backend.gpu.tensor_cores else OLD
    figures = profile_of(profile or usual)
    if backend.gpu.tensor_cores:
        figures = on_tensor_cores(figures, backend.precision)
    return Setup(backend, names, place, figures, memory_limit)


def _on_cpu(names: Sequence[str], kernels: Kernels) -> Backend:
    """A backend for so many logical devices on the CPU."""
    if names[0] != "cpu":
        _refuse_cpu_options(names[0], kernels)
        return CPU[names[0]]
    if kernels.threads is not None and kernels.threads < len(names):
        raise error(f"--threads {kernels.threads}: expected at least one for each of {counted(len(names), 'device')}")
    if kernels.conv not in (None, *CONVOLUTIONS):
        raise error(f"--conv {kernels.conv}: no such way", helps=[f"there is {listed(CONVOLUTIONS)}"])
    if kernels.arch is not None and kernels.arch not in ISAS:
        raise error(
            f"--arch {kernels.arch}: no such vectors of CPUs", helps=[f"there is {listed(ISAS)}; GPUs are --devices 0"]
        )
    isa = ISAS[kernels.arch] if kernels.arch else None
    return CpuBackend(len(names), kernels.threads, isa, kernels.conv == "exact")


def _check_names(devices: str | None, names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in (*CPU, HOST) and not name.isdecimal()]
    if unknown:
        raise error(
            f"--devices {devices}: no such device as {unknown[0]!r}",
            helps=[f"there is {listed((*CPU, HOST))}, and GPUs by number: `alexnet-ir devices` lists them"],
        )
    if len({"gpu" if name.isdecimal() else name for name in names}) > 1:
        raise error(
            f"--devices {devices}: devices of one kind work together, not {names[0]} and {names[1]}",
            helps=[f"use --devices {names[0]},{names[0]}"],
        )


def _refuse_gpu_options(device: str, kernels: Kernels) -> None:
    """What would do nothing on a CPU."""
    for option, given in (
        (f"--precision {kernels.precision}", kernels.precision not in (None, "fp32")),
        ("--no-graph", not kernels.graph),
        ("--check", kernels.check),
    ):
        if given:
            raise error(
                f"{option}: that is of emitted CUDA kernels, and {device} runs none",
                helps=["use --devices 0 for a GPU, or --devices host to run its kernels on the CPU"],
            )


def _refuse_cpu_options(device: str | None, kernels: Kernels) -> None:
    """What would do nothing but on `cpu`."""
    for option, given in (
        (f"--threads {kernels.threads}", kernels.threads is not None),
        (f"--conv {kernels.conv}", kernels.conv is not None),
        (f"--arch {kernels.arch}", kernels.arch is not None and (kernels.arch in ISAS or device in CPU)),
    ):
        if given:
            where = f"--devices {device}" if device else "a GPU"
            raise error(f"{option}: that is of emitted C, and {where} runs none", helps=["use --devices cpu"])


def _cuda(names: Sequence[str], kernels: Kernels, profile: str | None, present: bool) -> CudaBackend:
    if names[0] == HOST:
        if not kernels.graph:
            raise error("--no-graph: the host launches kernels one by one anyway", helps=["leave it out"])
        gpu = _gpu(kernels.arch or PLANNED_ARCH)
        if present and compiler() is None:
            raise error("--devices host: no C++ compiler found", helps=["install g++, or name one in CXX"])
        machine = HostMachine(check=kernels.check, gpu=gpu) if present else None
        return CudaBackend(gpu, _precision(kernels.precision, gpu), machine)
    if kernels.check:
        raise error("--check: accesses are checked on the host only", helps=["use --devices host"])
    if present:
        if kernels.arch:
            raise error(
                f"--arch {kernels.arch}: kernels that run are made for the GPU there is", helps=["leave it out"]
            )
        gpus = machine_of(tuple(map(int, names)), kernels.graph)
        return CudaBackend(gpus.gpu, _precision(kernels.precision, gpus.gpu), gpus)
    new = profile == NEW or kernels.precision not in (None, "fp32")
    gpu = _gpu(kernels.arch or (PLANNED_ARCH if new else PLAIN_ARCH))
    return CudaBackend(gpu, _precision(kernels.precision, gpu))


def _gpu(arch: str) -> Gpu:
    if arch not in GPUS:
        raise error(f"--arch {arch}: no such generation of GPUs", helps=[f"there is {listed(GPUS)}"])
    return GPUS[arch]


def _precision(name: str | None, gpu: Gpu) -> Precision:
    """As named, or what the GPU is best at."""
    for precision in PRECISIONS:
        if name == precision:
            if precision != "fp32" and not gpu.tensor_cores:
                raise error(f"--precision {name}: {gpu.arch} computes in fp32 only", helps=["leave it out"])
            return precision
    if name is not None:
        raise error(f"--precision {name}: no such precision", helps=[f"there is {listed(PRECISIONS)}"])
    return "tf32" if gpu.tensor_cores else "fp32"


def default_devices(count: int = 1) -> str:
    """So many GPUs, or as many logical devices on the first; on the CPU where no GPU can be used."""
    found = available()
    gpus = [] if found.missing else [str(gpu.number) for gpu in found.gpus]
    if not gpus:
        return ",".join(["cpu"] * count)
    return ",".join(gpus[:count] if len(gpus) >= count else gpus[:1] * count)
