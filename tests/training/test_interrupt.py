"""Ctrl-C during an update."""

from __future__ import annotations

import signal
import threading

import pytest

from alexnet_ir.training.interrupt import finished_first


def interrupted(times: int, done: list[str]) -> None:
    """A block that is interrupted so often in its midst."""
    with finished_first():
        for _ in range(times):
            signal.raise_signal(signal.SIGINT)
        done.append("the rest of the update")


@pytest.mark.parametrize(("times", "ends"), [(1, True), (2, False)])
def test_the_first_interrupt_waits_for_the_end_and_the_second_does_not(times: int, ends: bool) -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        interrupted(times, done)
    assert bool(done) == ends
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_nothing_happens_without_one() -> None:
    done: list[str] = []
    interrupted(0, done)
    assert done


def test_a_failure_inside_goes_on() -> None:
    with pytest.raises(ValueError, match="inside"), finished_first():
        raise ValueError("inside")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_threads_are_left_alone() -> None:
    ran = []

    def work() -> None:
        with finished_first():
            ran.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ran == [signal.default_int_handler]
