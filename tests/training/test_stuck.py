"""A loss that stays at what guessing costs, and units that are dead: said where they are, and only there."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from alexnet_ir.cli.main import main
from alexnet_ir.compiler import read_model
from alexnet_ir.setup import setup_of
from alexnet_ir.training.diagnosis.stuck import dead_units, guessing
from alexnet_ir.training.step import Predictor, TrainingStep

from .models import TINY
from .test_devices import HARD

HEADS = HARD.replace("weights = [1, 0.3]", "weights = [1, 0.25]")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TINY, math.log(3)),
        (HEADS, 1.25 * math.log(12)),
        (TINY.replace("batch: 16", "batch: 16  loss: hinge()"), 2.0),
    ],
    ids=["one", "two-heads", "hinge"],
)
def test_what_guessing_costs(text: str, expected: float) -> None:
    """Against the net itself, whose last layers are set to 0."""
    model = read_model(text)
    assert guessing(model) == pytest.approx(expected)
    step = TrainingStep(model, setup_of("cpu"), 0)
    for name in step.weights:
        if name.startswith(("fc1", "fc5", "fc6")):
            step.weights[name] = np.zeros_like(step.weights[name])
    images = np.ones((model.batch, *model.image), "f4")
    assert step(images, np.zeros(model.batch, "i4")) == pytest.approx(expected, rel=1e-5)


def test_dead_units_are_counted() -> None:
    """One map of four below 0 for every image, and one for all but a pixel of one image."""
    net = Predictor(read_model(TINY.replace("-> batchnorm -> act", "-> act")), setup_of("cpu"), 0)
    images = np.abs(np.random.default_rng(0).standard_normal((5, 2, 6, 6))).astype("f4")
    kernels = np.zeros((4, 2, 3, 3), "f4")
    kernels[:, :, 1, 1] = 1
    kernels[3] = -1
    net.weights["conv1.weight"], net.weights["conv1.bias"] = kernels, np.array([0, 0, -1e6, 0], "f4")
    assert dead_units(net, images) == {"relu1": 0.5}
    images[4, :, 2, 2] = -40
    assert dead_units(net, images) == {"relu1": 0.25}


def test_a_net_without_relus_has_no_dead_units() -> None:
    net = Predictor(read_model(TINY.replace("act = relu", "act = tanh")), setup_of("cpu"), 0)
    assert dead_units(net, np.zeros((2, 2, 6, 6), "f4")) == {}


def warnings(tmp_path: Path, text: str, epochs: int) -> list[str]:
    (tmp_path / "m.alx").write_text(text)
    assert main(["train", str(tmp_path / "m.alx"), "--epochs", str(epochs), "--no-pictures", "--run-dir", "run"]) == 0
    records = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    return [f"{record['step']}: {record['text']}" for record in records if record["kind"] == "warning"]


def test_a_run_that_stays_there_is_warned_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At step 100: three epochs are 18. With biases so low that relu lets nothing through."""
    monkeypatch.chdir(tmp_path)
    dead = TINY.replace("-> batchnorm", "").replace("pad = 1)", "pad = 1, weight = normal(1e-6), bias = -1)")
    (found,) = warnings(tmp_path, dead.replace("lr = 0.05", "lr = 1e-6"), 30)
    assert found.startswith("100: after 100 steps the loss is that of guessing: a mean of ")
    assert "dead units, 0 for every image of the batch: relu1 100%; where most are dead" in found
    assert "AlexNet with weights from normal(0.01) stays here" in found
    assert main(["train", "--resume", "run", "--epochs", "60", "--no-pictures"]) == 0  # and not again
    assert capsys.readouterr().err.count("the loss is that of guessing") == 1


def test_a_run_that_learns_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert warnings(tmp_path, TINY, 30) == []
