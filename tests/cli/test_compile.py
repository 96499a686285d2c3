"""`alexnet-ir compile`: the report, and the texts of trees and graphs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alexnet_ir.ir.text import parse_graph, print_graph
from alexnet_ir.ops.table import OPS
from alexnet_ir.passes.table import PIPELINES

from .conftest import EXAMPLES, Run

PASSES = PIPELINES["train"]


def test_the_report(run: Run) -> None:
    done = run("compile", EXAMPLES / "alexnet.alx")
    assert (done.code, done.err) == (0, "")
    head, passes, step, evaluation = done.out.split("\n\n")
    assert head.endswith("60,965,224 parameters, 724,406,816 MACs an image")
    assert [line.split()[0] for line in passes.split("\n")] == ["pass", *PASSES]
    assert "16 sgd" in step
    assert "slots       16, 233 MiB" in step
    assert "grad" not in evaluation
    assert all(len(line) <= 100 for line in done.out.splitlines())


def test_the_report_as_json(run: Run, small: Path) -> None:
    report = json.loads(run("compile", "--json").out)
    assert (report["net"], report["recipe"], report["batch"], report["parameters"]) == ("Small", "t", 8, 1490)
    assert [record["name"] for record in report["passes"]] == list(PASSES)
    before, after = report["passes"][0]["nodes_before"], report["passes"][0]["nodes_after"]
    assert before < after
    assert report["step"]["ops"]["sgd"] == 4
    assert report["step"]["flops"] > 2 * 8 * report["macs"]
    assert report["step"]["states"] == [
        {"role": "parameter", "count": 4, "nbytes": 4 * 1490},
        {"role": "slot", "count": 4, "nbytes": 4 * 1490},
    ]


@pytest.mark.parametrize("args", [["--emit", "graph"], ["--emit", "ir"], ["--dump-after", "backward"]])
def test_a_single_graph_can_be_read_back(run: Run, small: Path, args: list[str]) -> None:
    text = run("compile", *args).out
    assert print_graph(parse_graph(text, OPS)) == text
    (as_json,) = json.loads(run("compile", "--json", *args).out).values()
    assert as_json == text


def test_all_passes_in_order(run: Run, small: Path) -> None:
    out = run("compile", "--dump-after", "all", "--emit", "graph").out
    assert [line[2:] for line in out.split("\n") if line.startswith("# ")] == [*PASSES, "graph"]


def test_the_syntax_tree(run: Run, small: Path) -> None:
    small.write_text("alx 1\nnet A(n = 2) {\n  image = input(n, 8, 8)\n  return image -> c: relu * n\n}\n")
    text = run("compile", "--emit", "ast").out
    assert text.startswith("File (version = 1)\n  definitions:\n    Definition @2:1 (kind = 'net', name = 'A')\n")
    assert "Stage @4:19 (label = 'c')\n                unit: Name @4:22 (id = 'relu')\n" in text
    tree = json.loads(run("compile", "--emit", "ast", "--json").out)
    assert tree["definitions"][0]["body"]["results"][0]["node"] == "Chain"


def test_a_net_without_a_recipe_has_a_graph_and_no_step(run: Run, small: Path) -> None:
    small.write_text(small.read_text().partition("data d")[0])
    assert run("compile", "--emit", "graph").code == 0
    done = run("compile", "--emit", "ir")
    assert (done.code, done.out) == (1, "")
    assert "without a `train` section" in done.err


def test_everything_as_files(run: Run, small: Path) -> None:
    done = run("compile", "-o", "out/deep", "--emit", "ir")
    assert (done.code, done.out.split()[0]) == (0, "Small")
    numbered = [f"{number:02}-{name}.ir" for number, name in enumerate(PASSES, 1)]
    rest = ["forward.ir", "inference.ir", "net.svg", "report.json", "report.txt", "step.ir"]
    assert sorted(path.name for path in Path("out/deep").iterdir()) == [*numbered, *rest]
    assert Path("out/deep/step.ir").read_text() == Path("out/deep", numbered[-1]).read_text()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--dump-after", "backwards"], "--dump-after backwards: no such pass\n  = help: did you mean `backward`?"),
        (["-o", "model.alx"], "model.alx: File exists"),
        (["missing.alx"], "missing.alx: No such file or directory"),
    ],
)
def test_mistakes_are_one_error(run: Run, small: Path, args: list[str], message: str) -> None:
    done = run("compile", *args)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: {message}")
