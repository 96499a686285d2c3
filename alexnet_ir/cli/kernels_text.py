"""The commands of a plan on GPUs as they are read, a line each.

3  conv2      conv_mma  54 x 2 x 2 blocks of 256, 98,304 bytes shared   conv2.conv_mma.cu
              implicit GEMM on tensor cores, tf32, tile 128 x 128 x 32, 4 stages
"""

from __future__ import annotations

from alexnet_ir.backends.emission.commands import Call, Command, Gemm, Kernel, Launch, Meaning
from alexnet_ir.backends.emission.manifest import emitted, file_names
from alexnet_ir.backends.emission.program import Emitter
from alexnet_ir.cli.table import Row, table
from alexnet_ir.ir.plan import Plan


def kernels_text(plan: Plan, emitter: Emitter) -> str:
    """All steps, ending in a newline."""
    steps = emitted(plan, emitter)
    names = file_names(steps, emitter.suffix)
    count = sum(len(one.emission.all) for one in steps)
    head = f"{count:,} commands, {len(names):,} kernels for {', '.join(map(' '.join, emitter.about.items()))}"
    rows: list[Row] = []
    for one in steps:
        for number, command in enumerate(one.emission.all):
            first = (str(one.position), one.where) if number == 0 else ("", "")
            rows.append((*first, *_command(command, names)))
        if one.emission.reason:
            rows.append(("", "", "", f"  {one.emission.reason}", ""))
    return f"{head}\n{table(rows, right=(0,)) if rows else ''}\n"


def _command(command: Command, names: dict[Kernel, str]) -> tuple[str, str, str]:
    if isinstance(command, Launch):
        blocks = " x ".join(map(str, command.grid))
        threads = " x ".join(str(n) for n in command.block if n > 1) or "1"
        shared = f", {command.shared:,} bytes shared" if command.shared else ""
        return command.kernel.name, f"{blocks} blocks of {threads}{shared}", names[command.kernel]
    if isinstance(command, Gemm):
        return "product", f"{command.m} x {command.n} x {command.k} in {command.stored}", ""
    if isinstance(command, Call):
        return command.kernel.name, "", names[command.kernel]
    if isinstance(command, Meaning):
        return command.op.name, "by its meaning, in NumPy", ""
    return "memcpy", f"{command.source.nbytes:,} bytes", ""
