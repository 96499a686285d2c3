"""What a program is compiled for: devices, a placement on them, and limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from alexnet_ir.backends.base import Backend
from alexnet_ir.backends.cpu.backend import CpuBackend
from alexnet_ir.backends.reference.executor import ReferenceBackend
from alexnet_ir.diagnostics import error
from alexnet_ir.ir.profile import PROFILES, Profile, profile_of

BACKENDS: Mapping[str, Backend] = {"cpu": CpuBackend(), "reference": ReferenceBackend()}


@dataclass(frozen=True)
class Setup:
    """`devices` are as in `--devices`; several of one name are logical devices with memory of their own. `place` names
    a placement (None: the file's for so many devices, else `auto`); `profile` says how fast a device is, and
    `memory_limit` how many bytes it may use."""

    backend: Backend = BACKENDS["cpu"]
    devices: tuple[str, ...] = ("cpu",)
    place: str | None = None
    profile: Profile = PROFILES["cpu"]
    memory_limit: int | None = None


def setup_of(
    devices: str | None = None,
    place: str | None = None,
    profile: str | None = None,
    memory_limit: int | None = None,
    *,
    present: bool = True,
) -> Setup:
    """From the words of the command line; AlexnetError where there is no such device, placement or profile. Devices
    need not be `present` to compile for them: GPUs are planned for as devices of the profile, the paper's if none is
    named."""
    names = tuple(name.strip() for name in (devices or "cpu").split(","))
    are_gpus = all(name.isdecimal() for name in names)
    figures = profile_of(profile) if profile else PROFILES["gtx580" if are_gpus else "cpu"]
    if are_gpus:
        if present:
            raise error(
                f"--devices {devices}: no GPU can be used: this version runs on the CPU", helps=["use --devices cpu"]
            )
        return Setup(BACKENDS["cpu"], names, place, figures, memory_limit)
    unknown = [name for name in names if name not in BACKENDS and not name.isdecimal()]
    if unknown:
        raise error(
            f"--devices {devices}: no such device as {unknown[0]!r}", helps=[f"there is {' and '.join(BACKENDS)}"]
        )
    if len(set(names)) > 1:
        raise error(
            f"--devices {devices}: devices of one kind work together, not {names[0]} and {names[1]}",
            helps=[f"use --devices {names[0]},{names[0]}"],
        )
    return Setup(BACKENDS[names[0]], names, place, figures, memory_limit)
