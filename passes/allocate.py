"""Offsets for buffers that are each taken for a while, so that few bytes serve them all (dynamic storage allocation,
which is NP-hard).

Greedy by size with best fit (Pisarchyk and Lee 2020): in some order, each buffer goes into the smallest gap that it
fits among those placed already that are taken at the same time. The best of a few orders is then improved by moving
buffers to the front, as long as that helps and time allows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from alexnet_ir.passes.lifetimes import Buffer, most_live

CLOSE, SMALL = 1 / 64, 16 << 10
"""How much more than what is live at once is good enough: this share of it, or so many bytes."""
WORK = 20_000
"""How many buffers are placed in search of a better order, some 25 microseconds each."""

ORDERS: tuple[Callable[[Buffer], tuple[int, ...]], ...] = (
    lambda b: (-b.nbytes, b.first, b.last),
    lambda b: (-b.nbytes * (b.last - b.first + 1), b.first),
    lambda b: (b.first, -b.nbytes),
    lambda b: (b.first - b.last, -b.nbytes),
)


def allocate(buffers: Sequence[Buffer]) -> tuple[list[int], int]:
    """The offset in bytes of each buffer of one arena, and the arena's size."""
    live = most_live(buffers)
    enough = live + max(int(live * CLOSE), SMALL)
    orders = [sorted(range(len(buffers)), key=lambda i: key(buffers[i])) for key in ORDERS]
    order, (offsets, size) = min(((order, place(buffers, order)) for order in orders), key=lambda found: found[1][1])
    return improved(buffers, order, enough) if size > enough else (offsets, size)


def improved(buffers: Sequence[Buffer], order: list[int], enough: int) -> tuple[list[int], int]:
    """Offsets and size after a search from this order, till the size is `enough`: a buffer, often one that ends where
    the arena does, is moved forward, and stays there if that is no worse."""
    choose = random.Random(0)
    offsets, size = place(buffers, order)
    for _ in range(WORK // len(buffers)):
        if size <= enough:
            break
        highest = [i for i in order if offsets[i] + buffers[i].nbytes == size]
        moved = choose.choice(highest if choose.random() < 0.5 else order)
        at = order.index(moved)
        tried = [*order[:at], *order[at + 1 :]]
        tried.insert(choose.randint(0, at), moved)
        found = place(buffers, tried)
        if found[1] <= size:
            order, (offsets, size) = tried, found
    return offsets, size


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
