"""Norms of weights and updates: those that a plain computation from the weights gives, at the steps that are logged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from alexnet_ir.cli.main import main
from alexnet_ir.compiler import read_model
from alexnet_ir.setup import setup_of
from alexnet_ir.training.diagnosis.norms import Norms, ratios_line
from alexnet_ir.training.loop import TrainingRun
from alexnet_ir.training.observe import Observer, Update
from alexnet_ir.training.run import RunFolder, read_metrics

from .models import TINY


class Weights(Observer):
    """Keeps the weights after every step."""

    def __init__(self) -> None:
        self.seen: list[dict[str, object]] = []

    def at_start(self, run: TrainingRun) -> None:
        self.seen = [dict(run.step.weights)]

    def after_step(self, run: TrainingRun, update: Update) -> None:
        self.seen.append(dict(run.step.weights))


@pytest.mark.parametrize("every", [1, 5])
def test_norms_are_those_of_the_weights(tmp_path: Path, every: int, capsys: pytest.CaptureFixture[str]) -> None:
    model = read_model(TINY)
    weights = Weights()
    run = TrainingRun(model, setup_of("cpu"), observers=[Norms(), weights])
    run.every = every
    run.begin(RunFolder.create(tmp_path / "run", TINY), {})
    run.run(show_progress=False)
    run.folder.sync()
    found = [record for record in read_metrics(tmp_path / "run") if record["kind"] == "norms"]
    assert [record["step"] for record in found] == list(range(every, 13, every))
    for record in found:
        before, after = weights.seen[record["step"] - 1], weights.seen[record["step"]]
        assert set(record["layers"]) == {n for n, s in model.graph.states.items() if s.role == "parameter"}
        for name, norms in record["layers"].items():
            moved = np.subtract(after[name], before[name], dtype="f8")
            assert norms["weight"] == pytest.approx(np.linalg.norm(np.asarray(after[name], "f8")), rel=1e-6)
            assert norms["update"] == pytest.approx(np.linalg.norm(moved), rel=1e-4)
    printed = capsys.readouterr().out.splitlines()
    last = {n: v["update"] / v["weight"] for n, v in found[-1]["layers"].items() if n.endswith(".weight")}
    assert [line for line in printed if "update / weight" in line][-1] == ratios_line(last)


def test_the_line() -> None:
    line = ratios_line({"a.weight": 2e-3, "b.weight": 5e-4, "c.weight": 1e-2})
    assert line == "  update / weight: least 5.0e-04 (b.weight), median 2.0e-03, largest 1.0e-02 (c.weight)"


def test_only_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.alx").write_text(TINY)
    for flags, count in (([], 0), (["--norms"], 12)):
        run = f"run{count}"
        assert main(["train", "m.alx", "--no-pictures", "--run-dir", run, *flags]) == 0
        kinds = [json.loads(line)["kind"] for line in Path(run, "metrics.jsonl").read_text().splitlines()]
        assert kinds.count("norms") == count
