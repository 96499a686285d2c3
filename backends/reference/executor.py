"""Runs a plan step by step on NumPy arrays, by the backend's kernel for an op or else by the op's own meaning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from alexnet_ir.backends.base import Storage
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ir.plan import Plan, Step
from alexnet_ir.ir.types import WHOLE_DTYPES, TensorType

Kernel = Callable[[Any, tuple[Array, ...]], tuple[Array, ...]]
"""An op and its operands' arrays to its results'."""


class ArrayStorage:
    """States as NumPy arrays in one float type."""

    def __init__(self, values: Mapping[str, Array], dtype: np.dtype[Any]) -> None:
        self.arrays = {name: np.array(value, dtype) for name, value in values.items()}

    def read(self, name: str) -> Array:
        """A copy of a state."""
        return self.arrays[name].copy()

    def write(self, name: str, value: Array) -> None:
        """Give a state a value of its shape."""
        old = self.arrays[name]
        if value.shape != old.shape:
            raise ValueError(f"{name} has shape {old.shape}, not {value.shape}")
        self.arrays[name] = np.array(value, old.dtype)

    def __contains__(self, name: str) -> bool:
        return name in self.arrays


class NumpyExecutable:
    """A plan, walked in order."""

    def __init__(
        self, plan: Plan, storage: ArrayStorage, kernels: Mapping[type[Op], Kernel], dtype: np.dtype[Any]
    ) -> None:
        self.plan, self.storage, self.kernels, self.dtype = plan, storage, kernels, dtype
        missing = [name for name in plan.states if name not in storage]
        if missing:
            raise ValueError(f"the storage lacks {', '.join(missing)}")

    def run(self, inputs: Mapping[str, Array | float | int]) -> dict[str, Array]:
        """One run; ValueError for an input that is missing or of another shape. No array is shared with the caller."""
        values = {name: self._input(name, inputs) for name in self.plan.inputs}
        values.update((name, self.storage.arrays[name]) for name in self.plan.states)
        with np.errstate(all="ignore"):  # NaN and infinity come out in the loss, which is where they are looked for
            for step in self.plan.steps:
                self.step(step, values)
        outputs = {name: values[str(output.shards[0])].copy() for name, output in self.plan.outputs.items()}
        for name, state in self.plan.states.items():
            if state.updates[0] is not None:
                self.storage.arrays[name] = values[state.updates[0]]
        return outputs

    def step(self, step: Step, values: dict[str, Array]) -> None:
        """Run one step on the values there are."""
        operands = tuple(values[name] for name in step.operands)
        kernel = self.kernels.get(type(step.op))
        results = kernel(step.op, operands) if kernel else step.op.evaluate(operands)
        for name, result in zip(step.results, results, strict=True):
            values[name] = np.asarray(result, self._dtype(self.plan.types[name]))

    def _dtype(self, type_: TensorType) -> np.dtype[Any]:
        return self.dtype if type_.dtype == "f32" else np.dtype(WHOLE_DTYPES[type_.dtype])

    def _input(self, name: str, inputs: Mapping[str, Array | float | int]) -> Array:
        planned = self.plan.inputs[name]
        value = inputs.get(name, planned.default)
        if value is None:
            raise ValueError(f"nothing was fed to {name}")
        array = np.array(value, self._dtype(planned.type))
        if array.shape != planned.type.shape:
            raise ValueError(f"{name} has shape {planned.type.shape}, not {array.shape}")
        return array


@dataclass(frozen=True)
class ReferenceBackend:
    """The oracle: every op by its own NumPy meaning, in float64 or float32."""

    name: ClassVar[str] = "reference"
    kernels: ClassVar[Mapping[type[Op], Kernel]] = {}
    dtype: np.dtype[Any] = np.dtype("f8")

    def storage(self, values: Mapping[str, Array]) -> ArrayStorage:
        """Arrays in the backend's float type."""
        return ArrayStorage(values, self.dtype)

    def build(self, plan: Plan, storage: Storage) -> NumpyExecutable:
        """The plan on these arrays."""
        assert isinstance(storage, ArrayStorage)
        return NumpyExecutable(plan, storage, self.kernels, self.dtype)
