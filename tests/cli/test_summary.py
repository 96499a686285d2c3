"""`alexnet-ir summary`: the figures of known nets, and the table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import EXAMPLES, Run

HERE = Path(__file__).parent


def figures(run: Run, name: str, *args: str) -> dict[str, Any]:
    done = run("summary", EXAMPLES / f"{name}.alx", "--json", *args)
    assert (done.code, done.err) == (0, "")
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_the_papers_net(run: Run) -> None:
    summary = figures(run, "alexnet")
    assert (summary["parameters"], summary["macs"], summary["neurons"]) == (60_965_224, 724_406_816, 659_272)
    layers = {layer["path"]: layer for layer in summary["layers"]}
    assert (summary["batch"], len(summary["layers"])) == (128, 24)
    assert layers["conv1"]["shape"] == [96, 55, 55]
    assert layers["conv1"]["activation_bytes"] == 128 * 96 * 55 * 55 * 4
    assert (layers["conv2"]["parameters"], layers["conv2"]["macs"]) == (307_456, 223_948_800)
    assert layers["pool5"]["field"] == {"size": [195, 195], "stride": [32, 32]}
    assert layers["fc6"]["field"] is None


def test_the_batch_changes_memory_and_nothing_else(run: Run) -> None:
    whole, single = figures(run, "alexnet"), figures(run, "alexnet", "--batch", "1")
    assert whole.pop("activation_bytes") == 128 * single.pop("activation_bytes")
    assert [whole[key] for key in ("parameters", "macs", "neurons")] == [
        single[key] for key in ("parameters", "macs", "neurons")
    ]


def test_heads_that_exist_in_training_only_are_marked(run: Run) -> None:
    summary = figures(run, "googlenet")
    assert (summary["parameters"], summary["evaluated"]["parameters"]) == (13_378_280, 6_998_552)
    aside = {layer["path"].split("/")[0] for layer in summary["layers"] if layer["training_only"]}
    assert aside == {"head1", "head2"}
    table = run("summary", EXAMPLES / "googlenet.alx").out
    assert "head1/conv1 *" in table
    assert "exists in training only" in table


def test_running_statistics_are_not_trained(run: Run) -> None:
    assert figures(run, "resnet50")["parameters"] == 25_557_032


def test_fields_of_branches_and_oblong_windows(run: Run, small: Path) -> None:
    small.write_text("""alx 1
net A {
  image = input(1, 16, 16)
  a = image -> conv(2, (3, 5), pad = ((1, 1), (2, 2)))
  b = image -> conv(2, 3, pad = 2, dilation = 2) -> local_norm(size = 3, k = 1, alpha = 0.1, beta = 0.5)
  return concat(a, b) -> maxpool(2, stride = 2) -> global_avgpool -> fc(10)
}
""")
    layers = {layer["path"]: layer["field"] for layer in json.loads(run("summary", "--json").out)["layers"]}
    assert layers["conv1"] == {"size": [3, 5], "stride": [1, 1]}
    assert layers["local_norm1"] == {"size": [7, 7], "stride": [1, 1]}
    assert layers["maxpool1"] == {"size": [8, 8], "stride": [2, 2]}
    assert layers["global_avgpool1"] is None


def test_the_table(run: Run, golden: Callable[[Path, str], None]) -> None:
    done = run("summary", EXAMPLES / "alexnet.alx")
    assert all(len(line) <= 100 for line in done.out.splitlines())
    golden(HERE / "summary.txt", done.out)


@pytest.mark.parametrize("args", [["--batch", "0"], ["--net", "B"], ["--set", "net.act=tanhh"], ["--set", "batch"]])
def test_wrong_choices_are_one_error(run: Run, small: Path, args: list[str]) -> None:
    done = run("summary", small, *args)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error")
