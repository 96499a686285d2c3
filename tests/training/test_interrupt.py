"""Signals: during an update, and during a run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from alexnet_ir.cli.main import main
from alexnet_ir.training.interrupt import Interrupt, Interrupted, finished_first
from alexnet_ir.training.step import TrainingStep

from .models import TINY
from .runs import newest

POSIX = pytest.mark.skipif(os.name != "posix", reason="sends signals")


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
        with finished_first(), Interrupt() as interrupt:
            ran.append(signal.getsignal(signal.SIGINT))
            interrupt.check()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ran == [signal.default_int_handler]


@POSIX
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP"])
def test_the_first_signal_is_noted(name: str) -> None:
    number, usual = signal.Signals[name], signal.getsignal(signal.Signals[name])
    with Interrupt() as interrupt:
        interrupt.check()
        signal.raise_signal(number)
        with pytest.raises(Interrupted) as found:
            interrupt.check()
    assert found.value.code == (130 if name == "SIGINT" else 75)
    assert signal.getsignal(number) is usual
    assert signal.set_wakeup_fd(-1) == -1


@POSIX
def test_what_the_process_is_to_ignore_stays_ignored() -> None:
    usual = signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # as `nohup` does of SIGHUP, and shells of SIGINT behind `&`
    try:
        with Interrupt() as interrupt:
            signal.raise_signal(signal.SIGUSR1)
            interrupt.check()
    finally:
        signal.signal(signal.SIGUSR1, usual)


@POSIX
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 75), ("SIGUSR1", 75)])
def test_a_run_finishes_its_step_saves_and_says_how_to_go_on(
    name: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my net.alx").write_text(TINY)
    update = TrainingStep.__call__

    def signalled(self: TrainingStep, *batch: Any) -> float:
        if self.steps == 7:
            signal.raise_signal(signal.Signals[name])
        return update(self, *batch)

    monkeypatch.setattr(TrainingStep, "__call__", signalled)
    assert main(["train", "my net.alx"]) == code
    said = capsys.readouterr()
    assert said.out.endswith("the run is in runs/my net-1\n")
    assert said.err == "interrupted; step 8 is saved; to go on: alexnet-ir train --resume 'runs/my net-1'\n"
    assert newest(Path("runs/my net-1")).saved.step == 8
    assert not Path("runs/my net-1/final.safetensors").exists()
    assert main(["eval", "runs/my net-1"]) == 0


@POSIX
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 75), ("SIGUSR1", 75), ("SIGHUP", 75)])
@pytest.mark.parametrize("where", ["TrainingRun.__init__", "TrainingRun.begin"])
def test_before_the_first_step_a_signal_ends_it_and_it_can_be_begun_again(
    where: str,
    name: str,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model.alx").write_text(TINY)
    usual = signal.getsignal(signal.Signals[name])
    with monkeypatch.context() as patched:
        patched.setattr(f"alexnet_ir.training.loop.{where}", lambda *given: signal.raise_signal(signal.Signals[name]))
        assert main(["train", "--run-dir", "run"]) == code
    assert capsys.readouterr().err == "interrupted\n"
    assert signal.getsignal(signal.Signals[name]) is usual
    assert main(["train", "--run-dir", "run", "--no-pictures"]) == 0


LONG = """
import ctypes, sys, time
from alexnet_ir.cli.main import main
from alexnet_ir.training.step import TrainingStep
update = TrainingStep.__call__
def slow(self, *batch):
    if self.steps == 3:
        print("in a step", flush=True)
        mutex, until = ctypes.create_string_buffer(64), (ctypes.c_long * 2)(int(time.time()) + int(sys.argv[1]))
        ctypes.CDLL(None).pthread_mutex_lock(mutex)
        ctypes.CDLL(None).pthread_mutex_timedlock(mutex, until)  # waits on when a signal comes, as a kernel works on
    return update(self, *batch)
TrainingStep.__call__ = slow
sys.exit(main(["train"]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="waits by Linux's functions")
@pytest.mark.parametrize(("times", "seconds", "code", "saved"), [(1, 2, 75, 4), (2, 600, 128 + 15, 0)])
def test_a_second_signal_ends_even_a_long_step(times: int, seconds: int, code: int, saved: int, tmp_path: Path) -> None:
    (tmp_path / "model.alx").write_text(TINY)
    process = subprocess.Popen(
        [sys.executable, "-c", LONG, str(seconds)], cwd=tmp_path, stdout=-1, stderr=-1, text=True
    )
    assert process.stdout is not None
    while process.stdout.readline() != "in a step\n":
        assert process.poll() is None
    for number in (signal.SIGUSR1, signal.SIGTERM)[:times]:
        process.send_signal(number)
        time.sleep(0.05)
    process.communicate(timeout=60)
    assert process.returncode == code
    assert newest(tmp_path / "runs/model-1").saved.step == saved
