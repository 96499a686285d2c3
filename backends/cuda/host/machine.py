"""Commands run on the CPU: kernels by the host runner, products by NumPy with the rounding that tensor cores have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from alexnet_ir.backends.cuda.gpu import GPUS, Gpu
from alexnet_ir.backends.cuda.host.runner import HostKernel, Memory
from alexnet_ir.backends.emission.commands import Command, Gemm, Kernel, Launch, Move, Place, Table
from alexnet_ir.backends.emission.encode import NUMPY, bf16_bits, decode, round_tf32
from alexnet_ir.backends.emission.machine import Block, Resolve, Task
from alexnet_ir.backends.emission.memory import allocated, at, move
from alexnet_ir.ir.layout import Layout, Stored
from alexnet_ir.ir.op import Array


@dataclass
class HostMachine:
    """Runs commands one after another. With `check`, every access of every kernel is looked at (slow); threads run in
    `order`: forward, reverse or shuffled by `seed`."""

    check: bool = False
    order: str = "forward"
    seed: int = 0
    gpu: Gpu = GPUS["sm_90"]
    _kernels: dict[Kernel, HostKernel] = field(default_factory=dict)

    def run(self, commands: Sequence[Command], resolve: Resolve) -> None:
        """All commands."""
        for command in commands:
            if isinstance(command, Launch):
                self._launch(command, resolve)
            elif isinstance(command, Gemm):
                gemm(command, resolve)
            else:
                assert isinstance(command, Move)
                move(command, resolve)

    def allocate(self, device: int, nbytes: int) -> Block:
        """Memory full of NaN, so that what is read before it was written shows."""
        block = allocated(nbytes)
        block.owner.fill(0xFF)
        return block

    def seen(self, content: Array) -> None:
        """Uploaded, as for a GPU."""

    def upload(self, device: int, address: int, content: Array) -> None:
        """Bytes to where they belong."""
        at(address, content.size)[:] = content

    def adopt(self, device: int, address: int, array: Any, dtype: str) -> None:
        """There is no GPU that an array could lie on."""
        raise TypeError(
            "expected a NumPy array, as the kernels run on the CPU; found one on a GPU (cupy.asnumpy copies)"
        )

    def download(self, device: int, address: int, nbytes: int) -> Array:
        """A copy of the bytes."""
        return at(address, nbytes).copy()

    def prepare(self, tasks: Sequence[Task]) -> Callable[[], None]:
        """All tasks in their order, which respects every wait."""

        def run() -> None:
            for task in tasks:
                self.run(task.commands, task.resolve)

        return run

    def free_bytes(self, device: int) -> int | None:
        """Nobody knows."""
        return None

    def _launch(self, launch: Launch, resolve: Resolve) -> None:
        arguments: list[Memory | np.generic] = []
        regions: list[Memory] = []
        keep = []
        for argument in launch.arguments:
            if isinstance(argument, Place):
                arguments.append(_memory(argument, resolve))
            elif isinstance(argument, Table):
                regions += (_memory(place, resolve) for place in argument.places)
                addresses = np.array([resolve(place) for place in argument.places], np.uint64)
                keep.append(addresses)
                arguments.append(Memory(addresses.ctypes.data, addresses.nbytes, "table"))
            else:
                arguments.append(argument)
        kernel = self._kernels.get(launch.kernel)
        if kernel is None:
            kernel = self._kernels[launch.kernel] = HostKernel(launch.kernel, check=self.check)
        kernel(
            launch.grid,
            launch.block,
            arguments,
            shared=launch.shared,
            regions=regions,
            order=self.order,
            seed=self.seed,
        )


def _memory(place: Place, resolve: Resolve) -> Memory:
    return Memory(resolve(place), place.nbytes, f"{place.kind} {place.number}")


def gemm(command: Gemm, resolve: Resolve) -> None:
    """The product, of operands as they are stored, summed in float32."""
    a, b = (
        _operand(at(resolve(place), place.nbytes), command.stored, shape, is_transposed)
        for place, shape, is_transposed in (
            (command.a, (command.m, command.k), command.transposed[0]),
            (command.b, (command.k, command.n), command.transposed[1]),
        )
    )
    product = a @ b
    found = bf16_bits(product) if command.out_stored == "bf16" else product
    found = round_tf32(product) if command.out_stored == "tf32" else found
    at(resolve(command.out), command.out.nbytes)[:] = np.ascontiguousarray(found).reshape(-1).view(np.uint8)


def _operand(memory: Array, stored: Stored, shape: tuple[int, int], is_transposed: bool) -> Array:
    lying = shape[::-1] if is_transposed else shape
    count = shape[0] * shape[1] * np.dtype(NUMPY[stored]).itemsize
    found = decode(memory[:count], Layout(stored), lying)
    found = round_tf32(found) if stored == "tf32" else found
    return found.T if is_transposed else found
