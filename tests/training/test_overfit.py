"""One batch learnt by heart: what can be learnt is, what cannot is not, and the exit code tells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from alexnet_ir.cli.main import main
from alexnet_ir.compiler import read_model
from alexnet_ir.data.loader import Fed
from alexnet_ir.setup import setup_of
from alexnet_ir.training.diagnosis.overfit import Learnt, overfit
from alexnet_ir.training.loop import TrainingRun
from alexnet_ir.training.step import TrainingStep

from .models import TINY


@pytest.fixture(autouse=True)
def _model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.alx").write_text(TINY)


def first_batch() -> tuple[TrainingStep, Fed]:
    run = TrainingRun(read_model(TINY), setup_of("cpu"))
    return run.step, run.batch_of(0)


def test_a_batch_is_learnt_and_nothing_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "m.alx", "--overfit-one-batch"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "the first batch only: 16 images, at most 200 steps; nothing is saved"
    assert said[-1].startswith("learnt: all 16 images are right after ")
    assert [path.name for path in Path().iterdir()] == ["m.alx"]


def test_labels_that_contradict_each_other_cannot_be_learnt() -> None:
    """Sixteen times one image, with three labels: at most six are right."""
    step, (images, _) = first_batch()
    same = images.rows(np.zeros(16, np.intp))
    told: list[Learnt] = []
    found = overfit(step, (same, np.arange(16, dtype="i4") % 3), 25, told.append)
    assert not found.all
    assert (found.steps, found.images) == (25, 16)
    assert found.right in (5, 6)
    assert [one.steps for one in told] == [10, 20, 25]
    assert told[-1] == found


def test_a_rate_too_low_is_said_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    setting = ["--set", "train.optimizer=sgd(lr = 1e-9)"]
    assert main(["train", "m.alx", "--overfit-one-batch", "10", *setting]) == 1
    said = capsys.readouterr().out
    assert "not learnt: " in said
    assert "a rate too high, or too low?" in said


def test_divergence_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "m.alx", "--overfit-one-batch", "--set", "train.optimizer=sgd(lr = 1e30)"]) == 1
    said = capsys.readouterr().err
    assert "the loss is nan at step 2: training has diverged" in said
    assert "%batchnorm1.variance (batchnorm) is the first value that is not finite" in said


def test_what_does_not_go_together(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "m.alx", "--resume", "--check-gradients"]) == 1
    assert "--resume goes on with a run" in capsys.readouterr().err
    assert main(["train", "m.alx", "--overfit-one-batch", "0"]) == 1
    assert "expected a number of steps above 0" in capsys.readouterr().err


def test_gradients_are_checked_without_data(capsys: pytest.CaptureFixture[str]) -> None:
    Path("m.alx").write_text(TINY.replace("synthetic(96, 3)", 'cifar10("nowhere")').replace("2, 6, 6", "3, 32, 32"))
    assert main(["train", "m.alx", "--set", "net.classes=10", "--check-gradients"]) == 0
    assert "all of them are right" in capsys.readouterr().out
