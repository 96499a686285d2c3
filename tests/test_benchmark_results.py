"""benchmarks/results.py: what it trains checks and is what claims name, it goes on where it was, and says what came
out."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from alexnet_ir.compiler import recipe_of
from alexnet_ir.dsl import spec
from alexnet_ir.dsl.formatter import format_source
from alexnet_ir.dsl.model import Choice, Model, check, load, read_source
from alexnet_ir.ir.types import TensorType
from alexnet_ir.ops.conv import Conv
from alexnet_ir.ops.dropout import Dropout
from alexnet_ir.ops.normalize import Lrn
from alexnet_ir.ops.pool import MaxPool
from alexnet_ir.training.run import CHECKPOINTS, METRICS
from benchmarks import results
from benchmarks.results_parts import runner
from benchmarks.results_parts.experiments import ARMS, CLAIMS, RACE, Arm, Claim, Contender, Expected
from benchmarks.results_parts.report import best, judged, write_report
from benchmarks.results_parts.runner import Place, Row, collected, locked, net_hash, run_all

BY_NAME = {arm.name: arm for arm in ARMS}
SHORT = Arm("short", "net.alx", (), 2, (0, 1))
NET = "alx 1\n\nnet N(k = 3) {}\ntrain t {\n  stop: epochs(3)\n}\n"
CLAIM = Claim(
    "acts", "Acts", "Said.", (Contender("one", ("a",)), Contender("other", ("b", "c"))), (Expected("one", "other"),)
)
TRAINING = """
import json, pathlib, sys
resumes = "--resume" in sys.argv
run = pathlib.Path(sys.argv[sys.argv.index("--resume" if resumes else "--run-dir") + 1])
work = run.parent
with (work / "calls").open("a") as file:
    print(*sys.argv[1:], file=file)
(run / "checkpoints").mkdir(parents=True, exist_ok=resumes)
(run / "checkpoints" / "step-000000001.safetensors").touch()
if not resumes:
    (run / "model.alx").write_text(pathlib.Path(sys.argv[2]).read_text())
epoch = json.dumps({"kind": "epoch", "loss": 1.0, "error": 0.5, "eval_top1": 0.25, "seconds": 1.0})
breaks = (work / "breaks").exists()
with (run / "metrics.jsonl").open("a") as file:
    file.write(f"{epoch}\\n" * (1 if breaks or resumes else 2))
(work / "breaks").unlink(missing_ok=True)
sys.exit("out of luck" if breaks else 0)
"""
"""Stands for training: two epochs; if a file says so, it breaks off after the first."""


def model_of(arm: Arm) -> Model:
    """As `alexnet-ir train` reads it."""
    given = list(zip(arm.arguments[::2], arm.arguments[1::2], strict=True))
    settings = {text.partition("=")[0]: text.partition("=")[2] for flag, text in given if flag == "--set"}
    return load(read_source(results.ROOT / arm.net), Choice(recipe=dict(given).get("--recipe"), settings=settings))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """With something quick in the place of training."""
    monkeypatch.setattr(runner, "ALEXNET_IR", (sys.executable, "-c", TRAINING))
    (tmp_path / "net.alx").write_text(NET)
    return Place(tmp_path, tmp_path / "work", tmp_path / "rows", {})


def calls(place: Place) -> list[str]:
    """How training was called, since it was last asked."""
    path = place.work / "calls"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


@pytest.mark.parametrize("path", sorted({arm.net for arm in ARMS}))
def test_nets_are_accepted_and_formatted(path: str) -> None:
    source = read_source(results.ROOT / path)
    assert check(source).errors == check(source).warnings == ()
    assert format_source(source) == source.text


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_arms_stop_when_they_are_complete(arm: Arm) -> None:
    stop = recipe_of(model_of(arm)).stop
    below = [spec.ErrorBelow(arm.target, "train")] if arm.target else []
    assert stop == (*below, spec.Epochs(arm.epochs))


def test_arms_differ_in_what_they_say() -> None:
    nodes = {arm.name: list(model_of(arm).graph.topo()) for arm in ARMS if arm.net.endswith("small.alx")}
    groups = {name: [n.op.groups for n in some if isinstance(n.op, Conv)] for name, some in nodes.items()}
    assert groups["as-is"] == [1, 2, 1, 2, 2, 1, 1]
    assert groups["never-meet"] == [1, 2, 2, 2, 2, 2, 2]
    assert groups["one-tower"] == [1] * 7
    assert groups["no-middle"] == [1, 2, 1, 2, 1, 1]
    types = [node.types[0] for node in nodes["half-kernels"] if isinstance(node.op, Conv)]
    assert [type_.shape[1] for type_ in types if isinstance(type_, TensorType)] == [16, 32, 48, 48, 64, 256, 256]
    assert [name for name, some in nodes.items() if not any(isinstance(n.op, Lrn) for n in some)] == ["no-lrn"]
    assert {n.op.size for n in nodes["plain-pooling"] if isinstance(n.op, MaxPool)} == {(2, 2)}
    assert {n.op.p for n in nodes["no-dropout"] if isinstance(n.op, Dropout)} <= {0.0}
    optimizers = [recipe_of(model_of(BY_NAME[name])).optimizer for name in ("no-decay", "as-is")]
    assert optimizers == [spec.Sgd(0.01, momentum=0.9, weight_decay=decay) for decay in (0, 5e-4)]


def test_claims_name_arms_and_contenders() -> None:
    named = {name for claim in CLAIMS for contender in claim.contenders for name in contender.arms}
    assert named == set(BY_NAME)
    assert len(BY_NAME) == len(ARMS) == len({arm.key for arm in ARMS})
    for claim in CLAIMS:
        labels = {contender.label for contender in claim.contenders}
        for expected in claim.expected:
            assert expected.smaller in labels
            assert expected.larger in labels or isinstance(expected.larger, float)


def test_what_is_finished_is_left(place: Place) -> None:
    assert run_all([SHORT], place, 2) == []
    words = calls(place)
    assert sorted(line.split()[:4] for line in words) == [["train", "net.alx", "--seed", str(seed)] for seed in (0, 1)]
    assert run_all([SHORT], place, 1) == []
    assert calls(place) == []
    longer = replace(SHORT, arguments=("--set", "net.act=tanh"), seeds=(0,))
    assert run_all([longer], place, 1) == []  # trained otherwise: the row is not that of this arm
    assert "net.act=tanh" in calls(place)[0]


def test_a_run_that_broke_off_goes_on(place: Place) -> None:
    place.work.mkdir()
    (place.work / "breaks").touch()
    one = replace(SHORT, seeds=(0,))
    failures = run_all([one], place, 1)
    assert len(failures) == 1
    assert "short, seed 0: exit code 1: out of luck" in failures[0]
    assert collected(one, place).runs == {}
    calls(place)
    assert run_all([one], place, 1) == []
    assert calls(place) == [f"train --resume {place.folder(one, 0)}"]
    assert collected(one, place).runs[0]["error"] == [0.5, 0.5]


def test_a_run_without_a_checkpoint_begins_anew(place: Place) -> None:
    one = replace(SHORT, seeds=(0,))
    folder = place.folder(one, 0)
    (folder / CHECKPOINTS).mkdir(parents=True)
    (folder / METRICS).write_text('{"kind": "epoch", "loss": 9, "error": 0.9, "eval_top1": 0.9, "seconds": 1}\n')
    assert run_all([one], place, 1) == []
    assert "--run-dir" in calls(place)[0]
    assert collected(one, place).runs[0]["error"] == [0.5, 0.5]


def test_of_a_net_that_was_changed_nothing_counts(place: Place) -> None:
    net, one = place.root / "net.alx", replace(SHORT, seeds=(0,))
    assert run_all([one], place, 1) == []
    calls(place)
    net.write_text(
        NET.replace("stop: epochs(3)", "stop:   epochs(2)  # the arm says when").replace("\nnet", "# N\nnet")
    )
    assert run_all([one], place, 1) == []
    assert calls(place) == []
    net.write_text(NET.replace("k = 3", "k = 5"))
    assert collected(one, place).runs == {}
    (place.folder(one, 0) / METRICS).write_text("")  # broken off: what there is of it is of the old net
    assert run_all([one], place, 1) == []
    assert [line.split()[:2] for line in calls(place)] == [["train", "net.alx"]]
    assert list(collected(one, place).runs) == [0]


def test_a_row_from_before_the_hash_is_completed(place: Place) -> None:
    assert run_all([SHORT], place, 1) == []
    before = collected(SHORT, place)
    path = place.rows / "short.json"
    row = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in row.items() if name != "net"} | {"machine": "another"}))
    (place.work / "calls").unlink()
    assert collected(SHORT, place) == replace(before, machine="another")
    assert json.loads(path.read_text()) == row | {"machine": "another"}


def test_a_run_of_another_process_is_left_alone(place: Place) -> None:
    one = replace(SHORT, seeds=(0,))
    place.work.mkdir()
    with (place.work / f"{place.folder(one, 0).name}.log").open("a") as log:
        assert locked(log)
        assert run_all([one], place, 1) == ["short, seed 0: is being trained by another process"]
    assert calls(place) == []
    assert run_all([one], place, 1) == []


def rows(**evaluations: Sequence[float]) -> dict[str, Row]:
    """Arms of one epoch by their evaluation errors."""
    runs = {
        name: {seed: {"eval_top1": [value], "error": [value]} for seed, value in enumerate(values)}
        for name, values in evaluations.items()
    }
    return {name: Row(Arm(name, "net.alx", seeds=(0, 1, 2)), found, {}, "2 cores") for name, found in runs.items()}


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (rows(a=(0.1, 0.2, 0.15), b=(0.3, 0.4, 0.21)), "**comes out**"),
        (rows(a=(0.1, 0.2, 0.15), b=(0.3, 0.4, 0.2)), "**within noise**"),
        (rows(a=(0.3, 0.4, 0.35), b=(0.1, 0.2, 0.15), c=(0.6, 0.7, 0.8)), "**does not come out**"),
        (rows(a=(0.1, 0.2), b=(0.3, 0.4, 0.21)), "**comes out** by 2 of 3 seeds so far"),
        (rows(a=(0.1, 0.2, 0.3)), "not tried yet"),
    ],
)
def test_verdicts(found: dict[str, Row], verdict: str) -> None:
    assert judged(CLAIM.expected[0], CLAIM, found)[1] == verdict


def test_of_rates_that_never_come_there_the_nearest_counts() -> None:
    runs = {"a": [0.6, 0.5], "b": [0.6, 0.4], "c": [0.7, 0.45]}
    known = {name: Row(Arm(name, "net.alx"), {0: {"error": errors}}, {}) for name, errors in runs.items()}
    assert best(Contender("all", ("a", "b", "c", "d")), RACE, known) is known["b"]
    come = known | {"c": Row(Arm("c", "net.alx"), {0: {"error": [0.2, 0.5]}}, {})}
    assert best(Contender("all", ("a", "b", "c")), RACE, come) is come["c"]
    assert best(Contender("none", ("d",)), RACE, known) is None


def test_so_many_times() -> None:
    expected = Expected("one", "other", 2, RACE)
    assert expected.verdict([3, 4], [9, math.inf]) == "comes out"
    assert expected.verdict([3, 4], [8, 9]) == "within noise"
    assert expected.verdict([3, 4], [4, 5]) == "does not come out"
    assert RACE.of({"error": [0.5, 0.25, 0.2, 0.3]}) == 3
    assert RACE.text(RACE.of({"error": [0.5]})) == "more than 20"


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    known = rows(**{"as-is": (0.29, 0.3, 0.28), "no-lrn": (0.31, 0.32, 0.305)})
    write_report(tmp_path / "results.md", list(known.values()))
    page = (tmp_path / "results.md").read_text()
    assert "| as it is | 29.00% (29.00%, 30.00%, 28.00%) |" in page
    assert "    alexnet-ir train net.alx --data DIR --seed SEED\n" in page
    assert "- **comes out**: evaluation error: as it is 29.00%, without LRN 31.00%" in page
    assert "![Local response normalisation: curves](results/lrn.svg)" in page
    assert (tmp_path / "results" / "lrn.svg").read_bytes().startswith(b"<?xml")
    assert page.count("## ") == len(CLAIMS)


def test_committed_rows_are_those_of_the_arms() -> None:
    files = sorted(results.PLACE.rows.glob("*.json"))
    for path in files:
        row = json.loads(path.read_text())
        arm = BY_NAME[path.stem]
        assert (row["key"], row["net"]) == (arm.key, net_hash(results.ROOT / arm.net))
        assert all(arm.is_complete(run) for run in row["runs"].values())


@pytest.mark.slow
def test_rehearsal(tmp_path: Path) -> None:
    """The real thing, in small: a command, a subprocess that trains, a row, a page."""
    pytest.importorskip("matplotlib")
    work = ["--work", str(tmp_path), "--rehearse", "--only", "figure-1-even-relu-0.01"]
    assert results.main(work) == 0
    page = (tmp_path / "results.md").read_text()
    assert "| ReLU, rate 0.01 | more than 20 |" in page
    row = json.loads((tmp_path / "rows" / "figure-1-even-relu-0.01.json").read_text())
    assert len(row["runs"]["0"]["error"]) == 2
    assert row["final"]["0"]["center"]["top1"] <= 1


def test_unknown_names_and_missing_data_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit):
        results.main(["--only", "lenet"])
    assert "--only lenet: there is cifar-18pct" in capsys.readouterr().err
    monkeypatch.setattr(results, "write_report", lambda page, rows: None)
    assert results.main(["--only", "as-is", "--work", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "as-is: left out, as no folder of CIFAR-10 is named\n"


def test_an_interrupt_ends_it_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(results, "run_all", interrupted)
    assert results.main(["--rehearse", "--work", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "interrupted: started again, it goes on\n"
    assert not (tmp_path / "results.md").exists()
