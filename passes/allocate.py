"""Offsets for buffers of which each is taken for a while, so that few bytes serve them all (dynamic storage
allocation, which is NP-hard).

Greedy by size with best fit (Pisarchyk and Lee 2020): in some order, each buffer goes into the smallest gap that it
fits among those placed already that are taken at the same time. A few orders are tried, and the best kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from alexnet_ir.passes.lifetimes import Buffer, most_live

ROUNDS = 12
"""How often an order is mended."""
CLOSE = 1 / 256
"""How much more than what is live at once is good enough."""

Key = Callable[[Buffer], tuple[int, ...]]
ORDERS: tuple[Key, ...] = (
    lambda b: (-b.nbytes, b.first, b.last),
    lambda b: (-b.nbytes * (b.last - b.first + 1), b.first),
    lambda b: (b.first, -b.nbytes),
    lambda b: (b.first - b.last, -b.nbytes),
)


def allocate(buffers: Sequence[Buffer]) -> tuple[list[int], int]:
    """The offset in bytes of each buffer of one arena, and the arena's size."""
    enough = int(most_live(buffers) * (1 + CLOSE))
    best: tuple[list[int], int] | None = None
    for key in ORDERS:
        order = sorted(range(len(buffers)), key=lambda i: (*key(buffers[i]), i))
        found = _mended(buffers, order, enough)
        if best is None or found[1] < best[1]:
            best = found
        if best[1] <= enough:
            break
    assert best is not None
    return best


def _mended(buffers: Sequence[Buffer], order: list[int], enough: int) -> tuple[list[int], int]:
    """The best of some rounds, in each of which the buffers that stuck out of the last one come first."""
    best = offsets, size = place(buffers, order)
    for _ in range(ROUNDS):
        if size <= enough:
            break
        out = {i for i in order if offsets[i] + buffers[i].nbytes == size}
        order = sorted(order, key=lambda i: i not in out)
        offsets, size = place(buffers, order)
        if size < best[1]:
            best = offsets, size
    return best


def place(buffers: Sequence[Buffer], order: Sequence[int]) -> tuple[list[int], int]:
    """Offsets and size when the buffers are placed in this order."""
    first = np.array([buffers[i].first for i in order], np.int64)
    last = np.array([buffers[i].last for i in order], np.int64)
    begin, end = np.zeros(len(order), np.int64), np.zeros(len(order), np.int64)
    for k, i in enumerate(order):
        meets = np.flatnonzero((first[:k] <= last[k]) & (last[:k] >= first[k]))
        begin[k] = _best_fit(begin[meets], end[meets], buffers[i].nbytes)
        end[k] = begin[k] + buffers[i].nbytes
    offsets = [0] * len(order)
    for i, offset in zip(order, begin.tolist(), strict=True):
        offsets[i] = offset
    return offsets, int(end.max(initial=0))


def _best_fit(begins: NDArray[np.int64], ends: NDArray[np.int64], nbytes: int) -> int:
    """The start of the smallest gap of at least `nbytes` between what is taken, the lowest of those; else the end."""
    order = np.argsort(begins, kind="stable")
    tops = np.maximum.accumulate(np.concatenate(([0], ends[order])))
    gaps = begins[order] - tops[:-1]
    fitting = np.flatnonzero(gaps >= nbytes)
    return int(tops[fitting[gaps[fitting].argmin()]] if len(fitting) else tops[-1])
