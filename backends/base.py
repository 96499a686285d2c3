"""What a backend is: it keeps states, and makes a plan into something that runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from alexnet_ir.backends.augment import Augmented
from alexnet_ir.ir.op import Array
from alexnet_ir.ir.plan import Plan
from alexnet_ir.ir.target import Target

Fed = Array | Augmented | float | int
"""What is fed for an input: the whole value or, of images, what they are made of."""


class Storage(Protocol):
    """The shards of the states on their devices, shared by the executables of one net (the training step and the
    evaluation, which place them alike). The host sees whole values, by the states' logical names."""

    def read(self, name: str) -> Array:
        """A copy of a whole state as a NumPy array, channels first; KeyError if there is none."""

    def write(self, name: str, value: Array) -> None:
        """Give a state a value and share it out; ValueError for another shape than it has."""

    def __contains__(self, name: str) -> bool:
        """Whether there is a state of this name."""


class Executable(Protocol):
    """A plan made ready to run, again and again."""

    @property
    def exchanged_bytes(self) -> int:
        """What the transfers of the last run moved between devices, in the plan's element sizes."""

    def run(self, inputs: Mapping[str, Fed]) -> dict[str, Array]:
        """Run once on whole inputs by name: replaces the storage's states, and returns whole outputs by name, each an
        array of its own. ValueError, and no state touched, for an input that is missing, of another shape or made of
        what does not fit; what goes wrong in a step is raised when all streams have stopped."""


class Backend(Protocol):
    """A way to run plans, for any number of logical devices of its kind."""

    @property
    def name(self) -> str:
        """As in `--devices`."""

    @property
    def target(self) -> Target:
        """What passes must know of it. A plan is made for the target of the backend that runs it."""

    def storage(self, plan: Plan, values: Mapping[str, Array]) -> Storage:
        """Storage for the states of a plan, placed as it says, with these whole values; ValueError where one is missing
        or of another shape."""

    def build(self, plan: Plan, storage: Storage) -> Executable:
        """Make a plan ready; ValueError where the storage lacks a state of it, or has it placed otherwise."""
