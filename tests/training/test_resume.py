"""Runs that were interrupted, changed or starved of disk, and taken up again: bit for bit those that were not."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alexnet_ir import AlexnetError
from alexnet_ir.cli.main import main
from alexnet_ir.dsl.model import load, read_source
from alexnet_ir.setup import setup_of
from alexnet_ir.training.checkpoint import Checkpoints
from alexnet_ir.training.loop import Options, TrainingRun
from alexnet_ir.training.observe import Observer, Update
from alexnet_ir.training.run import RunFolder, read_metrics
from alexnet_ir.training.step import TrainingStep

from .models import TINY
from .runs import SETTINGS, TRAIN, bits, everything, lines, newest

if os.name != "posix":
    pytest.skip("sends signals", allow_module_level=True)
RUN = Path("runs/model-1")
pytestmark = pytest.mark.usefixtures("model")


@pytest.fixture
def signal_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have SIGTERM come in an update, the one after so many."""
    update, wanted = TrainingStep.__call__, [-1]

    def signalled(self: TrainingStep, *batch: Any) -> float:
        if self.steps == wanted[0]:
            wanted[0] = -1
            signal.raise_signal(signal.SIGTERM)
        return update(self, *batch)

    monkeypatch.setattr(TrainingStep, "__call__", signalled)
    return lambda steps: wanted.__setitem__(0, steps)


def test_interrupted_anywhere_it_comes_out_the_same(signal_after: Callable[[int], None]) -> None:
    options = [f"--set={key}={value}" for key, value in SETTINGS.items()] + ["--epochs", "5"]
    assert main([*TRAIN, *options, "--run-dir", "whole"]) == 0
    whole = everything(Path("whole"))
    assert {line["kind"] for line in whole["metrics"]} == {"step", "epoch", "rate", "event", "final"}
    signal_after(0)
    assert main([*TRAIN, *options]) == 75
    for step in (1, 4, 5, 6, 7, 11, 17, 28):  # in an update, before the last of an epoch, the first of one
        signal_after(step)
        assert main([*TRAIN, "--resume"]) == 75
        assert newest(RUN).saved.step == step + 1
    assert main([*TRAIN, "--resume"]) == 0
    assert everything(RUN) == whole
    assert [line["step"] for line in read_metrics(RUN) if line["kind"] == "resume"] == [1, 2, 5, 6, 7, 8, 12, 18, 29]


def test_interrupted_in_an_evaluation_it_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert main([*TRAIN, "--batch", "4", "--run-dir", "whole"]) == 0
    predict = TrainingStep.predict

    def signalled(self: TrainingStep, images: Any) -> Any:
        signal.raise_signal(signal.SIGUSR1)
        return predict(self, images)

    with monkeypatch.context() as patched:
        patched.setattr(TrainingStep, "predict", signalled)
        assert main([*TRAIN, "--batch", "4"]) == 75
    assert newest(RUN).saved.step == 24
    assert not [line for line in lines(RUN) if line["kind"] == "epoch"]
    assert main([*TRAIN, "--resume"]) == 0
    assert everything(RUN) == everything(Path("whole"))


# --- what changes, and what must not ----------------------------------------------------------------------------------


@pytest.fixture
def begun(signal_after: Callable[[int], None]) -> Callable[[int], None]:
    """A run that was stopped after the next of so many updates."""

    def begin(steps: int = 7) -> None:
        signal_after(steps)
        assert main([*TRAIN, "--checkpoint-every", "1"]) == 75

    return begin


def test_a_checkpoint_of_one_placement_loads_under_another(
    begun: Callable[[int], None], signal_after: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TRAIN, "--run-dir", "whole"]) == 0
    begun(7)
    signal_after(9)
    one = newest(RUN)
    assert main([*TRAIN, "--resume", "--devices", "cpu,cpu", "--place", "columns"]) == 75
    two = newest(RUN)
    assert [c.environment["placement"] for c in (one, two)] == ["single", "columns"]
    signal_after(-1)
    assert main([*TRAIN, "--resume", "--devices", "cpu", "--place", "single"]) == 0
    changes = [line["changes"] for line in read_metrics(RUN) if line["kind"] == "resume"]
    assert [change["devices"] for change in changes] == ["cpu -> cpu,cpu", "cpu,cpu -> cpu"]
    assert "changed: placement: single -> columns" in capsys.readouterr().out
    for name, value in newest(Path("whole")).states.items():
        np.testing.assert_allclose(newest(RUN).states[name], value, rtol=1e-3, atol=1e-4)


def test_options_stay_and_those_of_devices_go_together(begun: Callable[[int], None]) -> None:
    begun(7)
    assert newest(RUN).options["checkpoint_every"] == 1
    assert main([*TRAIN, "--resume", "--threads", "1", "--steps", "9"]) == 0
    assert newest(RUN).options["threads"] == 1
    assert main([*TRAIN, "--resume", "--steps", "10"]) == 0
    assert (newest(RUN).options["threads"], newest(RUN).options["checkpoint_every"]) == (1, 1)
    assert main([*TRAIN, "--resume", "--steps", "11", "--devices", "reference"]) == 0  # which has no threads
    assert newest(RUN).environment["backend"] == "reference"


def test_states_are_the_same_wherever_they_are_loaded(begun: Callable[[int], None]) -> None:
    begun(7)
    found = newest(RUN)
    model = load(read_source(Path("model.alx")))
    for devices, place in (("cpu", "single"), ("cpu,cpu", "columns"), ("cpu,cpu", "data")):
        step = TrainingStep(model, setup_of(devices, place))
        step.restore(found.states, 8)
        assert bits(step.states()) == bits(found.states)


def test_a_changed_rate_is_recorded_and_kept(
    begun: Callable[[int], None], capsys: pytest.CaptureFixture[str], signal_after: Callable[[int], None]
) -> None:
    begun(7)
    slower = "train.optimizer=sgd(lr = 0.01, momentum = 0.9, weight_decay = 1e-4)"
    signal_after(8)
    assert main([*TRAIN, "--resume", "--set", slower]) == 75
    assert "step 8: the rate is 0.01: it was 0.05 before the run was taken up" in capsys.readouterr().out
    signal_after(-1)
    assert main([*TRAIN, "--resume"]) == 0
    records = read_metrics(RUN)
    (rate,) = [line for line in records if line["kind"] == "rate"]
    assert (rate["step"], rate["lr"]) == (8, 0.01)
    assert {line["lr"] for line in records if line["kind"] == "step" and line["step"] > 8} == {0.01}
    assert "lr = 0.01" in (RUN / "resolved.alx").read_text()
    assert (RUN / "model.alx").read_text() == TINY


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    begun: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TRAIN, "--run-dir", "whole"]) == 0
    begun(7)
    path = Checkpoints(RUN).paths()[0]
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    capsys.readouterr()
    assert main([*TRAIN, "--resume"]) == 0
    said = capsys.readouterr().err
    assert f"warning: {path}: damaged, or changed by another program" in said
    assert "going on from step 7, which is whole" in said
    assert everything(RUN) == everything(Path("whole"))


def test_what_a_kill_left_of_the_metrics_is_cut_off(begun: Callable[[int], None]) -> None:
    assert main([*TRAIN, "--run-dir", "whole"]) == 0
    begun(7)
    for name, junk in (("metrics.jsonl", '{"kind": "step", "step": 9}\n{"kind": "st'), ("metrics.csv", "1,2,3\n4")):
        with (RUN / name).open("a") as file:
            file.write(junk)
    assert read_metrics(RUN)[-1]["step"] == 9  # what is torn is not read
    assert main([*TRAIN, "--resume"]) == 0
    assert everything(RUN) == everything(Path("whole"))


def test_a_finished_run_does_nothing_unless_its_end_moves(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TRAIN, "--epochs", "3", "--run-dir", "whole"]) == 0
    assert main(TRAIN) == 0
    before = {path: path.read_bytes() for path in RUN.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert main([*TRAIN, "--resume"]) == 0
    assert capsys.readouterr().out.startswith(f"{RUN} is finished: ")
    assert {path: path.read_bytes() for path in RUN.rglob("*") if path.is_file()} == before
    assert main([*TRAIN, "--resume", str(RUN), "--epochs", "3"]) == 0
    found, wanted = everything(RUN), everything(Path("whole"))
    assert [line for line in found["metrics"] if line["kind"] != "final" or line["step"] == 18] == wanted["metrics"]
    assert {key: found[key] for key in found if key != "metrics"} == {
        key: wanted[key] for key in wanted if key != "metrics"
    }


def test_a_stop_within_an_epoch_can_be_moved_on() -> None:
    assert main([*TRAIN, "--run-dir", "whole"]) == 0
    assert main([*TRAIN, "--steps", "8"]) == 0
    assert main([*TRAIN, "--resume", "--epochs", "2"]) == 0
    assert bits(newest(RUN).states) == bits(newest(Path("whole")).states)
    assert [line["step"] for line in read_metrics(RUN) if line["kind"] == "epoch"] == [6, 8, 12]
    last = [[line for line in lines(run) if line["kind"] == "epoch"][-1] for run in (RUN, Path("whole"))]
    assert last[0] == last[1]


REFUSALS = [
    (["--resume", "elsewhere"], "there is no checkpoint to go on from"),
    (["other.alx", "--resume"], "there is no run of other.alx in runs"),
    (["--resume", "runs/model-1/model.alx"], "expected a run's folder, or a file in its checkpoints/"),
    (["--resume", "--batch", "8"], "--batch: that cannot change within a run"),
    (["--resume", "--set", "net.act=tanh"], "--set net.act: that cannot change within a run"),
    (["--resume", "--seed", "3"], "--seed: that cannot change within a run"),
    (["--resume", "--set", "train.optimizer=adam(lr = 0.1)"], "a run goes on with the optimizer that it began with"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSALS, ids=[" ".join(r[0])[:40] for r in REFUSALS])
def test_what_a_run_cannot_go_on_with(
    arguments: list[str], message: str, begun: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    begun(2)
    before = {path: path.read_bytes() for path in RUN.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert main([*TRAIN, *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert {path: path.read_bytes() for path in RUN.rglob("*") if path.is_file()} == before


def test_a_run_is_one_process_at_a_time(begun: Callable[[int], None], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TRAIN, "--run-dir", "whole"]) == 0
    begun(7)
    with closing(RunFolder(RUN, newest(RUN).sizes)):
        assert main([*TRAIN, "--resume"]) == 1
        assert f"{RUN}: another process is at this run" in capsys.readouterr().err
    assert main([*TRAIN, "--resume"]) == 0
    assert everything(RUN) == everything(Path("whole"))


def test_an_older_checkpoint_can_be_gone_on_from(begun: Callable[[int], None]) -> None:
    assert main([*TRAIN, "--run-dir", "whole"]) == 0
    begun(7)
    oldest = Checkpoints(RUN).paths()[-1]
    assert oldest.stem == "step-000000006"
    assert main([*TRAIN, "--resume", str(oldest)]) == 0
    assert everything(RUN) == everything(Path("whole"))
    aside = {path.name.split(".")[0] for path in RUN.rglob("*.aside")}
    assert aside == {"step-000000007", "step-000000008"}
    assert main([*TRAIN, "--resume", str(oldest.with_name("step-000000012.safetensors")), "--epochs", "3"]) == 0
    assert (RUN / "final.safetensors.aside").exists()


def test_what_a_kill_took_of_the_end_is_made_up_for() -> None:
    class Killed(Observer):
        def at_end(self, run: TrainingRun) -> None:
            assert (RUN / "final.safetensors").exists()
            run.is_whole = False  # so that it is left as by a kill
            raise KeyboardInterrupt

    assert main([*TRAIN, "--run-dir", "whole"]) == 0
    training = TrainingRun(load(read_source(Path("model.alx"))), setup_of("cpu"), observers=[Killed()])
    with closing(RunFolder.create(RUN, TINY)) as folder:
        training.begin(folder, {})
        with pytest.raises(KeyboardInterrupt):
            training.run(show_progress=False)
    assert main(["train", "--resume"]) == 0
    assert everything(RUN) == everything(Path("whole"))
    assert (RUN / "report.html").exists()


def test_nobody_who_reads_what_it_says_ends_no_run() -> None:
    process = subprocess.Popen([sys.executable, "-m", "alexnet_ir", *TRAIN], stdout=-1, stderr=-1)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    _, said = process.communicate()
    assert (process.returncode, said) == (0, b"")
    assert (RUN / "final.safetensors").exists()


def test_a_run_keeps_its_own_text(begun: Callable[[int], None], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TRAIN, "--run-dir", "whole"]) == 0
    begun(7)
    Path("model.alx").write_text(TINY.replace("conv(4", "conv(5"))
    assert main([*TRAIN, "model.alx", "--resume"]) == 0
    assert "model.alx has changed since: the run goes on with its own text" in capsys.readouterr().err
    assert everything(RUN) == everything(Path("whole"))


def test_other_data_are_refused(begun: Callable[[int], None], monkeypatch: pytest.MonkeyPatch) -> None:
    begun(7)
    found = newest(RUN)
    training = TrainingRun(load(read_source(Path("model.alx"))), setup_of("cpu"))
    training.restore(found)
    for other in (
        replace(found, images=95),
        replace(found, saved=replace(found.saved, mean=np.asarray(found.saved.mean) + 1)),
        replace(found, saved=replace(found.saved, classes=("a", "b", "c"))),
    ):
        with pytest.raises(AlexnetError, match="these are not the data of the run"):
            training.restore(other)


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_what_is_not_finite_is_never_saved(begun: Callable[[int], None], capsys: pytest.CaptureFixture[str]) -> None:
    begun(7)
    good = newest(RUN)
    capsys.readouterr()
    assert main([*TRAIN, "--resume", "--set", "train.optimizer=sgd(lr = 1e30, momentum = 0.9)"]) == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert newest(RUN).saved.step >= good.saved.step
    assert all(np.isfinite(value).all() for value in newest(RUN).states.values())


def test_whatever_ends_a_run_the_last_step_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    class Breaks(Observer):
        def after_step(self, run: TrainingRun, update: Update) -> None:
            if update.step == 4:
                raise RuntimeError("a bug")

    training = TrainingRun(load(read_source(Path("model.alx"))), setup_of("cpu"), observers=[Breaks()])
    training.begin(RunFolder.create(RUN, TINY), {})
    with pytest.raises(RuntimeError, match="a bug"):
        training.run(show_progress=False)
    assert newest(RUN).saved.step == 4


def test_a_step_that_breaks_in_its_midst_is_not_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    training = TrainingRun(load(read_source(Path("model.alx"))), setup_of("cpu"), Options(checkpoint_every=2))
    update = TrainingStep.__call__

    def breaks(self: TrainingStep, *batch: Any) -> float:
        if self.steps == 3:
            raise MemoryError
        return update(self, *batch)

    monkeypatch.setattr(TrainingStep, "__call__", breaks)
    training.begin(RunFolder.create(RUN, TINY), {})
    with pytest.raises(MemoryError):
        training.run(show_progress=False)
    assert newest(RUN).saved.step == 2


def test_a_run_goes_on_when_the_disk_is_full_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TRAIN, "--run-dir", "whole"]) == 0
    capsys.readouterr()
    fsync, update, steps = os.fsync, TrainingStep.__call__, [0]

    def counted(self: TrainingStep, *batch: Any) -> float:
        steps[0] = self.steps
        return update(self, *batch)

    def full(descriptor: int) -> None:
        if 4 <= steps[0] <= 8:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(TrainingStep, "__call__", counted)
    monkeypatch.setattr(os, "fsync", full)
    assert main([*TRAIN, "--checkpoint-every", "1"]) == 0
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith("warning: runs/model-1/")
    assert "No space left on device; training goes on, and what is saved is step " in warning
    (line,) = [line for line in read_metrics(RUN) if line["kind"] == "warning"]
    assert line["text"] == warning.removeprefix("warning: ")
    found = everything(RUN)
    found["metrics"].remove(line)
    assert found == everything(Path("whole"))


FULL = """
import resource, sys
from pathlib import Path
from alexnet_ir.cli.main import main
from alexnet_ir.training.step import TrainingStep
update = TrainingStep.__call__
def filling(self, *batch):
    if self.steps == 3:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    return update(self, *batch)
TrainingStep.__call__ = filling
sys.exit(main(sys.argv[1:]))
"""


def test_a_disk_that_stays_full_is_one_error_at_the_end() -> None:
    assert main([*TRAIN, "--run-dir", "whole"]) == 0
    command = [sys.executable, "-c", FULL, *TRAIN, "--checkpoint-every", "2"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 1, found.stderr
    assert [line.split(":")[0] for line in found.stderr.splitlines()] == ["warning", "warning", "error"]
    assert "File too large" in found.stderr
    assert newest(RUN).saved.step == 2
    assert not list(RUN.rglob("*.part"))
    assert main([*TRAIN, "--resume"]) == 0
    assert everything(RUN) == everything(Path("whole"))
