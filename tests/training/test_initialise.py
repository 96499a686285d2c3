"""Fine-tuning: what is taken over from another net's weights, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import alexnet_ir
from alexnet_ir.cli.main import main
from alexnet_ir.diagnostics import AlexnetError
from alexnet_ir.training.initialise import take_over
from alexnet_ir.training.run import read_metrics, weights_path
from alexnet_ir.training.weights import read_weights

from .models import TINY


def net(old: str = "", new: str = "", seed: int = 0) -> alexnet_ir.training.step.TrainingStep:
    return alexnet_ir.compile(TINY.replace(old, new)).trainer(devices="cpu", seed=seed)


def test_layers_are_taken_by_name_and_shape_and_the_others_said() -> None:
    source = net(seed=1)
    for statistic in ("running_mean", "running_var"):
        source.weights[f"batchnorm1.{statistic}"] = np.arange(4.0)
    target = net("fc1: fc(classes)", "fc(8, bias = none) -> fc(8) -> relu -> fc1: fc(classes)")
    extra = {"conv9.weight": np.zeros((1, 2)), "fc2.weight": np.zeros((8, 36)), "fc2.bias": np.zeros(8)}
    before = dict(target.weights)
    taken = take_over(target, {**source.weights, **extra}, "old.safetensors")
    for name, value in target.weights.items():
        assert np.array_equal(value, (before if name.startswith("fc") else source.weights)[name]), name
    assert taken.head == "initialised from old.safetensors: conv1 and batchnorm1"
    assert taken.reasons == [
        "  not taken: fc2, whose bias is not in the net",
        "  not taken: fc3, which is not in the file",
        "  not taken: fc1, whose weight has shape [3, 36] there and [3, 8] here",
        "  not taken: conv9, which is not in the net",
    ]


def test_nothing_in_common_is_an_error() -> None:
    with pytest.raises(AlexnetError, match="no layer in it has the name and shapes of one of Tiny") as raised:
        take_over(net(), {"features.0.weight": np.zeros((64, 3, 11, 11))}, "torch.safetensors")
    assert "features.0.weight [64, 3, 11, 11]" in str(raised.value)


# --- by the command line --------------------------------------------------------------------------------------------


def train(*flags: object) -> int:
    return main(["train", *map(str, flags), "--devices", "cpu", "--no-pictures"])


def weights(run: Path) -> dict[str, Any]:
    return dict(read_weights(weights_path(run)).tensors)


def test_a_run_begins_with_anothers_weights_and_its_frozen_layers_keep_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new, (first, second) = tmp_path / "old.alx", tmp_path / "new.alx", (tmp_path / "first", tmp_path / "second")
    old.write_text(TINY)
    new.write_text(TINY.replace("classes = 3", "classes = 4").replace("(96, 3)", "(96, 4)"))
    assert train(old, "--run-dir", first) == 0
    capsys.readouterr()
    assert train(new, "--run-dir", second, "--epochs", 1, "--init-from", first, "--freeze", "conv1,batchnorm1") == 0
    head = f"initialised from {first}/final.safetensors: conv1 and batchnorm1"
    told = capsys.readouterr().out
    assert f"{head}\n  not taken: fc1, whose weight has shape [3, 36] there and [4, 36] here\n" in told
    assert [line["event"] for line in read_metrics(second) if line["kind"] == "event"] == [
        head, "freeze(conv1) at the start", "freeze(batchnorm1) at the start",
    ]  # fmt: skip
    assert train("--resume", second, "--epochs", 3) == 0  # frozen still
    before, after = weights(first), weights(second)
    kept = {name for name in before if np.array_equal(before[name], after[name])}
    assert kept == {"conv1.weight", "conv1.bias", "batchnorm1.weight", "batchnorm1.bias"}
    assert json.loads((second / "environment.json").read_text())["options"]["freeze"] == ["conv1,batchnorm1"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--init-from", "nowhere"], "nowhere: there is no such file"),
        (["--freeze", "conv2"], "--freeze conv2: the net has no layer of that name"),
        (["--freeze", "conv1,,fc1"], "--freeze : the net has no layer of that name"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    (tmp_path / "m.alx").write_text(TINY)
    assert train(tmp_path / "m.alx", "--run-dir", tmp_path / "run", *flags) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_begun_anew_in_its_midst(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.alx").write_text(TINY)
    assert train(tmp_path / "m.alx", "--run-dir", tmp_path / "run") == 0
    assert train("--resume", tmp_path / "run", "--freeze", "conv1", "--init-from", tmp_path / "run") == 1
    assert "--freeze, --init-from: that cannot change within a run" in capsys.readouterr().err
