"""The kernel of a fused op: the kernels of its parts, one after another.

A value that leaves the op lies in its result's memory from the start; so does a hidden one that the next part may
overwrite on the way there (before a bias is added, or a mask put on). Other hidden values lie in scratch, and so does
the scratch of the parts, which they have in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alexnet_ir.backends.kernel import Arrays, Kernel, KernelOf, Types, Work
from alexnet_ir.backends.memory import carve
from alexnet_ir.backends.numpy.pieces import images_of, shares, some
from alexnet_ir.ir.op import Array
from alexnet_ir.ir.types import DTYPES, WHOLE_DTYPES, TensorType, f32
from alexnet_ir.ops.fused import Fused

BY_IMAGES = frozenset({"lrn_maxpool"})
"""Rules that run some images at a time, so that what is hidden stays in the cache: each part takes images one by one,
and nothing else."""


def type_of(array: Array) -> TensorType:
    """The type of what lies in an array."""
    whole = (name for name in DTYPES if WHOLE_DTYPES.get(name) == array.dtype.name)
    return TensorType(next(whole, "f32"), array.shape)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Layout:
    """Of the values by number: their types, the results in whose memory parts write, and the scratch of those that have
    none; and the scratch of the parts."""

    types: Sequence[TensorType]
    homes: dict[int, int]
    hidden: dict[int, TensorType]
    workspace: int

    @property
    def scratch(self) -> tuple[TensorType, ...]:
        """All of it."""
        return *self.hidden.values(), f32(self.workspace // 4)


@dataclass(frozen=True)
class FusedParts:
    """Fused ops, by these kernels of their parts."""

    kernel_of: KernelOf

    @property
    def kernel(self) -> Kernel:
        """All this as a kernel."""
        return Kernel(self.bind, self.scratch, self.temporary, self.in_place)

    def bind(self, op: Fused, operands: Arrays, outs: Arrays, scratch: Arrays) -> Work:
        """The work of all parts."""
        types = [type_of(a) for a in operands]
        if op.rule in BY_IMAGES:
            cuts = list(shares(len(operands[0]), images_of(types[0])))
            works = [
                work
                for images in cuts
                for work in self._parts(op, [a[images] for a in operands], [a[images] for a in outs], scratch)
            ]
        else:
            works = self._parts(op, operands, outs, scratch)

        def run() -> None:
            for work in works:
                work()

        return run

    def scratch(self, op: Fused, operands: Types, results: Types) -> tuple[TensorType, ...]:
        """An array for each hidden value that needs one, and one for the parts' scratch."""
        return self._layout(op, self._together(op, operands)).scratch

    def temporary(self, op: Fused, operands: Types, results: Types) -> int:
        """The most that a part allocates."""
        together = self._together(op, operands)
        types = op.types(together)
        return max(
            self.kernel_of(part.op).temporary(part.op, [types[n] for n in part.operands], [types[n] for n in numbers])
            for part, numbers in op.walk(len(together))
        )

    def in_place(self, op: Fused) -> tuple[tuple[int, int], ...]:
        """A result may overwrite what the first part to write on its memory may overwrite, if nobody reads that
        later."""
        count = operand_count(op)
        found: dict[int, int] = {}
        homes, last = self._homes(op, count), last_readers(op)
        for position, (part, numbers) in enumerate(op.walk(count)):
            for result, operand in self.kernel_of(part.op).in_place(part.op):
                home, source = homes.get(numbers[result]), part.operands[operand]
                is_free = source < count and last[source] == position and part.operands.count(source) == 1
                first = home is not None and min(n for n, at in homes.items() if at == home) == numbers[result]
                if home is not None and first and is_free and source not in found.values():
                    found.setdefault(home, source)
        return tuple(found.items())

    def _together(self, op: Fused, operands: Types) -> list[TensorType]:
        """The operands' types, or those of the images that are taken at a time."""
        if op.rule not in BY_IMAGES:
            return list(operands)
        return [some(type_, images_of(operands[0])) for type_ in operands]

    def _layout(self, op: Fused, operands: Types) -> _Layout:
        types, homes = op.types(operands), self._homes(op, len(operands))
        hidden = {n: types[n] for n in range(len(operands), len(types)) if n not in homes}
        workspace = max(
            self.kernel_of(part.op).workspace(part.op, [types[n] for n in part.operands], [types[n] for n in numbers])
            for part, numbers in op.walk(len(operands))
        )
        return _Layout(types, homes, hidden, workspace)

    def _homes(self, op: Fused, count: int) -> dict[int, int]:
        """The results that hold the values of the parts, by number: their own, and what a part may overwrite with a
        value that has one, if it is the last to read that."""
        homes = {number: home for home, number in enumerate(op.yields)}
        last = last_readers(op)
        for position, (part, numbers) in reversed(list(enumerate(op.walk(count)))):
            passed = set()
            for result, operand in self.kernel_of(part.op).in_place(part.op):
                source, number = part.operands[operand], numbers[result]
                is_free = source >= count and last[source] == position and part.operands.count(source) == 1
                if number in homes and number not in passed and source not in homes and is_free:
                    homes[source] = homes[number]
                    passed.add(number)
        return homes

    def _parts(self, op: Fused, operands: Arrays, outs: Arrays, scratch: Arrays) -> list[Work]:
        layout = self._layout(op, [type_of(a) for a in operands])
        *places, rest = scratch
        values = dict(enumerate(operands)) | {number: outs[home] for number, home in layout.homes.items()}
        for (number, type_), place in zip(layout.hidden.items(), places, strict=True):
            values[number] = place[: type_.shape[0]] if type_.shape else place
        values = {n: array.reshape(layout.types[n].shape) for n, array in values.items()}
        works = []
        for part, numbers in op.walk(len(operands)):
            types = [[layout.types[n] for n in chosen] for chosen in (part.operands, numbers)]
            kernel = self.kernel_of(part.op)
            own = carve(rest.view(np.uint8), kernel.scratch(part.op, types[0], types[1]), rest.dtype)
            works.append(kernel.bind(part.op, [values[n] for n in part.operands], [values[n] for n in numbers], own))
        return works


def last_readers(op: Fused) -> dict[int, int]:
    """For each value that is read, the position of the last part that reads it."""
    return {number: position for position, part in enumerate(op.parts) for number in part.operands}


def operand_count(op: Fused) -> int:
    """How many operands the numbers of a fused op tell of; 0 where that is uncertain, because its last results may be
    of no use to anyone."""
    results = [len(part.op.result_names) for part in op.parts]
    certain = results[-1] == 1 or len(op.yields) == sum(results)
    return max(*op.yields, *last_readers(op)) + 1 - sum(results) if certain else 0
