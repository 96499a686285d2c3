"""Whether a plan fits into the memory that is free, said before anything is allocated."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from alexnet_ir.backends.cuda.cublas import WORKSPACE
from alexnet_ir.diagnostics import AlexnetError, error
from alexnet_ir.ir.plan import Plan

RESERVE = 64 << 20
"""Bytes for what CUDA itself takes: machine code, the graph, streams (an estimate)."""
SHOWN = 4
"""How many of the largest values are listed."""

Needed = Callable[[int], Sequence[int]]
"""Bytes on each logical device for a batch of so many images."""


def needed(plan: Plan) -> list[int]:
    """Bytes that a plan takes on each logical device: states, arena, the workspace of cuBLAS."""
    return [arena.peak + WORKSPACE for arena in plan.arenas]


def shortage(
    plan: Plan,
    free: Sequence[int | None],
    physical: Sequence[int],
    batch: int | None = None,
    retry: Needed | None = None,
) -> AlexnetError | None:
    """Why the plan cannot run: what it needs of what is `free` on each logical device, which lies on the GPU of number
    `physical`; None if it can, or nobody knows. With `batch`, the plan's, and `retry`, what other batches need, it
    says which would fit."""
    short = _short(needed(plan), free, physical)
    if short is None:
        return None
    gpu, wanted, there = short
    sharing = [device for device, number in enumerate(physical) if number == gpu]
    where = f"device {gpu}" if len(sharing) == 1 else f"device {gpu}, which {len(sharing)} logical devices share"
    helps = []
    if batch is not None and retry is not None:
        fitting = _largest(batch, plan.devices, lambda size: _fits(size, retry, free, physical))
        helps = [f"batch {fitting} fits: --batch {fitting}" if fitting else "no smaller batch fits: use more devices"]
    limit = (there - RESERVE) // len(sharing) - WORKSPACE
    if limit > max(plan.arenas[device].states for device in sharing):
        helps.append(f"--memory-limit {limit >> 20}MiB computes some values again instead of keeping them")
    states = sum(plan.arenas[device].states for device in sharing)
    return error(
        f"the step needs {_of(wanted, there)} free on {where}",
        notes=[f"the states take {_size(states)}", *_largest_values(plan, sharing)],
        helps=helps,
    )


def _fits(batch: int, retry: Needed, free: Sequence[int | None], physical: Sequence[int]) -> bool:
    """Whether a batch of this size can be planned, and has room."""
    try:
        return _short(retry(batch), free, physical) is None
    except AlexnetError:
        return False


def _of(wanted: int, there: int) -> str:
    """`2.9 of 2.6 GiB`, in as many digits as tell them apart."""
    for digits in range(1, 4):
        first, second = (f"{nbytes / 2**30:.{digits}f}" for nbytes in (wanted, there))
        if first != second:
            return f"{first} of {second} GiB"
    return f"{wanted:,} of {there:,} bytes"


def _short(wanted: Sequence[int], free: Sequence[int | None], physical: Sequence[int]) -> tuple[int, int, int] | None:
    """A GPU that has too little, what is needed there, and what can be had."""
    for gpu in dict.fromkeys(physical):
        sharing = [device for device, number in enumerate(physical) if number == gpu]
        there = free[sharing[0]]
        total = sum(wanted[device] for device in sharing) + RESERVE
        if there is not None and total > there:
            return gpu, total, there
    return None


def _largest(batch: int, devices: int, fits: Callable[[int], bool]) -> int:
    """The largest batch of a usual size below `batch` that fits, by halving; 0 if there is none. The devices share
    out a batch evenly."""
    shares = {share for power in range(batch.bit_length()) for share in (2**power, 3 * 2**power)}
    sizes = sorted(share * devices for share in shares if share * devices < batch)
    low, high = 0, len(sizes)  # all below low fit, none from high on does
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if fits(sizes[middle]) else (low, middle)
    return sizes[low - 1] if low else 0


def _largest_values(plan: Plan, devices: Sequence[int]) -> list[str]:
    """Lines on the values that take most, with the line of the model that makes each."""
    names = [name for name in plan.slots if plan.device(name) in devices]
    spans = {result: step.span for step in plan.steps for result in step.results}
    lines = []
    for name in sorted(names, key=lambda name: (-plan.slots[name].nbytes, name))[:SHOWN]:
        span = spans.get(name)
        lines.append(
            f"{name}{f' ({span.source.name}:{span.line})' if span else ''} takes {_size(plan.slots[name].nbytes)}"
        )
    return lines


def _size(nbytes: int) -> str:
    return f"{nbytes / 2**30:.2f} GiB" if nbytes >= 2**30 else f"{nbytes / 2**20:.1f} MiB"
