"""What there is of GPUs, of what they need, and what is missing, in the order in which a user mends it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from alexnet_ir.backends.cuda import cublas
from alexnet_ir.backends.cuda.card import OLDEST, gpu_of
from alexnet_ir.backends.cuda.executor import CupyMachine, cupy, load_cublas
from alexnet_ir.backends.cuda.nvrtc import nvrtc
from alexnet_ir.diagnostics import AlexnetError, Diagnostic, counted, error, listed

INSUFFICIENT_DRIVER, NO_DEVICE = 35, 100  # cudaError_t
EXTRAS = (12, 13)
"""The versions of CUDA that there is an extra for."""
INSTALL = (
    'with a driver for CUDA 13 (nvidia-smi says): pip install "alexnet-ir[cuda13]"',
    'with one for CUDA 12: pip install "alexnet-ir[cuda12]"',
)


@dataclass(frozen=True, slots=True)
class FoundGpu:
    """A GPU by its number: the generation that kernels are made for, and bytes of memory, all and free (None: nobody
    has asked)."""

    number: int
    name: str
    arch: str
    memory: int
    free: int | None


@dataclass(frozen=True, slots=True)
class Found:
    """The GPUs, versions by name (`driver` and `cupy-cuda` are of CUDA), and what is missing: while there is any of
    it, no GPU can be used."""

    gpus: tuple[FoundGpu, ...]
    versions: dict[str, str]
    missing: tuple[Diagnostic, ...]


def available(free: bool = False) -> Found:
    """A look around; whatever goes wrong is something that is missing. How much memory is `free` takes a while to
    find out, and some of it, on every GPU."""
    gpus: list[FoundGpu] = []
    versions: dict[str, str] = {}
    missing: list[Diagnostic] = []
    for part in (_cupy, _gpus, _nvrtc, _cublas):
        try:
            missing += part(gpus, versions)
        except AlexnetError as failure:
            missing += failure.diagnostics
        except Exception as failure:  # a broken installation can fail in any way
            missing.append(Diagnostic("", f"{part.__name__[1:]}: {type(failure).__name__}: {failure}"))
        if missing and part in (_cupy, _gpus):
            break  # what follows would not work either
    if free and not missing:
        gpus = [replace(gpu, free=_free(gpu.number)) for gpu in gpus]
    return Found(tuple(gpus), versions, tuple(missing))


def machine_of(devices: tuple[int, ...], graph: bool = True) -> CupyMachine:
    """A machine of these GPUs; AlexnetError where they cannot be used."""
    found, asked = available(), f"--devices {','.join(map(str, devices))}"
    if found.missing:
        first, *rest = found.missing
        helps = (*first.helps, "--devices cpu needs no GPU")
        raise AlexnetError(
            [Diagnostic("", f"{asked}: no GPU can be used: {first.message}", None, "", first.notes, helps), *rest]
        )
    by_number = {gpu.number: gpu for gpu in found.gpus}
    for number in devices:
        if number not in by_number:
            verb = "is" if len(by_number) == 1 else "are"
            there = f"there {verb} {counted(len(by_number), 'GPU')}, {listed(map(str, by_number))}"
            alike = ",".join("0" for _ in devices)
            raise error(f"{asked}: {there}", helps=[f"use --devices {alike}", "`alexnet-ir devices` lists them"])
    used = [by_number[number] for number in dict.fromkeys(devices)]
    _check_generations(asked, used)
    try:
        return CupyMachine(devices, graph)
    except RuntimeError as failure:  # one may be full, or another program's alone
        raise error(f"{asked}: no GPU can be used: {failure}", helps=["nvidia-smi says what else uses it"]) from failure


def _check_generations(asked: str, used: Sequence[FoundGpu]) -> None:
    for gpu in used:
        if int(gpu.arch.removeprefix("sm_")) < OLDEST:
            raise error(
                f"{asked}: GPU {gpu.number}, {gpu.name}, is {gpu.arch}: kernels are for sm_{OLDEST} and later",
                helps=["use a later GPU, or --devices cpu"],
            )
        if gpu.arch != used[0].arch:
            raise error(
                f"{asked}: GPUs of one generation work together, not {used[0].arch} and {gpu.arch}",
                helps=[f"use one of them: --devices {used[0].number},{used[0].number}"],
            )


# --- the parts --------------------------------------------------------------------------------------------------------

Part = Callable[[list[FoundGpu], dict[str, str]], Iterator[Diagnostic]]
"""Looks for something, notes GPUs and versions, and yields what is missing."""


def _cupy(gpus: list[FoundGpu], versions: dict[str, str]) -> Iterator[Diagnostic]:
    try:
        versions["cupy"] = str(cupy().__version__)
    except ImportError as failure:
        notes = () if isinstance(failure, ModuleNotFoundError) and failure.name == "cupy" else (str(failure),)
        yield Diagnostic(
            "", "CuPy is not installed" if not notes else "CuPy cannot be imported", notes=notes, helps=INSTALL
        )


def _gpus(gpus: list[FoundGpu], versions: dict[str, str]) -> Iterator[Diagnostic]:
    cuda = cupy().cuda
    made_for, driver = cuda.runtime.runtimeGetVersion(), cuda.runtime.driverGetVersion()
    versions["cupy-cuda"] = _dotted(made_for)
    if not driver:
        yield Diagnostic(
            "",
            "there is no NVIDIA driver",
            helps=("install the driver of your GPU, from your system or from nvidia.com/drivers",),
        )
        return
    versions["driver"] = _dotted(driver)
    try:
        count = cuda.runtime.getDeviceCount()
    except RuntimeError as failure:
        status = getattr(failure, "status", None)
        if status == INSUFFICIENT_DRIVER:
            yield _old_driver(driver, made_for)
            return
        if status != NO_DEVICE:
            raise
        count = 0
    gpus += (_gpu(cuda, number) for number in range(count))
    if not gpus:
        yield Diagnostic(
            "", "the driver sees no GPU", helps=("does nvidia-smi list one? Is CUDA_VISIBLE_DEVICES empty?",)
        )


def _old_driver(driver: int, made_for: int) -> Diagnostic:
    helps = [f"install a driver for CUDA {_dotted(made_for)} or later"]
    ours = driver // 1000
    if ours in EXTRAS and ours != made_for // 1000:
        helps.append(f'or: pip uninstall cupy-cuda{made_for // 1000}x, pip install "alexnet-ir[cuda{ours}]"')
    message = f"the driver is too old: it is for CUDA {_dotted(driver)}, CuPy for {_dotted(made_for)}"
    return Diagnostic("", message, helps=tuple(helps))


def _nvrtc(gpus: list[FoundGpu], versions: dict[str, str]) -> Iterator[Diagnostic]:
    major, minor = nvrtc().version
    versions["nvrtc"] = f"{major}.{minor}"
    driver = int(versions["driver"].partition(".")[0])
    if major > driver:
        message = f"NVRTC {major}.{minor} makes code that a driver for CUDA {versions['driver']} does not load"
        yield Diagnostic(
            "",
            message,
            notes=(nvrtc().place,),
            helps=(f'pip install "nvidia-cuda-nvrtc-cu{driver}"', "or install a newer driver"),
        )
    known = _architectures(nvrtc().library)
    for gpu in gpus:
        if gpu.arch not in known and int(gpu.arch.removeprefix("sm_")) >= OLDEST:
            message = f"NVRTC {major}.{minor} does not know {gpu.arch}, GPU {gpu.number}"
            yield Diagnostic("", message, notes=(nvrtc().place,), helps=("install a newer CUDA or CuPy",))


def _cublas(gpus: list[FoundGpu], versions: dict[str, str]) -> Iterator[Diagnostic]:
    major = cupy().cuda.runtime.runtimeGetVersion() // 1000
    try:
        versions["cublas"] = cublas.version(load_cublas(cupy().cuda))
    except (ImportError, OSError) as failure:
        extra = f'pip install "alexnet-ir[cuda{major}]"'
        yield Diagnostic("", "cuBLAS was not found", notes=(str(failure).partition("\n")[0],), helps=(extra,))


def _gpu(cuda: Any, number: int) -> FoundGpu:
    properties = cuda.runtime.getDeviceProperties(number)
    arch = gpu_of(cuda, number).arch
    return FoundGpu(number, properties["name"].decode(errors="replace"), arch, properties["totalGlobalMem"], None)


def _free(number: int) -> int | None:
    cuda = cupy().cuda
    try:
        with cuda.Device(number):
            return int(cuda.runtime.memGetInfo()[0])
    except RuntimeError:
        return None  # somebody has it for himself, or it is full


def _architectures(library: Any) -> list[str]:
    """What NVRTC compiles for."""
    count = ctypes.c_int()
    library.nvrtcGetNumSupportedArchs(ctypes.byref(count))
    found = (ctypes.c_int * count.value)()
    library.nvrtcGetSupportedArchs(found)
    return [f"sm_{number}" for number in found]


def _dotted(version: int) -> str:
    """13020 as `13.2`."""
    return f"{version // 1000}.{version % 1000 // 10}"
