"""Runs the steps of a plan: in order on each stream, the streams side by side."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import cache

import numpy as np
from threadpoolctl import ThreadpoolController

from alexnet_ir.ir.plan import Plan, Stream

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


def run_streams(plan: Plan, step: RunStep) -> None:
    """All steps: a plan of one stream in this thread, else one thread a stream. Raises what a step raised, once no
    stream runs any more."""
    streams: dict[Stream, list[int]] = {}
    for position, planned in enumerate(plan.steps):
        streams.setdefault(planned.stream, []).append(position)
    if len(streams) > 1:
        with _blas().limit(limits=max(1, cores() // plan.devices)):
            _run_threads(plan, streams.values(), step)
        return
    for position in range(len(plan.steps)):
        step(position)


@cache
def _blas() -> ThreadpoolController:
    """NumPy's library of products: each device's products get its share of the cores, or they would contend for all."""
    return ThreadpoolController().select(user_api="blas")


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run_threads(plan: Plan, streams: Iterable[list[int]], step: RunStep) -> None:
    progress = _Progress()
    threads = [threading.Thread(target=_follow, args=(plan, own, step, progress), daemon=True) for own in streams]
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


def _follow(plan: Plan, positions: list[int], step: RunStep, progress: _Progress) -> None:
    """One stream's steps."""
    try:
        with np.errstate(all="ignore"):  # each thread has a state of its own
            for position in positions:
                if not progress.wait(plan.waits[position]):
                    return
                step(position)
                progress.end(position)
    except BaseException as failure:
        progress.fail(failure)
