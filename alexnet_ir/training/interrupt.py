"""Signals: during an update of a net, and during a whole run."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType, TracebackType


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


SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP") if hasattr(signal, name)]
"""By which a run is asked to stop: Ctrl-C, schedulers, and a terminal that is closed."""


@contextmanager
def ended_at_once() -> Iterator[None]:
    """A signal raises Interrupted wherever it comes in, as Ctrl-C does by itself: while there is nothing to save."""

    def end(number: int, frame: FrameType | None) -> None:
        raise Interrupted(signal.Signals(number))

    with handled(end):
        yield


@contextmanager
def handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Signals go to the handler, but for those that the process was told to ignore. Outside the main thread nothing
    changes."""
    with ExitStack() as undo:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                usual = signal.getsignal(number)
                if usual not in (signal.SIG_IGN, None):
                    undo.callback(signal.signal, number, usual)
                    signal.signal(number, handler)
        yield


class Interrupt:
    """While it is entered, the first of SIGNALS is noted and does no more; the second ends the process at once,
    whatever it is at, with 128 and the signal's number. Signals that the process was told to ignore stay ignored.
    Outside the main thread nothing changes."""

    def __init__(self) -> None:
        self._asked: signal.Signals | None = None
        self._undo = ExitStack()

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is not threading.main_thread():
            return self
        # A handler waits for the kernel that is running. What comes in here does not, and a thread reads it.
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        thread = threading.Thread(target=_end_at_the_second, args=(ours, frozenset(SIGNALS)), daemon=True)
        thread.start()
        with ExitStack() as undo:
            undo.enter_context(ours)
            undo.callback(thread.join)
            undo.enter_context(theirs)
            undo.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False))
            undo.enter_context(handled(self._note))
            self._undo = undo.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, what: BaseException | None, at: TracebackType | None) -> None:
        self._undo.close()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._asked = signal.Signals(number)

    def check(self) -> None:
        """Raise Interrupted if there was one."""
        if self._asked is not None:
            raise Interrupted(self._asked)


def _end_at_the_second(signals: socket.socket, ours: frozenset[int]) -> None:
    """Read the numbers of signals, and end the process at the second of `ours`; return where nobody sends more."""
    asked = False
    while number := signals.recv(1):
        if number[0] in ours:
            if asked:
                os._exit(128 + number[0])
            asked = True
