"""Batches: the order of an epoch, and images that threads read ahead of their use."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet_ir.data.dataset import Store
from alexnet_ir.philox import Domain, Key, random_bits

Samples = NDArray[np.intp]
"""Places in a set."""

AHEAD = 2
"""Batches that are read while one is in use."""
PIECE = 8
"""Images that a thread reads at a time."""


def epoch_order(seed: int, epoch: int, count: int) -> Samples:
    """The order in which an epoch takes its samples: a permutation of `count`, a pure function of its arguments."""
    return np.argsort(random_bits(Key(seed, Domain.ORDER, step=epoch), count), kind="stable")


def read_ahead(
    store: Store, parts: Iterator[Samples], batch: int, workers: int
) -> Generator[tuple[Samples, NDArray[Any]], None, None]:
    """The images of each part (of up to `batch`), [n, channels, rows, columns] with the channels last in memory, in
    turns in one of AHEAD + 1 buffers, while threads fill the others. What goes wrong in a thread is raised here."""
    channels, rows, columns = store.shape[1:]
    pool = ThreadPoolExecutor(workers)
    buffers = cycle([np.empty((batch, rows, columns, channels), store.dtype) for _ in range(AHEAD + 1)])

    def start(samples: Samples) -> tuple[Samples, NDArray[Any], list[Future[None]]]:
        out = np.moveaxis(next(buffers)[: len(samples)], 3, 1)
        pieces = [slice(at, at + PIECE) for at in range(0, len(samples), PIECE)]
        return samples, out, [pool.submit(_read, store, samples[piece], out[piece]) for piece in pieces]

    try:
        pending = deque(start(samples) for samples in islice(parts, AHEAD + 1))
        while pending:
            samples, out, reading = pending.popleft()
            for piece in reading:
                piece.result()
            yield samples, out
            pending.extend(start(samples) for samples in islice(parts, 1))
    finally:
        pool.shutdown(cancel_futures=True)


def _read(store: Store, samples: Iterable[int], out: NDArray[Any]) -> None:
    for sample, place in zip(samples, out, strict=True):
        store.read(int(sample), place)
