"""Ctrl-C during an update."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


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
