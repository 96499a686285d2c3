"""Processes killed at any moment, and runs taken up after them: bit for bit those that were not."""

from __future__ import annotations

import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from alexnet_ir.cli.main import main
from alexnet_ir.dsl.model import Choice, load, read_source
from alexnet_ir.setup import Kernels, setup_of
from alexnet_ir.training.checkpoint import Checkpoints
from alexnet_ir.training.loop import Options, TrainingRun
from alexnet_ir.training.observe import Observer
from alexnet_ir.training.run import RunFolder

from .models import TINY
from .runs import SETTINGS, TRAIN, everything, newest

if os.name != "posix":
    pytest.skip("kills processes", allow_module_level=True)
RUN = Path("runs/model-1")
pytestmark = pytest.mark.usefixtures("model")
ROOT = Path(__file__).parents[2]


class Ready(Observer):
    """Says through a pipe that updates begin."""

    def __init__(self) -> None:
        self.reads, self._writes = os.pipe()

    def at_start(self, run: TrainingRun) -> None:
        os.write(self._writes, b".")

    def wait(self) -> None:
        os.read(self.reads, 1)

    def forget(self) -> None:
        """What a process wrote that is gone."""
        while select.select([self.reads], [], [], 0)[0]:
            self.wait()


def a_run(stop: str, *observers: Observer, every: int = 1) -> TrainingRun:
    """All that there is to build is built, so that processes that are forked off lose no time; on one thread, as others
    would not be there."""
    choice = Choice(settings={**SETTINGS, "train.stop": stop})
    model, setup = load(read_source(Path("model.alx")), choice), setup_of("cpu", kernels=Kernels(threads=1))
    training = TrainingRun(model, setup, Options(checkpoint_every=every, keep=2), observers)
    before, (images, labels) = training.step.states(), training.batch_of(0)
    training.step(images, labels)
    training.step.predict(images)
    training.step.restore(before, 0)
    return training


def forked(training: TrainingRun, folder: Path) -> int:
    """A process that begins it, or takes it up; then to its end."""
    child = os.fork()
    if child == 0:
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            if Checkpoints(folder).paths():
                found, problems = Checkpoints(folder).newest()
                assert not problems
                training.restore(found)
                training.go_on(RunFolder(folder, found.sizes), {}, found, {})
            else:
                training.begin(RunFolder.create(folder, TINY), {})
            training.run(show_progress=False)
            os._exit(0)
        finally:
            os._exit(1)
    return child


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def until(condition: Callable[[], bool]) -> None:
    """Waits for what a process will do."""
    while not condition():
        time.sleep(0.0002)


def kill_a_hundred_times() -> None:
    """In this folder. Of a process without threads: a fork has only the one that forks, and the locks of all."""
    ready = Ready()
    chance, kills, in_saves, endless = random.Random(), 0, 0, a_run("epochs(1_000_000)", ready)
    while kills < 100:
        before = Checkpoints(RUN).paths()[:1]
        child = forked(endless, RUN)
        if kills % 4 == 0:
            until(
                lambda old=before: Checkpoints(RUN).paths()[:1] != old
            )  # a step further, however slow this machine is
        elif kills % 4 == 1:
            until(lambda: any((RUN / "checkpoints").glob("*.part")))
        elif kills % 4 == 2:
            ready.wait()
        if kills % 4 != 1:
            time.sleep(chance.uniform(0, 0.12))
        os.kill(child, signal.SIGKILL)
        assert ended(child) == -signal.SIGKILL
        ready.forget()
        in_saves += any((RUN / "checkpoints").glob("*.part"))
        if Checkpoints(RUN).paths():
            kills += 1
        elif RUN.exists():
            shutil.rmtree(RUN)  # killed before it began
    steps = newest(RUN).saved.step
    assert in_saves
    assert steps >= 20
    training = a_run(f"steps({steps + 9})", every=100)
    assert ended(forked(training, RUN)) == 0
    assert ended(forked(training, Path("whole"))) == 0


@pytest.mark.slow
def test_killed_a_hundred_times_it_comes_out_the_same() -> None:
    command = "from tests.training.test_killed import kill_a_hundred_times as k; k()"
    subprocess.run(
        [sys.executable, "-c", command], env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=600, check=True
    )
    assert everything(RUN) == everything(Path("whole"))
    assert not list(RUN.rglob("*.part"))


def test_the_program_killed_twice_comes_out_the_same() -> None:
    options = ["--epochs", "5", "--checkpoint-every", "2", "--threads", "1"]
    assert main([*TRAIN, *options, "--run-dir", "whole"]) == 0
    for arguments, until in (([*TRAIN, *options], "epoch 1:"), ([*TRAIN, "--resume"], "epoch 3:")):
        process = subprocess.Popen([sys.executable, "-m", "alexnet_ir", *arguments], stdout=-1, text=True)
        assert process.stdout is not None
        while not process.stdout.readline().startswith(until):
            assert process.poll() is None
        process.kill()
        process.communicate()
    assert main([*TRAIN, "--resume"]) == 0
    assert everything(RUN) == everything(Path("whole"))
