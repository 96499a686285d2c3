"""Runs the steps of a plan: in order on each stream, the streams side by side."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from functools import cache

import numpy as np
from threadpoolctl import ThreadpoolController

from alexnet_ir.ir.plan import Stream

RunStep = Callable[[int], None]
"""Runs the step at a position."""


class _Progress:
    """Which steps have ended, for whoever waits for them; and the first failure, at which everybody stops."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._ended: set[int] = set()
        self._begun = False
        self.failure: BaseException | None = None

    def begin(self) -> None:
        """All streams are there. Before that nobody runs a step, so that it can still be called off."""
        with self._changed:
            self._begun = True
            self._changed.notify_all()

    def wait(self, positions: Sequence[int]) -> bool:
        """Wait until these steps have ended; False where they never will."""
        with self._changed:
            self._changed.wait_for(lambda: self.failure or (self._begun and self._ended.issuperset(positions)))
            return self.failure is None

    def end(self, position: int) -> None:
        """The step has ended."""
        with self._changed:
            self._ended.add(position)
            self._changed.notify_all()

    def fail(self, failure: BaseException) -> None:
        """Stop everybody before their next step; the first failure is the one that is kept."""
        with self._changed:
            self.failure = self.failure or failure
            self._changed.notify_all()


Waiting = tuple[Stream, tuple[int, ...]]
"""Where a step runs, and the steps of other streams (by position) that must have ended before it starts."""


def run_streams(steps: Sequence[Waiting], step: RunStep, threads: int) -> None:
    """All steps: those of one stream in this thread, else one thread a stream; each may have so many threads for its
    products. Raises what a step raised, once no stream runs any more."""
    streams: dict[Stream, list[int]] = {}
    for position, (stream, _) in enumerate(steps):
        streams.setdefault(stream, []).append(position)
    with _blas().limit(limits=threads) if threads != cores() else nullcontext():
        if len(streams) > 1:
            _run_threads(steps, streams.values(), step)
            return
        for position in range(len(steps)):
            step(position)


@cache
def _blas() -> ThreadpoolController:
    """NumPy's library of products: each device's products get its share of the cores, or they would contend for all."""
    return ThreadpoolController().select(user_api="blas")


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run_threads(steps: Sequence[Waiting], streams: Iterable[list[int]], step: RunStep) -> None:
    progress = _Progress()
    threads = [threading.Thread(target=_follow, args=(steps, own, step, progress), daemon=True) for own in streams]
    try:
        for thread in threads:
            thread.start()
        progress.begin()
        for thread in threads:
            thread.join()
    except BaseException as interrupt:
        progress.fail(interrupt)
        for thread in threads:
            if thread.is_alive():
                thread.join()
    if progress.failure is not None:
        raise progress.failure


def _follow(steps: Sequence[Waiting], positions: list[int], step: RunStep, progress: _Progress) -> None:
    """One stream's steps."""
    try:
        with np.errstate(all="ignore"):  # each thread has a state of its own
            for position in positions:
                if not progress.wait(steps[position][1]):
                    return
                step(position)
                progress.end(position)
    except BaseException as failure:
        progress.fail(failure)
