"""Runs the C that is emitted for an op, compiled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from alexnet_ir.backends.cpu.isa import Isa
from alexnet_ir.backends.cpu.machine import NativeMachine
from alexnet_ir.backends.cpu.program import CEmitter
from alexnet_ir.backends.cpu.toolchain import toolchain
from alexnet_ir.backends.emission.commands import Call, Command, Meaning
from alexnet_ir.backends.emission.machine import Resolve
from alexnet_ir.ir.op import Array, Op
from tests.backends.emitted import expected, run_emitted

__all__ = ["commands", "expected", "kernels", "needs_cc", "run"]

TOOLS = toolchain()
needs_cc = pytest.mark.skipif(TOOLS is None, reason="emitted C needs a C compiler")
MACHINES: dict[tuple[Isa, int], NativeMachine] = {}


def machine(isa: Isa | None = None, threads: int = 2) -> NativeMachine:
    """One for each kind of processor and number of threads."""
    assert TOOLS is not None
    isa = isa or TOOLS.isa
    return MACHINES.setdefault((isa, threads), NativeMachine(TOOLS, isa, threads))


def run(
    op: Op,
    operands: Sequence[Array],
    *,
    isa: Isa | None = None,
    threads: int = 2,
    exact: bool = False,
    channels_last: bool | Sequence[bool] = True,
    over: Mapping[int, int] | None = None,
) -> list[Array]:
    """The results, as logical arrays (see `run_emitted`), of kernels, never of the op's own meaning."""
    on = machine(isa, threads)

    def run_kernels(commands: Sequence[Command], resolve: Resolve) -> None:
        assert not any(isinstance(command, Meaning) for command in commands), f"{op} has no kernel"
        on.run(commands, resolve)

    emit = CEmitter(on.isa, threads, exact).emit
    return run_emitted(op, operands, emit, run_kernels, channels_last=channels_last, over=over)


def commands(
    op: Op, operands: Sequence[Array], *, isa: Isa | None = None, exact: bool = False, channels_last: bool = True
) -> list[Command]:
    """What an op runs, in order."""
    found: list[Command] = []
    emit = CEmitter(machine(isa).isa, 2, exact).emit
    run_emitted(op, operands, emit, lambda commands, resolve: found.extend(commands), channels_last=channels_last)
    return found


def kernels(op: Op, operands: Sequence[Array], *, isa: Isa | None = None, exact: bool = False) -> list[str]:
    """The names of the kernels that an op calls, in order; none where it runs by its meaning."""
    return [c.kernel.name for c in commands(op, operands, isa=isa, exact=exact) if isinstance(c, Call)]
