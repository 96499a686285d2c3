"""What a plan for GPUs means: its steps by their ops' references in float64, with the roundings that the precision has.
Products read rounded operands; what a step makes is rounded as its layout stores it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from alexnet_ir.backends.cuda.gpu import MULTIPLIED, Precision
from alexnet_ir.backends.emission.encode import round_stored
from alexnet_ir.backends.memory import assemble, share
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ir.plan import Plan
from alexnet_ir.ops.fused import Fused
from alexnet_ir.passes.layout import PRODUCTS as MULTIPLYING


class Rounded:
    """A plan and its states, whole values by name."""

    def __init__(self, plan: Plan, states: Mapping[str, Array], precision: Precision) -> None:
        self.plan, self.precision = plan, precision
        self.states = {name: np.asarray(states[name], "f8") for name in plan.states}

    def run(self, inputs: Mapping[str, Array | float | int]) -> dict[str, Array]:
        """One run: the outputs; the states are replaced."""
        values: dict[str, Array] = {}
        for name, planned in self.plan.inputs.items():
            self._put(values, name, np.asarray(inputs.get(name, planned.default)), planned.shards)
        for name, state in self.plan.states.items():
            self._put(values, name, self.states[name], state.shards)
        for step in self.plan.steps:
            with np.errstate(all="ignore"):
                found = meaning(step.op, [values[name] for name in step.operands], self.precision)
            values |= {name: self._stored(name, a) for name, a in zip(step.results, found, strict=True)}
        outputs = {name: self._whole(values, out.shards, out.type) for name, out in self.plan.outputs.items()}
        for name, state in self.plan.states.items():
            new = tuple(update or shard for shard, update in zip(state.shards, state.updates, strict=True))
            self.states[name] = self._whole(values, new, state.type)
        return outputs

    def _put(self, values: dict[str, Array], name: str, whole: Array, shards: Sequence[str | None]) -> None:
        type_ = (self.plan.inputs.get(name) or self.plan.states[name]).type
        for device, shard in enumerate(shards):
            if shard is not None:
                values[shard] = self._stored(shard, share(whole, type_, device, self.plan.devices))

    def _stored(self, name: str, array: Array) -> Array:
        """Rounded, if it is stored in fewer bits; float32 stays exact."""
        stored = self.plan.layouts[name].stored
        if array.dtype.kind != "f":
            return array
        return np.asarray(array if stored == "f32" else round_stored(array, stored), "f8")

    def _whole(self, values: Mapping[str, Array], shards: Sequence[str | None], type_: object) -> Array:
        return assemble([values[shard] for shard in shards if shard is not None], type_)  # type: ignore[arg-type]


def meaning(op: Op, operands: Sequence[Array], precision: Precision) -> tuple[Array, ...]:
    """An op's results, products of rounded operands."""
    if isinstance(op, Fused):
        values = list(operands)
        for part, _ in op.walk(len(operands)):
            values += meaning(part.op, [values[n] for n in part.operands], precision)
        return tuple(values[n] for n in op.yields)
    if type(op) in MULTIPLYING:
        operands = [np.asarray(round_stored(a, MULTIPLIED[precision]), "f8") for a in operands]
    return op.evaluate(operands)
