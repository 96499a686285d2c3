"""Chooses how each value of a program lies in memory, for a target that does not keep values as their types say.

Before:  image : f32[128, 3, 227, 227]   conv1 : f32[128, 96, 55, 55]   pool1 : f32[128, 96, 27, 27], read by conv2
After:   image f32                       conv1 f32 channels last        pool1 tf32 channels last

What the host feeds stays as it is; maps and kernels have their channels last. Parameters, what replaces them, their
gradients, vectors and what is fetched keep 32 bits. A transfer's result lies as what it copies.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from alexnet_ir.diagnostics import listed
from alexnet_ir.ir.layout import Layout, Stored, plain
from alexnet_ir.ir.op import Op
from alexnet_ir.ir.plan import Program, Step
from alexnet_ir.ir.target import Storing, Target
from alexnet_ir.ops import conv, dense, elementwise, local, loss, shape
from alexnet_ir.ops.fused import Fused
from alexnet_ir.ops.update import UpdateOp
from alexnet_ir.passes.lifetimes import replacements, shards

PRODUCTS: dict[type[Op], tuple[int, ...]] = {
    conv.Conv: (0,),
    conv.ConvGradInput: (0,),
    conv.ConvGradWeight: (0, 1),
    dense.Fc: (0,),
    dense.FcGradInput: (0,),
    dense.FcGradWeight: (0, 1),
}
"""What tensor cores multiply, and which operands of it are no parameters (those are rounded by the product)."""
FULL: tuple[type[Op], ...] = (
    conv.WeightGrad, dense.FcGradWeight, dense.BiasGrad, local.LocalGradWeight, UpdateOp, loss.LossOp,
)  # fmt: skip
"""What makes parameters, their gradients and losses."""
FOLLOWING: tuple[type[Op], ...] = (shape.Copy, shape.Slice, shape.Concat, elementwise.Add, elementwise.Identity)
"""What is stored like what it reads."""
COARSE: dict[type[Op], int] = {
    dense.BiasGrad: 0,
    elementwise.ReluGrad: 1,
    elementwise.LeakyReluGrad: 1,
}
"""What may read a rounded operand: a mask reads nothing but a sign, and a sum over all pixels evens roundings out."""
Reader = tuple[Op, int]
"""An op and which of its operands it reads."""


@dataclass(frozen=True)
class ChooseLayouts:
    """The layouts of all values of a program, by name."""

    name: ClassVar[str] = "layout"
    target: Target = Target("none")

    def run(self, program: Program) -> dict[str, Layout]:
        """A layout for every value."""
        storing = self.target.storing
        if storing is None:
            return {name: plain(type_) for name, type_ in program.types.items()}
        return _Chooser(program, storing).all()

    def reasons(self, program: Program) -> dict[str, str]:
        """Why values that products read are not rounded where they are written, by name."""
        storing = self.target.storing
        return {} if storing is None or storing.products == "f32" else _Chooser(program, storing).unrounded()


class _Chooser:
    def __init__(self, program: Program, storing: Storing) -> None:
        self.program, self.storing = program, storing
        self.fed = dict.fromkeys(shards(program.inputs.values()))
        states, outputs = shards(program.states.values()), shards(program.outputs.values())
        self.kept = dict.fromkeys((*states, *outputs, *(update for _, update in replacements(program))))
        self.readers: dict[str, list[Reader]] = {name: [] for name in program.types}
        for step in reversed(program.steps):
            for name, reader in _reads(step):
                beyond = self.readers[step.results[0]] if isinstance(reader[0], shape.Copy) else [reader]
                self.readers[name] += beyond

    def all(self) -> dict[str, Layout]:
        """In the order in which values are made."""
        found = {name: self._layout(name, "f32") for name in (*self.fed, *self.kept)}
        for step in self.program.steps:
            for position, name in enumerate(step.results):
                if name not in found or isinstance(step.op, shape.Copy):
                    found[name] = self._made(step, position, found)
        return found

    def _made(self, step: Step, position: int, found: dict[str, Layout]) -> Layout:
        name, maker = step.results[position], _maker(step, position)
        if isinstance(maker, shape.Copy):
            return found[step.operands[0]]
        if isinstance(maker, FOLLOWING) and not isinstance(step.op, Fused):
            read = {found[operand].stored for operand in step.operands}
            stored = self._rounded(name, "bf16" if "bf16" in read else "f32")
        elif isinstance(maker, FULL) or len(self.program.types[name].shape) <= 1:
            stored = "f32"
        else:
            stored = self._rounded(name, self.storing.activations)
        return self._layout(name, stored)

    def _rounded(self, name: str, stored: Stored) -> Stored:
        """Rounded once, here, if products read it and nobody else minds."""
        multiplied = any(map(_multiplies, self.readers[name]))
        return self.storing.products if stored == "f32" and multiplied and not self._minding(name) else stored

    def _minding(self, name: str) -> list[str]:
        """The ops that should see all bits of a value."""
        return [op.name for op, at in self.readers[name] if not _multiplies((op, at)) and not _is_coarse((op, at))]

    def unrounded(self) -> dict[str, str]:
        """Of what products read."""
        layouts, found = self.all(), {}
        for name, readers in self.readers.items():
            minding = dict.fromkeys(self._minding(name))
            if layouts[name].stored == "f32" and minding and any(map(_multiplies, readers)):
                found[name] = f"{name} stays f32: {listed(minding)} should see all of its bits"
        return found

    def _layout(self, name: str, stored: Stored) -> Layout:
        type_ = self.program.types[name]
        last = len(type_.shape) == 4 and name not in self.fed
        return Layout(stored if type_.dtype == "f32" else type_.dtype, last)


def _multiplies(reader: Reader) -> bool:
    op, position = reader
    return position in PRODUCTS.get(type(op), ())


def _is_coarse(reader: Reader) -> bool:
    op, position = reader
    return COARSE.get(type(op)) == position


def _reads(step: Step) -> Iterator[tuple[str, Reader]]:
    """Each operand's name with the op that reads it: of a fused op, the part."""
    if not isinstance(step.op, Fused):
        yield from ((name, (step.op, position)) for position, name in enumerate(step.operands))
        return
    for part in step.op.parts:
        for position, number in enumerate(part.operands):
            if number < len(step.operands):
                yield step.operands[number], (part.op, position)


def _maker(step: Step, position: int) -> Op:
    """The op that makes a result: of a fused one, the part."""
    if not isinstance(step.op, Fused):
        return step.op
    number = step.op.yields[position]
    return next(part.op for part, numbers in step.op.walk(len(step.operands)) if number in numbers)
