"""`alexnet-ir devices`: lists what programs can run on, and what is missing for more."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict

from alexnet_ir.backends.cpu.backend import CpuBackend
from alexnet_ir.backends.cpu.toolchain import Toolchain, toolchain
from alexnet_ir.backends.cuda.found import Found, available
from alexnet_ir.backends.cuda.host.compile import compiler
from alexnet_ir.backends.streams import cores
from alexnet_ir.cli.table import bytes_text, table
from alexnet_ir.diagnostics import Diagnostic, counted

NO_COMPILER = Diagnostic("", "host needs a C++ compiler", helps=("install g++, or name one in CXX",))


def run(args: argparse.Namespace) -> int:
    """Print the devices, or the same as JSON."""
    found, gxx = available(free=True), compiler()
    missing = [*found.missing, *([] if gxx else [NO_COMPILER])]
    if args.json:
        print(json.dumps(_data(found, gxx, missing), indent=2))
    else:
        print(text(found, gxx, missing))
    return 0


def text(found: Found, gxx: str | None, missing: Sequence[Diagnostic]) -> str:
    """A table by what `--devices` calls them, the versions, and what is missing."""
    cpu = CpuBackend()
    rows = [("cpu", _cpu(toolchain(), cpu)), ("reference", "NumPy in float64, to compare with")]
    rows += [("host", f"emitted CUDA kernels on the CPU, by {gxx}, to look at them")] * bool(gxx)
    rows += [
        (str(gpu.number), f"{gpu.name}, {gpu.arch}, {bytes_text(gpu.free or 0)} free of {bytes_text(gpu.memory)}")
        for gpu in found.gpus
    ]
    parts = [table([("--devices", ""), *rows])]
    parts += [table([("version", ""), *found.versions.items()])] * bool(found.versions)
    parts += [f"missing: {cpu.remark}"] * bool(cpu.remark)
    for gap in missing:
        lines = [f"missing: {gap.message}", *gap.notes, *gap.helps]
        parts.append("\n  ".join(lines))
    return "\n\n".join(parts)


def _cpu(tools: Toolchain | None, cpu: CpuBackend) -> str:
    """`emitted C, by /usr/bin/cc for avx512, on 2 cores with OpenMP`."""
    if tools is None:
        return f"NumPy on {counted(cores(), 'core')}"
    openmp = "with OpenMP" if tools.openmp else "without OpenMP"
    return f"emitted C, by {tools.path} for {tools.isa.name}, on {counted(cores(), 'core')} {openmp}"


def _data(found: Found, gxx: str | None, missing: Sequence[Diagnostic]) -> dict[str, object]:
    tools = toolchain()
    return {
        "cores": cores(),
        "cpu": {"compiler": tools.path, "vectors": tools.isa.name, "openmp": bool(tools.openmp)} if tools else None,
        "compiler": gxx,
        "gpus": [asdict(gpu) for gpu in found.gpus],
        "versions": found.versions,
        "missing": [gap.to_json() for gap in missing],
    }
