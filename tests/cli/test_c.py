"""Emitted C on the command line: what is called, as files to read and to compile, and what can be asked for."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from alexnet_ir.backends.cpu.toolchain import toolchain

from ..backends.cpu.running import needs_cc
from .conftest import EXAMPLES, TINY, Run

DIGITS = EXAMPLES / "digits.alx"
EMITTED = "compile", DIGITS, "--arch", "avx2", "--threads", "2"


def test_what_is_called(run: Run) -> None:
    done = run(*EMITTED, "--emit", "c")
    assert (done.code, done.err) == (0, "")
    head, *lines = done.out.splitlines()
    assert re.fullmatch(r"\d+ commands, \d+ kernels for isa avx2, threads 2", head)
    assert re.search(r"^ *\d+  relu4\.grad_input \(line 20\) +pointwise +\S+\.pointwise\.c$", "\n".join(lines), re.M)


def test_the_same_as_data(run: Run) -> None:
    manifest = json.loads(run(*EMITTED, "--emit", "c", "--json").out)
    assert (manifest["isa"], manifest["threads"]) == ("avx2", "2")
    (step,) = (step for step in manifest["steps"] if step["name"] == "relu4.grad_input")
    assert (step["line"], step["stream"]) == (20, "0")
    (call,) = step["commands"]
    assert call["call"] == "pointwise"
    assert call["file"].endswith(".pointwise.c")


@needs_cc
def test_kernels_as_files_compile_alone(run: Run, tmp_path: Path) -> None:
    """By the command that each says itself."""
    assert run(*EMITTED, "-o", tmp_path).code == 0
    folder = tmp_path / "kernels"
    manifest = json.loads((folder / "manifest.json").read_text())
    sources = sorted(folder.glob("*.c"))
    named = {c["file"] for step in manifest["steps"] for c in step["commands"] if "file" in c}
    assert named == {path.name for path in sources}
    tools = toolchain()
    assert tools
    for source in sources[::4]:
        first, second, *_ = text = source.read_text().splitlines()
        assert re.fullmatch(r"// \w+: isa avx2, threads 2\. Serves", first)
        assert re.fullmatch(r"//   \S+ \(line \d+\)", second)
        (line,) = (line for line in text if line.startswith("// To compile it alone: "))
        command = shlex.split(line.partition(": ")[2].replace("FILE", source.name))
        assert command[0] == "cc"
        done = subprocess.run([tools.path, *command[1:]], cwd=folder, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert source.with_name(f"{source.name}.so").exists()


def test_a_plan_says_why(run: Run) -> None:
    """An algorithm is chosen for each convolution; `exact` forbids those that round more."""
    plans = {
        how: run("compile", EXAMPLES / "alexnet.alx", "--arch", "avx512", "--emit", "plan", "--conv", how).out
        for how in ("fast", "exact")
    }
    assert "Winograd" in plans["fast"]
    assert "Winograd" not in plans["exact"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["compile", "--emit", "c", "--devices", "0"], "--emit c: these devices run no C"),
        (["compile", "--arch", "sm_90"], "--arch sm_90: no such vectors of CPUs"),
        (["compile", "--arch", "avx2", "--devices", "0"], "--arch avx2: that is of emitted C"),
        (["compile", "--arch", "avx2", "--devices", "reference"], "--arch avx2: that is of emitted C"),
        (["train", "--threads", "0", "--devices", "cpu"], "--threads 0: expected at least one for each of 1 device"),
        (["eval", "--threads", "1", "--devices", "cpu,cpu"], "--threads 1: expected at least one for each of 2"),
        (["train", "--threads", "2", "--devices", "host"], "--threads 2: that is of emitted C, and --devices host"),
        (["compile", "--threads", "2", "--devices", "reference"], "--threads 2: that is of emitted C"),
        (["train", "--conv", "exact", "--devices", "reference"], "--conv exact: that is of emitted C"),
        (["compile", "--conv", "fast", "--devices", "0"], "--conv fast: that is of emitted C"),
        (["train", "--conv", "winograd", "--devices", "cpu"], "--conv winograd: no such way"),
    ],
)  # fmt: skip
def test_mistakes_are_one_error(run: Run, small: Path, args: list[str], message: str) -> None:
    small.write_text(TINY)
    run("train", "--devices", "reference")
    command, *options = args
    done = run(command, "runs/model-1" if command == "eval" else "model.alx", *options)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: {message}")


@needs_cc
def test_training_says_what_it_runs_on(run: Run, small: Path) -> None:
    tools = toolchain()
    assert tools
    small.write_text(TINY)
    done = run("train", "--devices", "cpu", "--threads", "2", "--conv", "exact")
    assert (done.code, done.err) == (0, "")
    assert f" on cpu ({tools.isa.name}, 2 threads): " in done.out
    assert run("eval", "runs/model-1", "--devices", "cpu", "--threads", "1").code == 0
    two = run("train", "--devices", "cpu,cpu", "--threads", "2", "--place", "data")
    assert f" on cpu, cpu ({tools.isa.name}, 1 thread each), placed by `data`: " in two.out


@needs_cc
def test_vectors_that_the_machine_lacks(run: Run, small: Path) -> None:
    tools = toolchain()
    assert tools
    small.write_text(TINY)
    other = "avx2" if tools.isa.name == "neon" else "neon"
    done = run("train", "--devices", "cpu", "--arch", other)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: C for {other} does not run on this machine")
