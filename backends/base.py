"""What a backend is: it keeps states, and makes a plan into something that runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from alexnet_ir.ir.op import Array
from alexnet_ir.ir.plan import Plan


class Storage(Protocol):
    """States on a device, shared by the executables of one net (the training step and the evaluation)."""

    def read(self, name: str) -> Array:
        """A copy of a state as a NumPy array, channels first; KeyError if there is none."""

    def write(self, name: str, value: Array) -> None:
        """Give a state a value; ValueError for another shape than it has."""

    def __contains__(self, name: str) -> bool:
        """Whether there is a state of this name."""


class Executable(Protocol):
    """A plan made ready to run."""

    def run(self, inputs: Mapping[str, Array | float | int]) -> dict[str, Array]:
        """Run once: reads and replaces the storage's states, and returns the outputs by name."""


class Backend(Protocol):
    """A way to run plans."""

    @property
    def name(self) -> str:
        """As in `--devices`."""

    def storage(self, values: Mapping[str, Array]) -> Storage:
        """Storage that holds these states."""

    def build(self, plan: Plan, storage: Storage) -> Executable:
        """Make a plan ready; its states must be in the storage."""
