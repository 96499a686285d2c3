"""The plan: what a backend runs. Steps in order, values by name, and when each is read for the last time."""

from __future__ import annotations

from dataclasses import dataclass

from alexnet_ir.diagnostics import Span
from alexnet_ir.ir.graph import Role
from alexnet_ir.ir.initial import Initial
from alexnet_ir.ir.op import Op
from alexnet_ir.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Step:
    """One op on named values. After it, the values in `frees` are read no more."""

    op: Op
    operands: tuple[str, ...]
    results: tuple[str, ...]
    frees: tuple[str, ...]
    span: Span | None


@dataclass(frozen=True, slots=True)
class PlannedInput:
    """A value fed for every run; `default` where nothing else is fed."""

    type: TensorType
    default: float | None


@dataclass(frozen=True, slots=True)
class PlannedState:
    """A value that outlives the run. `update` names the value that replaces it at the end, if one does."""

    type: TensorType
    initial: Initial
    role: Role
    update: str | None


@dataclass(frozen=True)
class Plan:
    """A program for one device. States and inputs are readable under their own names from the first step on."""

    name: str
    inputs: dict[str, PlannedInput]
    states: dict[str, PlannedState]
    outputs: dict[str, str]
    steps: tuple[Step, ...]
    types: dict[str, TensorType]
