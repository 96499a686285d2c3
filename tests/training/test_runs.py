"""Whole runs from the command line: what they print, write and leave behind."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from alexnet_ir.backends.cpu.backend import CpuBackend
from alexnet_ir.cli.main import main

from .models import TINY
from .runs import TRAIN

pytestmark = pytest.mark.usefixtures("model")


def lines(path: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_a_run_says_what_was_chosen_and_leaves_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train"]) == 0
    first, *epochs, last = capsys.readouterr().out.splitlines()
    about = f"on cpu ({CpuBackend().about}; no GPU can be used)"
    assert first.startswith(f"training Tiny of model.alx by `train recipe` {about}: 96 images, batch 16")
    assert [line.split(":")[0] for line in epochs] == ["epoch 1", "epoch 2"]
    assert last == "the run is in runs/model-1"
    run = Path("runs/model-1")
    assert {path.name for path in run.iterdir()} == {
        "model.alx", "resolved.alx", "environment.json", "metrics.jsonl", "metrics.csv", "best.safetensors",
        "final.safetensors", "checkpoints", "pictures", "report.html",
    }  # fmt: skip
    assert (run / "model.alx").read_text() == TINY
    assert [path.stem for path in sorted((run / "checkpoints").iterdir())] == [f"step-{n:09d}" for n in (0, 6, 12)]
    environment = json.loads((run / "environment.json").read_text())
    assert environment["devices"] == "cpu"
    assert environment["packages"]["numpy"] == np.__version__


def test_metrics_as_lines_and_as_a_table() -> None:
    assert main([*TRAIN, "--epochs", "3"]) == 0
    records = lines("runs/model-1/metrics.jsonl")
    assert [r["step"] for r in records if r["kind"] == "epoch"] == [6, 12, 18]
    assert [r["step"] for r in records if r["kind"] == "step"] == list(range(1, 19))
    with open("runs/model-1/metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])


def test_the_same_seed_gives_the_same_files_and_another_one_others() -> None:
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        assert main([*TRAIN, "--seed", seed, "--run-dir", name]) == 0
    weights = {name: load_file(f"{name}/final.safetensors") for name in "abc"}
    files = {name: Path(name, "final.safetensors").read_bytes() for name in "abc"}
    assert files["a"] == files["b"]
    assert not np.array_equal(weights["a"]["conv1.weight"], weights["c"]["conv1.weight"])


def test_weights_hold_what_evaluation_needs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([*TRAIN, "--set", "net.act=tanh", "--set", "train.batch=8"]) == 0
    with safe_open("runs/model-1/final.safetensors", "np") as file:
        metadata = file.metadata()
        assert set(file.keys()) >= {"conv1.weight", "batchnorm1.running_mean", "data.mean"}
        assert file.get_tensor("conv1.weight").shape == (4, 2, 3, 3)
    assert metadata["model"] == TINY
    assert json.loads(metadata["choice"])["settings"] == {"net.act": "tanh", "train.batch": "8"}
    assert len(json.loads(metadata["classes"])) == 3
    last = [r for r in lines("runs/model-1/metrics.jsonl") if r["kind"] == "epoch"][-1]
    (tmp_path / "model.alx").unlink()
    capsys.readouterr()
    assert main(["eval", "runs/model-1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["top1"], found["images"]) == (last["eval_top1"], last["eval_images"])
    assert main(["eval", "runs/model-1/best.safetensors"]) == 0
    assert "top-1 error" in capsys.readouterr().out


def test_runs_are_numbered_and_never_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert main([*TRAIN, "--steps", "2"]) == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == ["model-1", "model-2"]
    assert main([*TRAIN, "--run-dir", "runs/model-1"]) == 1
    error = capsys.readouterr().err
    assert "something of that name already" in error
    assert "go on with that run: alexnet-ir train --resume runs/model-1" in error


def test_steps_stop_in_the_middle_of_an_epoch() -> None:
    assert main([*TRAIN, "--steps", "8"]) == 0
    assert [r["step"] for r in lines("runs/model-1/metrics.jsonl") if r["kind"] == "epoch"] == [6, 8]


def test_error_below_stops_when_it_is_reached(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TRAIN, "--set", 'train.stop=error_below(30%, on = "eval")']) == 0
    *_, last = [r for r in lines("runs/model-1/metrics.jsonl") if r["kind"] == "epoch"]
    assert float(str(last["eval_top1"])) < 0.3


REFUSALS = [
    (["--devices", "0,1"], "no GPU can be used"),
    (["--devices", "0"], "no GPU can be used"),
    (["--devices", "tpu"], "no such device"),
    (["--devices", "cpu,cpu", "--place", "colums"], "--place colums: no such placement"),
    (["--memory-limit", "3 cups"], "--memory-limit 3 cups: expected a number of bytes"),
    (["--memory-limit", "1KB"], "the step needs at least"),
    (["--profile", "gtx58"], "gtx58"),
    (["--epochs", "0"], "--epochs 0"),
    (["--steps", "-1"], "--steps -1"),
    (["--steps", "1", "--epochs", "1"], "give one"),
    (["--batch", "0"], "--batch 0"),
    (["--seed", "-1"], "--seed -1: expected a whole number of at least 0"),
    (["--seed", str(2**63)], "less than 2 to the power of 63"),
    (["--data", "somewhere"], "synthetic(...) reads no directory"),
    (["--batch", "97"], "fewer than one batch"),
    (["--set", "batch"], "expected KEY=VALUE"),
    (["--set", "data.holdout"], "expected KEY=VALUE"),
    (["--set", "nonsense.batch=1"], "a setting is `net.NAME`"),
    (["--set", "train.batches=1"], "did you mean `batch`?"),
    (["--set", "net.act=rellu"], "rellu"),
    (["--recipe", "other"], "no `train` section `other`"),
    (["--keep", "0"], "--keep 0: expected a whole number of at least 1"),
    (["--checkpoint-every", "0"], "--checkpoint-every 0"),
    (["--workers", "0"], "--workers 0"),
    (["--set", "data.train=[subtract_mean(), center_crop(9)]"], "the data gives ? x 9 x 9"),
    (["--set", "train.optimizer=sgd(lr = 1e30)"], "training has diverged"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSALS, ids=[" ".join(r[0])[:40] for r in REFUSALS])
def test_refusals_are_one_clear_message(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TRAIN, *arguments]) == 1
    error = capsys.readouterr().err
    assert sum(line.startswith("error") for line in error.splitlines()) == 1
    assert message in error
    assert not Path("runs").exists() or message == "training has diverged"


def test_a_killed_run_is_judged_by_its_best_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(TRAIN) == 0
    Path("runs/model-1/final.safetensors").unlink()
    capsys.readouterr()
    assert main(["eval", "runs/model-1"]) == 0
    assert capsys.readouterr().out.startswith("runs/model-1/best.safetensors: ")
    Path("runs/model-1/best.safetensors").unlink()
    assert main(["eval", "runs/model-1"]) == 0
    assert capsys.readouterr().out.startswith("runs/model-1/checkpoints/step-000000012.safetensors: ")


def test_weights_that_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "nowhere"]) == 1
    assert "no such file" in capsys.readouterr().err
    Path("junk.safetensors").write_bytes(b"\x00" * 40)
    assert main(["eval", "junk.safetensors"]) == 1
    assert "expected a safetensors file" in capsys.readouterr().err
    save_file({"x": np.zeros(3)}, "other.safetensors")
    assert main(["eval", "other.safetensors"]) == 1
    assert "no format in its metadata" in capsys.readouterr().err


def test_a_run_that_never_began_is_begun_again(capsys: pytest.CaptureFixture[str]) -> None:
    Path("run/checkpoints").mkdir(parents=True)
    Path("run/model.alx.part").write_text("alx")
    Path("run/metrics.csv").write_text("what was there before, longer than what comes: " * 99)
    assert main([*TRAIN, "--resume", "run"]) == 1
    assert "no checkpoint to go on from" in capsys.readouterr().err
    assert main([*TRAIN, "--run-dir", "run"]) == 0
    assert Path("run/metrics.csv").read_text().splitlines()[-1].startswith("2,12,0.05,")
    Path("other").mkdir()
    Path("other/notes.txt").touch()
    assert main([*TRAIN, "--run-dir", "other"]) == 1
    assert [path.name for path in Path("other").iterdir()] == ["notes.txt"]
