"""`alexnet-ir compile`: the report, and the texts of trees and graphs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alexnet_ir.ir.text import parse_graph, print_graph
from alexnet_ir.ops.table import OPS
from alexnet_ir.passes.table import PASSES as PASSES_BY_NAME
from alexnet_ir.passes.table import PIPELINES

from ..conftest import Golden
from .conftest import EXAMPLES, SMALL, Run

PASSES = (*PIPELINES["train"], *PIPELINES["lower"])
ALEXNET = EXAMPLES / "alexnet.alx"
TWO = ("compile", ALEXNET, "--place", "two_gpus", "--profile", "gtx580")
SECTIONS = ["layers", "memory", "exchanges", "fusion", "predicted", "passes", "training", "evaluation"]


def masked(text: str) -> str:
    """Without what depends on the machine's speed, or on the memory that kernels work in."""
    text = re.sub(r"(?m) +(\d+\.\d|ms)$", "  #", text)
    text = re.sub(r"(?m)^(  cpu:\d +[\d,]+ +[\d.]+ MiB).*$", r"\1  #", text)
    text = re.sub(r"(?ms)^  beside the arena.*?(?=^$)", "  beside the arena #\n", text)
    return re.sub(r"(?m)^(  peak +).*$", r"\1#", text)


def data(run: Run, *args: str | Path) -> Any:
    return json.loads(run(*args, "--json").out)


# --- the report ---------------------------------------------------------------------------------------------------


def test_the_report_on_two_devices(run: Run, golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES.parent)
    done = run("compile", "examples/alexnet.alx", *TWO[2:], "--arch", "avx2", "--threads", "2")
    assert (done.code, done.err) == (0, "")
    assert [text.split()[0].strip(",:") for text in done.out.split("\n\n")[1:]] == SECTIONS
    assert all(len(line) <= 100 for line in done.out.splitlines())
    golden(Path(__file__).with_name("compile.txt"), masked(done.out))


def test_the_report_on_one_device(run: Run) -> None:
    done = run("compile", ALEXNET)
    assert (done.code, done.err) == (0, "")
    head, *sections = done.out.split("\n\n")
    assert head.endswith("60,965,224 parameters, 724,406,816 MACs an image\non one device: cpu")
    assert [text.split()[0].strip(",:") for text in sections] == [name for name in SECTIONS if name != "exchanges"]
    assert "split" not in sections[0]
    assert "gain" not in done.out
    assert "slots       16, 233 MiB" in sections[-2]
    assert "grad" not in sections[-1]


def test_alexnet_in_figures(run: Run) -> None:
    report = data(run, *TWO)
    assert (report["parameters"], report["macs"], report["batch"]) == (60_965_224, 724_406_816, 128)
    assert (report["place"], report["place_from"]) == ("two_gpus", "--place")
    assert report["exchange"]["total_bytes"] == report["exchange"]["emitted_bytes"] == 60_030_976
    assert report["exchange"]["edges"][0] == {
        "layer": "conv3", "line": 21, "kind": "all_gather", "phase": "forward", "bytes": 22_151_168,
    }  # fmt: skip
    first, second = report["devices"]
    assert (first["name"], second["name"]) == ("cpu:0", "cpu:1")
    assert first["parameters"] + second["parameters"] == report["parameters"]
    for device in report["devices"]:
        assert device["peak_bytes"] == device["states_bytes"] + device["arena_bytes"]
        assert device["lower_bound_bytes"] <= device["peak_bytes"] < device["unplanned_bytes"]
        assert device["states_bytes"] == 8 * device["parameters"]
    assert report["steps"]["after_fusion"] < report["steps"]["before_fusion"]


def test_two_devices_of_the_paper_hold_its_net_and_gain(run: Run) -> None:
    report = data(run, *TWO)
    predicted = report["predicted"]
    assert all(d["peak_bytes"] + d["temporary_bytes"] < 3 << 30 for d in report["devices"])
    assert predicted["gain"] == predicted["single_device_seconds"] / predicted["seconds"] > 1.5
    assert predicted["seconds_per_million_images"] == pytest.approx(1e6 * predicted["seconds"] / 128)
    assert (predicted["run"], predicted["profile"]) == ("90 epochs of a million images", "gtx580")
    assert predicted["run_seconds"] == pytest.approx(90 * predicted["seconds_per_million_images"])
    text = run(*TWO).out
    assert "fits the 3.00 GiB that gtx580 has" in text
    assert "predicted, not measured" in text


def test_what_is_replicated_counts_on_each_device(run: Run, small: Path) -> None:
    report = data(run, "compile", "--place", "data")
    assert [device["parameters"] for device in report["devices"]] == [1490, 1490]
    assert {edge["phase"] for edge in report["exchange"]["edges"]} == {"update"}


def test_the_report_as_json(run: Run, small: Path) -> None:
    report = data(run, "compile")
    assert (report["net"], report["recipe"], report["batch"], report["parameters"]) == ("Small", "t", 8, 1490)
    assert (report["place"], report["place_from"], report["tried"]) == ("single", "one device", {})
    assert report["exchange"] == {"total_bytes": 0, "emitted_bytes": 0, "edges": []}
    assert [record["name"] for record in report["passes"]] == list(PASSES)
    assert report["step"]["ops"]["sgd"] == 4
    assert report["step"]["flops"] > 2 * 8 * report["macs"]
    assert report["step"]["states"] == [
        {"role": "parameter", "count": 4, "nbytes": 4 * 1490},
        {"role": "slot", "count": 4, "nbytes": 4 * 1490},
    ]
    assert (report["predicted"]["run"], report["predicted"]["gain"]) == ("1 step", 1.0)
    assert report["predicted"]["single_device_seconds"] == report["predicted"]["seconds"]


def test_layers_say_how_they_are_split(run: Run, small: Path) -> None:
    small.write_text(SMALL + "place p { net: Small  devices: 2  split: [batch(conv1, conv1), inputs(fc1)] }")
    layers = {layer["layer"]: layer["split"] for layer in data(run, "compile", "--place", "p")["layers"]}
    assert layers == {"image": "batch", "conv1": "batch", "relu1": "batch", "flatten1": "batch", "fc1": "inputs"}


def test_auto_says_what_it_compared(run: Run, small: Path) -> None:
    report = data(run, "compile", "--devices", "0,1")
    assert report["place_from"] == "auto"
    assert set(report["tried"]) == {"auto", "single", "columns", "data", "weird_trick"}
    assert [device["name"] for device in report["devices"]] == ["gpu:0", "gpu:1"]
    shown = " ".join(run("compile", "--devices", "0,1").out.split())
    assert "on 2 devices, gpu:0 and gpu:1: " in shown
    assert "the best of those tried (predicted: auto " in shown


def test_the_files_own_placement(run: Run) -> None:
    assert "`two_gpus`, as --place says" in run(*TWO).out
    assert "the file's `two_gpus`" in run("compile", ALEXNET, "--devices", "0,1", "--profile", "gtx580").out


def test_a_placement_that_does_not_fit_every_layer(run: Run) -> None:
    head = run("compile", ALEXNET, "--devices", "0,1,2,3", "--place", "columns").out.split("\n\n")[0]
    instead = "its 2 groups cannot be shared out evenly over 4 devices: split over the batch instead"
    assert head.splitlines()[3:] == [f"{layer}: {instead}" for layer in ("conv2", "conv4", "conv5")]


def test_what_is_recomputed(run: Run) -> None:
    free = data(run, "compile", ALEXNET)
    limit = free["devices"][0]["peak_bytes"] - (50 << 20)
    args = ("compile", ALEXNET, "--memory-limit", str(limit))
    report = data(run, *args)
    assert report["devices"][0]["peak_bytes"] <= limit == report["memory_limit"]
    nodes, flops = report["recomputed"]["nodes"], report["recomputed"]["flops"]
    assert nodes
    assert 0 < flops < report["step"]["flops"]
    assert f"FLOP more, {flops / report['step']['flops']:.1%}): {nodes[0]}" in " ".join(run(*args).out.split())
    assert report["predicted"]["seconds"] > free["predicted"]["seconds"]


# --- texts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("args", [["--emit", "graph"], ["--emit", "ir"], ["--dump-after", "backward"]])
def test_a_single_graph_can_be_read_back(run: Run, small: Path, args: list[str]) -> None:
    text = run("compile", *args).out
    assert print_graph(parse_graph(text, OPS)) == text
    (as_json,) = json.loads(run("compile", "--json", *args).out).values()
    assert as_json == text


def test_the_step_as_it_runs(run: Run, small: Path) -> None:
    text = run("compile", "--emit", "ir", "--place", "data").out
    assert text.startswith("graph Small on 2 devices {\n")
    assert "= fused(" in text
    assert "= copy(" in text


def test_the_plan(run: Run, small: Path) -> None:
    lines = run("compile", "--emit", "plan", "--place", "data").out.splitlines()
    plan = data(run, "compile", "--emit", "plan", "--place", "data")
    steps = plan["steps"]
    assert lines[0] == f"plan Small: {len(steps)} steps, devices 2"
    assert [device["peak_bytes"] for device in plan["devices"]] == [
        int(line.rpartition(" ")[2].replace(",", "")) for line in lines[1:3]
    ]
    shown = [line.split() for line in lines if line.split()[0].isdecimal()]
    assert [(row[1], row[2]) for row in shown] == [(step["stream"], step["name"]) for step in steps]
    for step, row in zip(steps, shown, strict=True):
        for name in step["results"]:
            value = plan["values"][name]
            place = f"[= {value['in_place_of']}]" if "offset" not in value else (
                f"[{value['offset']}:{value['offset'] + value['bytes']}]"
            )  # fmt: skip
            assert name + place in " ".join(row)
        assert ("waits" in row) == bool(step["waits"])
        assert all(other < steps.index(step) for other in step["waits"])


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


# --- passes -------------------------------------------------------------------------------------------------------


def test_passes_and_pipelines_are_listed(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where no model is
    out = run("compile", "--passes").out
    assert "  loss        Adds the labels and the loss\n" in out
    assert "  train  loss, partition, backward, update, cleanup\n" in out
    assert all(len(line) <= 100 for line in out.splitlines())
    found = data(run, "compile", "--passes")
    assert list(found["passes"]) == list(PASSES_BY_NAME)
    assert found["pipelines"]["lower"] == ["distribute", "fuse"]


def test_exactly_these_passes(run: Run, small: Path) -> None:
    text = run("compile", "--passes", "loss,backward").out
    assert "output conv1.weight.grad = " in text
    assert "sgd" not in text
    assert print_graph(parse_graph(text, OPS)) == text
    assert data(run, "compile", "--passes", "loss, backward") == {"backward": text}


@pytest.mark.parametrize("more", [[], ["--place", "data"]])
def test_the_pipelines_by_hand(run: Run, small: Path, more: list[str]) -> None:
    args = ("compile", "--passes", ",".join(PASSES), *more)
    assert run(*args).out == run("compile", "--emit", "ir", *more).out
    assert run(*args, "-o", "out").code == 0
    assert [path.name for path in sorted(Path("out").iterdir())] == [
        f"{number:02}-{name}.ir" for number, name in enumerate(PASSES, 1)
    ]


def test_an_evaluation_by_hand(run: Run, small: Path) -> None:
    small.write_text(small.read_text().partition("data d")[0])  # no recipe is needed
    assert "softmax" not in run("compile", "--passes", "specialise,cleanup").out
    assert "f32[8, 10, 2, 5]" in run("compile", "--passes=specialise,fc-to-conv", "--dense=9x12", "--batch=8").out


def test_a_net_is_placed_after_it_was_specialised(run: Run, small: Path) -> None:
    text = run("compile", "--passes", "specialise,cleanup,partition,distribute", "--place", "data").out
    assert text.startswith("graph Small on 2 devices {\n")
    assert "copy" not in text


# --- files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [[], ["--place", "columns"]])
def test_everything_as_files(run: Run, small: Path, place: list[str]) -> None:
    place = ["--arch", "avx2", *place]
    done = run("compile", "-o", "out/deep", "--emit", "ir", *place)
    assert (done.code, done.out.split()[0]) == (0, "Small")
    numbered = [f"{number:02}-{name}.ir" for number, name in enumerate(PASSES, 1)]
    graphs = ["forward.ir", "inference.ir", "step.ir"]
    rest = ["kernels", "net.svg", "plan.json", "plan.txt", "report.json", "report.txt"]
    out = Path("out/deep")
    assert sorted(path.name for path in out.iterdir()) == sorted([*numbered, *graphs, *rest])
    assert (out / "step.ir").read_text() == (out / numbered[-1]).read_text()
    assert (out / "report.txt").read_text() == done.out
    assert (out / "plan.txt").read_text() == run("compile", "--emit", "plan", *place).out
    assert json.loads((out / "plan.json").read_text()) == data(run, "compile", "--emit", "plan", *place)
    for path in out.glob("*.ir"):
        assert print_graph(parse_graph(path.read_text(), OPS)) == path.read_text()


# --- mistakes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--dump-after", "backwards"], "--dump-after backwards: no such pass\n  = help: did you mean `backward`?"),
        (["-o", "model.alx"], "model.alx: File exists"),
        (["missing.alx"], "missing.alx: No such file or directory"),
        (["--passes", "loss,fuze"], "--passes fuze: no such pass\n  = help: did you mean `fuse`?"),
        (["--passes", "backward,loss"], "--passes backward,loss: `backward` needs `loss` before it"),
        (["--passes", "loss,loss"], "--passes: `loss` cannot run after loss: the graph has a `train.label` already"),
        (["--passes", "loss", "--emit", "ir"], "--passes prints the IR after its last pass"),
        (["--place", "colums"], "--place colums: no such placement\n  = help: did you mean `columns`?"),
        (["--place", "p", "--devices", "0,1,2"], "`place p` is for 2 devices, and there are 3"),
        (["--profile", "gtx590"], "no such device profile as 'gtx590'\n  = help: did you mean `gtx580`?"),
    ],
)
def test_mistakes_are_one_error(run: Run, small: Path, args: list[str], message: str) -> None:
    small.write_text(SMALL + "place p { net: Small  devices: 2  split: channels(conv1, conv1) }")
    done = run("compile", *args)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: {message}")
    assert "Traceback" not in done.err


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.sampled_from(sorted(PASSES_BY_NAME)), min_size=1, max_size=5))
@pytest.mark.parametrize("place", [[], ["--place", "columns"]])
def test_any_order_runs_or_is_refused(run: Run, small: Path, names: list[str], place: list[str]) -> None:
    done = run("compile", "--passes", ",".join(names), *place)
    assert (done.code == 0) == (done.err == "")
    assert done.code in (0, 1)


def test_a_limit_that_cannot_be_kept_says_the_least(run: Run, small: Path) -> None:
    done = run("compile", "--memory-limit", "10KiB")
    assert (done.code, done.out) == (1, "")
    least = re.match(r"error: the step needs at least ([\d,]+) bytes", done.err)
    assert least
    enough = data(run, "compile", "--memory-limit", least[1].replace(",", ""))
    assert enough["devices"][0]["peak_bytes"] == int(least[1].replace(",", ""))
