"""Ctrl-C during an update."""

from __future__ import annotations

import signal
import threading

import pytest

from alexnet_ir.training.interrupt import finished_first


def test_an_interrupt_waits_for_the_end() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), finished_first():
        signal.raise_signal(signal.SIGINT)
        done.append("the rest of the update")
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_one_does_not_wait() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), finished_first():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        done.append("never")
    assert not done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


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
