"""Runs what is emitted for an op in memory that shows what it should not do: results and workspace full of NaN, guards
around everything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from alexnet_ir.backends.emission.commands import Command, Emission, Place
from alexnet_ir.backends.emission.encode import decode, encode, round_stored
from alexnet_ir.backends.emission.machine import Resolve
from alexnet_ir.backends.emission.site import Lying
from alexnet_ir.backends.numpy.fused import type_of
from alexnet_ir.ir.layout import Layout, Stored
from alexnet_ir.ir.op import Array, Op
from alexnet_ir.ir.types import TensorType

GUARD = 256
POISON, CANARY = 0xFF, 0xAB
"""Bytes: the one makes NaN of floats."""


class Guarded:
    """Memory between two guards, aligned as on a GPU."""

    def __init__(self, content: Array | int) -> None:
        nbytes = content if isinstance(content, int) else content.size
        raw = np.full(nbytes + 3 * GUARD, CANARY, np.uint8)
        start = -raw.ctypes.data % GUARD
        self._whole = raw[start : start + nbytes + 2 * GUARD]
        self.inside = self._whole[GUARD : GUARD + nbytes]
        self.inside[:] = POISON if isinstance(content, int) else content

    def check(self, name: str) -> None:
        """Nobody wrote on the guards."""
        assert (self._whole[:GUARD] == CANARY).all(), f"something was written before {name}"
        assert (self._whole[GUARD + self.inside.size :] == CANARY).all(), f"something was written after {name}"


def layouts(types: Sequence[TensorType], stored: Stored, channels_last: bool) -> list[Layout]:
    """Of floats: stored so, of rank 4 channels last."""
    return [Layout(stored if t.dtype == "f32" else t.dtype, channels_last and len(t.shape) == 4) for t in types]


Emit = Callable[[Op, Sequence[Lying], Sequence[Lying]], Emission]
Run = Callable[[Sequence[Command], Resolve], None]


def run_emitted(
    op: Op,
    operands: Sequence[Array],
    emit: Emit,
    run: Run,
    *,
    stored: Stored | Sequence[Stored] = "f32",
    result_stored: Stored = "f32",
    channels_last: bool | Sequence[bool] = True,
    over: Mapping[int, int] | None = None,
) -> list[Array]:
    """The results, as logical arrays. Operands are stored as `stored` (one for all, or one each), which rounds them;
    `channels_last` is said of all maps, or of each operand and each result. Results lie `over` some operands."""
    given = [np.asarray(a, np.float32) if np.asarray(a).dtype.kind == "f" else np.asarray(a) for a in operands]
    types = [type_of(a) for a in given]
    results = [t for t in op.infer(types) if isinstance(t, TensorType)]
    each: Sequence[Stored] = [stored] * len(given) if isinstance(stored, str) else stored
    last = [channels_last] * (len(types) + len(results)) if isinstance(channels_last, bool) else list(channels_last)
    lying = [layouts([t], s, last.pop(0))[0] for t, s in zip(types, each, strict=True)]
    made = [layouts([t], result_stored, last.pop(0))[0] for t in results]
    emission = emit(op, list(zip(types, lying, strict=True)), list(zip(results, made, strict=True)))
    memories = {
        "operand": [Guarded(encode(a, layout)) for a, layout in zip(given, lying, strict=True)],
        "result": [Guarded(layout.nbytes(t.shape)) for t, layout in zip(results, made, strict=True)],
        "workspace": [Guarded(emission.workspace)],
    }
    for number, operand in (over or {}).items():
        assert lying[operand].nbytes(types[operand].shape) == made[number].nbytes(results[number].shape)
        memories["result"][number] = memories["operand"][operand]
    before = [memory.inside.copy() for memory in memories["operand"]]

    def resolve(place: Place) -> int:
        if place.kind == "workspace":
            assert place.number + place.nbytes <= emission.workspace
            return int(memories["workspace"][0].inside.ctypes.data) + place.number
        memory = memories[place.kind][place.number].inside
        assert place.nbytes <= memory.size
        return int(memory.ctypes.data)

    run(emission.all, resolve)
    for kind, found in memories.items():
        for number, memory in enumerate(found):
            memory.check(f"{kind} {number}")
    for number, (memory, content) in enumerate(zip(memories["operand"], before, strict=True)):
        if number not in (over or {}).values():
            np.testing.assert_array_equal(memory.inside, content, err_msg="an operand was written on")
    return [decode(m.inside, x, t.shape) for m, x, t in zip(memories["result"], made, results, strict=True)]


def expected(op: Op, operands: Sequence[Array], stored: Stored | Sequence[Stored] = "f32") -> list[Array]:
    """What the op means, in float64, of operands that were stored so."""
    each: Sequence[Stored] = [stored] * len(operands) if isinstance(stored, str) else stored
    exact = [
        round_stored(np.asarray(a), s).astype("f8") if np.asarray(a).dtype.kind == "f" else np.asarray(a)
        for a, s in zip(operands, each, strict=True)
    ]
    return list(op.evaluate(exact))
