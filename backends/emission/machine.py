"""What runs commands: devices with memory of their own, and streams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from alexnet_ir.backends.emission.commands import Command, Place
from alexnet_ir.ir.op import Array
from alexnet_ir.ir.plan import Stream

Resolve = Callable[[Place], int]
"""The address of a place."""


@dataclass(frozen=True)
class Block:
    """Memory on a device: `address` lasts as long as `owner` does."""

    address: int
    nbytes: int
    owner: Any


@dataclass(frozen=True)
class Task:
    """The commands of one step, and the tasks (by position) of other streams that must have ended before."""

    name: str
    stream: Stream
    waits: tuple[int, ...]
    commands: tuple[Command, ...]
    resolve: Resolve


class Machine(Protocol):
    """Devices by number from 0, each with memory."""

    def allocate(self, device: int, nbytes: int) -> Block:
        """Memory aligned to 256 bytes, with any content."""

    def seen(self, content: Array) -> Block | None:
        """Bytes (uint8) of the host where the devices can read them; None where they must be uploaded for that."""

    def upload(self, device: int, address: int, content: Array) -> None:
        """Bytes (uint8) from the host; they are there for whatever is prepared."""

    def adopt(self, device: int, address: int, array: Any, dtype: str) -> None:
        """The content of an array on a GPU (see `on_gpu`), converted to this type of NumPy's: as `upload`, but from
        device to device, and nobody waits for it; whoever writes on the array later, on its stream, does. TypeError
        where the machine has no GPUs."""

    def download(self, device: int, address: int, nbytes: int) -> Array:
        """Bytes to the host, once all that runs has ended: uint8, in memory of its own."""

    def prepare(self, tasks: Sequence[Task]) -> Callable[[], None]:
        """What runs all tasks, again and again: those of a stream in order."""

    def free_bytes(self, device: int) -> int | None:
        """What can still be allocated; None where nobody knows."""


def on_gpu(array: object) -> bool:
    """Whether it is an array in a GPU's memory, of CuPy or of another library that says so."""
    return hasattr(array, "__cuda_array_interface__")
