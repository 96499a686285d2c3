"""`alexnet-ir devices`: what there is, what is missing, and exit code 0 in any case."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from alexnet_ir.backends.cpu import backend
from alexnet_ir.backends.cpu.isa import AVX2
from alexnet_ir.backends.cpu.toolchain import Toolchain
from alexnet_ir.backends.cuda.found import Found, FoundGpu
from alexnet_ir.cli import devices
from alexnet_ir.diagnostics import Diagnostic

from .conftest import Run

GPUS = (FoundGpu(0, "Big", "sm_90", 1 << 37, 1 << 36), FoundGpu(1, "Small", "sm_75", 8 << 30, 1 << 29))
FULL = Found(GPUS, {"cupy": "14.2.0", "driver": "13.0"}, ())
BARE = Found((), {}, (Diagnostic("", "CuPy is not installed", notes=("a note",), helps=("pip install it",)),))


CC = Toolchain("/bin/cc", (), "", AVX2, ("-fopenmp",))


def pretend(found: Found, compiler: str | None, monkeypatch: pytest.MonkeyPatch, cc: Toolchain | None = CC) -> None:
    monkeypatch.setattr(devices, "available", lambda free: found)
    monkeypatch.setattr(devices, "compiler", lambda: compiler)
    for module in (devices, backend):
        monkeypatch.setattr(module, "toolchain", lambda: cc)


def test_gpus_are_listed_by_number(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(FULL, "/bin/g++", monkeypatch)
    done = run("devices")
    assert done.code == 0
    lines = done.out.splitlines()
    assert re.fullmatch(r"cpu +emitted C, by /bin/cc for avx2, on \d+ cores? with OpenMP", lines[1])
    assert "0          Big, sm_90, 64.0 GiB free of 128 GiB" in lines
    assert "1          Small, sm_75, 512 MiB free of 8.00 GiB" in lines
    assert any(line.startswith("host ") and "/bin/g++" in line for line in lines)
    assert "driver   13.0" in lines
    assert "missing" not in done.out


def test_what_is_missing_is_listed_with_its_mending(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(BARE, None, monkeypatch)
    done = run("devices")
    assert done.code == 0
    assert "missing: CuPy is not installed\n  a note\n  pip install it\n" in done.out
    assert "missing: host needs a C++ compiler\n  install g++" in done.out
    assert "\nhost" not in done.out


def test_what_the_cpu_lacks(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(FULL, None, monkeypatch, replace(CC, openmp=()))
    done = run("devices")
    assert re.search(r"^cpu +emitted C, by /bin/cc for avx2, on \d+ cores? without OpenMP$", done.out, re.MULTILINE)
    assert "missing: /bin/cc has no OpenMP, so kernels run on one thread" in done.out
    pretend(FULL, None, monkeypatch, None)
    done = run("devices")
    assert re.search(r"^cpu +NumPy on \d+ cores?$", done.out, re.MULTILINE)
    assert "so NumPy does the work, several times slower" in done.out
    assert json.loads(run("devices", "--json").out)["cpu"] is None


def test_the_same_as_json(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(FULL, None, monkeypatch)
    done = run("devices", "--json")
    data = json.loads(done.out)
    assert done.code == 0
    assert data["cores"] >= 1
    assert data["cpu"] == {"compiler": "/bin/cc", "vectors": "avx2", "openmp": True}
    assert data["compiler"] is None
    assert data["gpus"][0] == {"number": 0, "name": "Big", "arch": "sm_90", "memory": 1 << 37, "free": 1 << 36}
    assert data["versions"] == {"cupy": "14.2.0", "driver": "13.0"}
    assert [gap["message"] for gap in data["missing"]] == ["host needs a C++ compiler"]


def test_it_looks_for_real(run: Run) -> None:
    done = run("devices")
    assert done.code == 0
    assert done.out.startswith("--devices\ncpu ")
