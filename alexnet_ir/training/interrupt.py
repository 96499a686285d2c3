"""Signals: during an update of a net, and during a whole run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any


@contextmanager
def finished_first() -> Iterator[None]:
    """An interrupt waits for the end of the block, so that no update is left half done: weights are replaced in place.
    A second one does not wait. Outside the main thread, or under another handler, nothing changes."""
    usual = signal.default_int_handler
    here = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is usual
    if not here:
        yield
        return
    asked = False

    def wait(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            usual(number, frame)
        asked = True

    signal.signal(signal.SIGINT, wait)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
    if asked:
        raise KeyboardInterrupt


class Interrupted(KeyboardInterrupt):
    """A run was asked to stop. `code` is what the process is to exit with: 130 after Ctrl-C, else 75 (EX_TEMPFAIL: try
    again), by which schedulers of clusters know that a job is to be started again."""

    def __init__(self, asked: signal.Signals) -> None:
        super().__init__(asked.name)
        self.code = 130 if asked is signal.SIGINT else 75


class Interrupt:
    """While it is entered, the first Ctrl-C, SIGTERM or SIGUSR1 is noted and does no more; the second ends the process
    at once, whatever it is at. Signals that the process was told to ignore stay ignored. Outside the main thread
    nothing changes."""

    def __init__(self) -> None:
        self._asked: signal.Signals | None = None
        self._usual: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            names = [name for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]
            found = {number: signal.getsignal(number) for number in map(signal.Signals.__getitem__, names)}
            self._usual = {number: usual for number, usual in found.items() if usual not in (signal.SIG_IGN, None)}
        for number in self._usual:
            signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, what: BaseException | None, at: TracebackType | None) -> None:
        for number, usual in self._usual.items():
            signal.signal(number, usual)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._asked = signal.Signals(number)
        for each in self._usual:
            signal.signal(each, signal.SIG_DFL)  # so that even a long kernel does not hold up the second

    def check(self) -> None:
        """Raise Interrupted if there was one."""
        if self._asked is not None:
            raise Interrupted(self._asked)
