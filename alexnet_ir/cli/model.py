"""From a command's arguments to a model."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from alexnet_ir.backends.cpu.backend import CpuBackend
from alexnet_ir.cli.terminal import show
from alexnet_ir.diagnostics import Diagnostic, error
from alexnet_ir.dsl.model import Choice, Model
from alexnet_ir.passes.placements import BUILT_IN
from alexnet_ir.placement import SINGLE
from alexnet_ir.setup import PLANNED_ARCH, Kernels, Setup, default_devices, setup_of

UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}


def model_path(file: str | None) -> Path:
    """The model file meant: the one given, else ./model.alx, else the only .alx file in this folder."""
    if file is not None:
        return Path(file)
    if Path("model.alx").exists():
        return Path("model.alx")
    found = sorted(Path().glob("*.alx"))
    if len(found) == 1:
        return found[0]
    what = f"several model files here: {', '.join(map(str, found))}" if found else "no model file here"
    raise error(what, helps=["name one"] if found else ["`alexnet-ir new alexnet > model.alx` writes one"])


def choice_of(args: argparse.Namespace) -> Choice:
    """What the arguments say beside the file."""
    settings = {}
    for setting in args.set:
        key, equals, value = setting.partition("=")
        if not equals or not value.strip():
            raise error(f"--set {setting}: expected KEY=VALUE", helps=["for instance --set train.batch=64"])
        settings[key.strip()] = value
    if args.batch is not None and args.batch < 1:
        raise error(f"--batch {args.batch}: expected a whole number of at least 1")
    return Choice(args.recipe, args.data_section, args.net, args.batch, settings)


def setup_from(args: argparse.Namespace, model: Model, *, present: bool = True) -> Setup:
    """What the arguments say of devices. Where only a placement is named, there are as many logical devices as it is
    for."""
    devices = args.devices
    if devices is None and args.place is not None:
        count = _devices_of(args.place, model)
        devices = default_devices(count) if present else ",".join(["cpu"] * count)
    arch = args.arch
    if devices is None and getattr(args, "emit", None) == "cuda":
        devices, arch = "0", arch or PLANNED_ARCH
    kernels = Kernels(args.precision, arch, args.graph, args.check, args.threads, args.conv)
    limit = memory_bytes(args.memory_limit)
    return setup_of(devices, args.place, args.profile, limit, kernels=kernels, present=present)


def remark_on(setup: Setup) -> None:
    """Where the CPU is not used as it could be, one line says so."""
    if isinstance(setup.backend, CpuBackend) and setup.backend.remark:
        show([Diagnostic("", setup.backend.remark, severity="warning")])


def _devices_of(place: str, model: Model) -> int:
    """For how many devices a placement is; the built-in ones are for any number, as a rule two."""
    sections = {section.name: section.devices for section in model.places}
    return sections.get(place, 2 if place in BUILT_IN and place != SINGLE else 1)


def memory_bytes(text: str | None) -> int | None:
    """`3GiB`, `500 MB` or a number of bytes."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(|[kmg]i?b)", text.strip().lower())
    if found is None:
        raise error(
            f"--memory-limit {text}: expected a number of bytes", helps=["for instance 3GiB, 500MB or 1000000000"]
        )
    return int(float(found[1]) * UNITS[found[2].upper()])
