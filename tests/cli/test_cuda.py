"""Emitted CUDA kernels on the command line: what is launched, as files to read, and run on the CPU."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ..backends.cuda.running import needs_gxx
from .conftest import EXAMPLES, TINY, Run

DIGITS = EXAMPLES / "digits.alx"
ALEXNET = EXAMPLES / "alexnet-2012.alx"


def test_what_is_launched(run: Run) -> None:
    done = run("compile", ALEXNET, "--emit", "cuda")
    assert (done.code, done.err) == (0, "")
    head, *lines = done.out.splitlines()
    assert re.fullmatch(r"\d+ commands, \d+ kernels for arch sm_90, precision tf32", head)
    text = " ".join(done.out.split())
    for line in (
        r"conv1\.bias_add \(line 15\) space_to_depth",
        r"conv_mma \d+ x 1 x 1 blocks of \d+, [\d,]+ bytes shared relu2\.conv_mma\.cu "
        r"implicit GEMM on tensor cores, tf32, tile \d+ x \d+ x 32, \d stages",
        r"pool1 \(line 17\) lrn_maxpool",
        r"product 128 x 4096 x 9216 in tf32",
        r"conv2\.grad_weight \(line 19\) conv_mma_weight",
        r"lrn1\.grad_input \(line 16\) maxpool_lrn_grad",
    ):
        assert re.search(line.replace("x 1 x 1", r"x \d+ x \d+"), text), line
    assert sum(" sgd " in line for line in lines) == 1


@pytest.mark.parametrize(
    ("arch", "precision", "reason"),
    [
        ("sm_75", None, "plain: sm_75 has no tensor cores for these precisions"),
        ("sm_86", "bf16", "implicit GEMM on tensor cores, bf16"),
        ("sm_120", "fp32", "implicit GEMM on tensor cores, fp32"),
    ],
)
def test_generations_and_precisions(run: Run, arch: str, precision: str | None, reason: str) -> None:
    chosen = ["--precision", precision] if precision else []
    done = run("compile", ALEXNET, "--emit", "cuda", "--arch", arch, *chosen)
    assert f"kernels for arch {arch}, precision {precision or 'fp32'}" in done.out
    assert reason in done.out


def test_the_manifest(run: Run) -> None:
    manifest = json.loads(run("compile", ALEXNET, "--emit", "cuda", "--place", "two_gpus", "--devices", "0,1",
                              "--arch", "sm_80", "--json").out)  # fmt: skip
    assert (manifest["arch"], manifest["precision"]) == ("sm_80", "tf32")
    assert manifest["layouts"]["pool1@0"] == "f32 channels last"
    assert manifest["layouts"]["image@0"] == "f32"
    steps = {step["name"]: step for step in manifest["steps"]}
    assert {step["stream"] for step in manifest["steps"]} == {"0", "1", "0->1", "1->0"}
    conv = steps["relu4@1"]
    assert (conv["line"], conv["stream"]) == (24, "1")
    launch = conv["commands"][-1]
    assert launch["launch"] == "conv_mma"
    assert launch["file"].endswith(".conv_mma.cu")
    assert launch["arguments"][-1] == "conv4.bias@1"
    assert sum(command["move"] != "" for step in manifest["steps"] for command in step["commands"] if "move" in command)


def test_kernels_as_files(run: Run, tmp_path: Path) -> None:
    assert run("compile", DIGITS, "--devices", "0", "--arch", "sm_90", "-o", tmp_path).code == 0
    manifest = json.loads((tmp_path / "kernels" / "manifest.json").read_text())
    named = {c["file"] for step in manifest["steps"] for c in step["commands"] if "file" in c}
    assert named == {path.name for path in (tmp_path / "kernels").glob("*.cu")}
    source = (tmp_path / "kernels" / "relu1.conv_mma.cu").read_text()
    assert source.startswith("// conv_mma: arch sm_90, precision tf32. Serves\n//   relu1 (line 14): grid (")
    assert "//     implicit GEMM on tensor cores, tf32" in source
    assert '#line 1 "conv_mma.cu"' in source
    plan = (tmp_path / "plan.txt").read_text()
    assert "implicit GEMM on tensor cores, tf32" in plan
    assert re.search(r"pool1\[\d+:\d+\] tf32 channels last", plan)


def test_a_memory_limit_parts_the_updates(run: Run) -> None:
    """All parameters at once need all gradients at once."""
    gpu = "compile", ALEXNET, "--devices", "0", "--arch", "sm_90", "--json"
    free, limited = (json.loads(run(*gpu, *more).out) for more in ((), ("--memory-limit", "950MiB")))
    assert [f["count"] for f in free["fusions"] if f["rule"] == "updates"] == [1]
    assert free["devices"][0]["peak_bytes"] > 950 << 20 >= limited["devices"][0]["peak_bytes"]
    assert limited["recomputed"]["nodes"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["compile", "--emit", "cuda", "--devices", "cpu"], "--emit cuda: these devices run no CUDA kernels"),
        (["compile", "--arch", "sm_99", "--devices", "0"], "--arch sm_99: no such generation of GPUs"),
        (["compile", "--precision", "half", "--devices", "0"], "--precision half: no such precision"),
        (["compile", "--precision", "tf32", "--devices", "0", "--arch", "sm_75"], "sm_75 computes in fp32 only"),
        (["compile", "--precision", "bf16", "--devices", "cpu"], "--precision bf16: that is of emitted CUDA kernels"),
        (["compile", "--devices", "0,cpu"], "devices of one kind work together"),
        (["train", "--devices", "cpu", "--no-graph"], "--no-graph: that is of emitted CUDA kernels"),
        (["train", "--devices", "cpu", "--check"], "--check: that is of emitted CUDA kernels"),
        (["train", "--devices", "host", "--no-graph"], "--no-graph: the host launches kernels one by one anyway"),
        (["train", "--devices", "gpu"], "no such device as 'gpu'"),
    ],
)  # fmt: skip
def test_mistakes_are_one_error(run: Run, args: list[str], message: str) -> None:
    done = run(args[0], DIGITS, *args[1:])
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: ")
    assert message in done.err
    assert "= help:" in done.err


@needs_gxx
@pytest.mark.parametrize("devices", [["host", "--check"], ["host,host", "--place", "columns", "--precision", "fp32"]])
def test_training_on_the_host(run: Run, small: Path, devices: list[str]) -> None:
    small.write_text(TINY)
    done = run("train", "--devices", *devices)
    assert (done.code, done.err) == (0, "")
    found, reference = (re.search(r"loss ([\d.]+)", each.out) for each in (done, run("train", "--devices", "cpu")))
    assert found
    assert reference
    assert float(found[1]) == pytest.approx(float(reference[1]), rel=2e-3)
    assert ("on host, host in fp32" if "fp32" in devices else "on host in tf32") in done.out
    assert run("eval", "runs/model-1", "--devices", "host").code == 0
