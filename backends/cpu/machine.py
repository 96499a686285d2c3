"""Commands run on this machine's CPU: compiled C."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np

from alexnet_ir.backends.cpu.isa import Isa
from alexnet_ir.backends.cpu.toolchain import Toolchain
from alexnet_ir.backends.emission.commands import Argument, Call, Command, Kernel, Meaning, Move, Place, Table
from alexnet_ir.backends.emission.encode import viewed
from alexnet_ir.backends.emission.machine import Block, Resolve, Task
from alexnet_ir.backends.emission.memory import HUGE, allocated, at
from alexnet_ir.backends.emission.site import ALIGNMENT
from alexnet_ir.backends.streams import run_streams
from alexnet_ir.ir.layout import Layout
from alexnet_ir.ir.op import Array
from alexnet_ir.ir.plan import Stream

Work = Callable[[], object]
THREADS = """
#ifdef _OPENMP
#include <omp.h>
int use_threads(int count) { int before = omp_get_max_threads(); omp_set_num_threads(count); return before; }
#else
int use_threads(int count) { return 1; }
#endif
"""
CTYPES: dict[type[np.generic], Any] = {
    np.int32: ctypes.c_int32, np.int64: ctypes.c_int64, np.float32: ctypes.c_float
}  # fmt: skip


@dataclass
class NativeMachine:
    """Logical devices in this process' memory; each has so many threads."""

    toolchain: Toolchain
    isa: Isa
    threads: int
    devices: int = 1
    _functions: dict[Kernel, Any] = field(default_factory=dict)

    def allocate(self, device: int, nbytes: int) -> Block:
        """Memory with any content."""
        return allocated(nbytes, HUGE if nbytes > 2 * HUGE else ALIGNMENT)

    def seen(self, content: Array) -> Block:
        """Where they are: all devices read this process' memory."""
        return Block(int(content.ctypes.data), content.nbytes, content)

    def upload(self, device: int, address: int, content: Array) -> None:
        """Bytes to where they belong."""
        at(address, content.size)[:] = content

    def adopt(self, device: int, address: int, array: Any, dtype: str) -> None:
        """There is no GPU that an array could lie on."""
        raise TypeError("expected a NumPy array, as the net runs on cpu; found one on a GPU (cupy.asnumpy copies)")

    def download(self, device: int, address: int, nbytes: int) -> Array:
        """A copy of the bytes."""
        return at(address, nbytes).copy()

    def free_bytes(self, device: int) -> int | None:
        """Nobody knows."""
        return None

    def prepare(self, tasks: Sequence[Task]) -> Prepared:
        """Compiles what is not compiled yet, several kernels at a time."""
        kernels = {c.kernel for task in tasks for c in task.commands if isinstance(c, Call)} - self._functions.keys()
        if kernels:
            self._functions |= self.toolchain.functions(sorted(kernels, key=lambda kernel: kernel.source), self.isa)
        works = [[self._bound(command, task.resolve) for command in task.commands] for task in tasks]
        return Prepared(self, tasks, works)

    def run(self, commands: Sequence[Command], resolve: Resolve) -> None:
        """Once, one after another."""
        self.prepare([Task("once", Stream(0), (), tuple(commands), resolve)])()

    def use_threads(self, count: int) -> int:
        """Of the calling thread's kernels from now on; returns what it was."""
        return int(self._use_threads(count))

    @cached_property
    def _use_threads(self) -> Any:
        kernel = Kernel("use_threads", THREADS)
        return self.toolchain.functions([kernel], self.isa)[kernel]

    def _bound(self, command: Command, resolve: Resolve) -> Work:
        if isinstance(command, Call):
            return partial(self._functions[command.kernel], *(_argument(a, resolve) for a in command.arguments))
        if isinstance(command, Meaning):
            return _meaning(command, resolve)
        assert isinstance(command, Move)
        source, target = resolve(command.source), resolve(command.target)
        return partial(ctypes.memmove, target, source, command.source.nbytes if source != target else 0)


@dataclass(frozen=True)
class Prepared:
    """Runs all tasks: a task's commands in order, in place after place."""

    machine: NativeMachine
    tasks: Sequence[Task]
    works: Sequence[Sequence[Work]]

    def __call__(self) -> None:
        with np.errstate(all="ignore"):
            run_streams([(task.stream, task.waits) for task in self.tasks], self.step, self.machine.threads)

    def step(self, position: int) -> None:
        """One task."""
        before = self.machine.use_threads(self.machine.threads)
        for work in self.works[position]:
            work()
        self.machine.use_threads(before)

    def __iter__(self) -> Iterator[tuple[Task, Work]]:
        """Each task with what runs it, for whoever holds a clock."""
        return ((task, partial(self.step, position)) for position, task in enumerate(self.tasks))


def _argument(argument: Argument, resolve: Resolve) -> Any:
    if isinstance(argument, Place):
        return ctypes.c_void_p(resolve(argument))
    if isinstance(argument, Table):
        return (ctypes.c_void_p * len(argument.places))(*map(resolve, argument.places))
    return CTYPES[type(argument)](argument.item())


def _meaning(command: Meaning, resolve: Resolve) -> Work:
    def view(place: Place, layout: Layout, shape: tuple[int, ...]) -> Array:
        return viewed(at(resolve(place), layout.nbytes(shape)), layout, shape)

    operands = [view(tensor.place, tensor.layout, tensor.shape) for tensor in command.operands]
    results = [view(tensor.place, tensor.layout, tensor.shape) for tensor in command.results]

    def run() -> None:
        for out, result in zip(results, command.op.evaluate(operands), strict=True):
            np.copyto(out, result, casting="same_kind")

    return run
