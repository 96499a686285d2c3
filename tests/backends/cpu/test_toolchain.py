"""The C compiler: another one, none, one without OpenMP, one that fails; what it made, kept for all processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alexnet_ir.backends.cpu.isa import AVX2, AVX512, NEON, SSE, native
from alexnet_ir.backends.cpu.toolchain import KIND, Toolchain, toolchain
from alexnet_ir.backends.emission import cache
from alexnet_ir.backends.emission.commands import Kernel
from alexnet_ir.diagnostics import AlexnetError
from tests.cli.conftest import EXAMPLES, TINY

from .running import needs_cc

pytestmark = needs_cc
TWICE = Kernel("twice", "int twice(int x) { return 2 * x; }\n")
NO_OPENMP = """\
for word in "$@"; do
  if [ "$word" = -fopenmp ]; then echo "unsupported option '-fopenmp'" >&2; exit 1; fi
done
exec {cc} "$@"
"""
NO_MARCH = """\
case "$*" in *-march=native*) exit 1 ;; esac
exec {cc} "$@"
"""
BREAKS = """\
case "$*" in *-E*|*probe*) exec {cc} "$@" ;; esac
echo "as: final link failed: No space left on device" >&2
exit 1
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toolchain:
    """The machine's compiler, and nothing kept yet."""
    monkeypatch.setenv("ALEXNET_IR_CACHE", str(tmp_path / "cache"))
    found = toolchain()
    assert found
    return found


def compiler(folder: Path, script: str) -> str:
    """The path of a compiler of this script."""
    found = toolchain()
    assert found
    path = folder / "fake-cc"
    path.write_text(f"#!/bin/sh\n{script.format(cc=found.path)}")
    path.chmod(0o755)
    return str(path)


def train(folder: Path, *options: str, **env: str) -> subprocess.Popen[str]:
    """A training run in a process of its own, as the leader of a group."""
    folder.mkdir(exist_ok=True)
    (folder / "tiny.alx").write_text(TINY)
    command = [sys.executable, "-m", "alexnet_ir", "train", *(options or ("tiny.alx",)), "--devices", "cpu"]
    return subprocess.Popen(
        command, cwd=folder, env={**os.environ, **env}, text=True, stdout=-1, stderr=-1, start_new_session=True
    )


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What a run printed that went well."""
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out, err


def losses(out: str) -> list[float]:
    return [float(loss) for loss in re.findall(r"loss ([\d.]+)", out)]


# Compilers


def test_it_compiles_for_several_processors(tools: Toolchain) -> None:
    assert tools.functions([TWICE], tools.isa)[TWICE](21) == 42
    assert tools.runs(tools.isa)
    on_avx2 = replace(tools, isa=AVX2)
    assert [on_avx2.runs(isa) for isa in (AVX512, AVX2, SSE, NEON)] == [False, True, True, False]


def test_vectors_by_what_a_compiler_defines() -> None:
    for macros, isa in (
        ("#define __SSE2__ 1\n#define __AVX2__ 1\n#define __AVX512F__ 1\n", AVX512),
        ("#define __SSE2__ 1\n#define __AVX2__ 1\n", AVX2),
        ("#define __ARM_NEON 1\n", NEON),
        ("#define __riscv 1\n", SSE),
    ):
        assert native(macros, "-mcpu=native") == replace(isa, flag="-mcpu=native")


def named_in(cc: str, monkeypatch: pytest.MonkeyPatch) -> Toolchain:
    monkeypatch.setenv("CC", cc)
    toolchain.cache_clear()
    try:
        found = toolchain()
    finally:
        toolchain.cache_clear()
    assert found
    return found


def test_a_compiler_that_calls_this_machine_otherwise(
    tools: Toolchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = named_in(compiler(tmp_path, NO_MARCH), monkeypatch)
    assert named.isa.flags[0] == "-mcpu=native"
    assert named.openmp == tools.openmp


def test_a_compiler_may_be_named_with_options(tools: Toolchain, monkeypatch: pytest.MonkeyPatch) -> None:
    named = named_in(f"{tools.path} -DSEVEN=7", monkeypatch)
    kernel = Kernel("seven", "int seven(void) { return SEVEN; }\n")
    assert named.functions([kernel], named.isa)[kernel]() == 7


def test_every_compiler_trains_alike(tmp_path: Path) -> None:
    """A script that fails leaves NumPy, one that rejects OpenMP one thread; either is said in one line."""
    options = str(EXAMPLES / "digits.alx"), "--epochs", "2"
    (none := tmp_path / "none").mkdir()
    (single := tmp_path / "single").mkdir()
    runs = [
        train(tmp_path / "cc", *options),
        train(none, *options, CC=compiler(none, "exit 1")),
        train(single, *options, CC=compiler(single, NO_OPENMP)),
    ]
    (usual, quiet), (numpy, without), (one, alone) = map(ended, runs)
    assert quiet == ""
    assert re.fullmatch(r"warning: CC names \S+, which makes no library of C, so NumPy does the work, .*\n", without)
    assert re.fullmatch(r"warning: \S+ has no OpenMP, so kernels run on one thread: .*\n", alone)
    assert " on cpu (NumPy, " in numpy
    assert len(losses(usual)) == 2
    np.testing.assert_allclose(losses(numpy), losses(usual), rtol=2e-3)
    np.testing.assert_allclose(losses(one), losses(usual), rtol=2e-3)


def test_a_compiler_that_breaks_is_one_error(tmp_path: Path) -> None:
    process = train(tmp_path, CC=compiler(tmp_path, BREAKS), ALEXNET_IR_CACHE=str(tmp_path / "cache"))
    _, err = process.communicate()
    assert process.returncode == 1
    first, *more = err.splitlines()
    assert re.fullmatch(r"error: the C compiler \S+/fake-cc failed on the kernel `\w+`", first)
    assert more[0] == "  = note: as: final link failed: No space left on device"
    assert [line[:9] for line in more[1:]] == ["  = help:"] * 2
    assert f"{tmp_path / 'cache' / KIND} have room" in err


def test_a_compiler_that_is_gone_is_one_error(tools: Toolchain, tmp_path: Path) -> None:
    gone = replace(tools, path=str(tmp_path / "no-cc"))
    with pytest.raises(AlexnetError, match=r"(?s)no-cc failed on the kernel `twice`.*No such file"):
        gone.functions([TWICE], gone.isa)


def test_source_that_is_wrong_is_one_error(tools: Toolchain) -> None:
    with pytest.raises(AlexnetError, match=r"(?s)failed on the kernel `f`.*error: .*undeclared"):
        tools.functions([Kernel("f", "int f(void) { return nothing; }\n")], tools.isa)


# What was compiled is kept


def kept() -> list[Path]:
    return sorted(cache.folder(KIND).glob("*.so"))


def test_each_is_compiled_once(tools: Toolchain, monkeypatch: pytest.MonkeyPatch) -> None:
    tools.functions([TWICE, TWICE], tools.isa)
    (path,) = kept()
    before = path.stat()
    tools.functions([TWICE], tools.isa)
    assert path.stat() == before
    for other, isa in ((replace(tools, version="of another machine"), tools.isa), (tools, SSE)):
        other.functions([TWICE], isa)
    tools.functions([replace(TWICE, source=f"{TWICE.source}\n")], tools.isa)
    assert len(kept()) == 4


@pytest.mark.parametrize("content", [b"", b"\x7fELF", bytes(20000)])
def test_what_is_damaged_is_compiled_again(tools: Toolchain, content: bytes) -> None:
    tools._library(TWICE, tools.isa).write_bytes(content)
    assert tools.functions([TWICE], tools.isa)[TWICE](4) == 8
    assert len(kept()[0].read_bytes()) > 5000


def test_where_nothing_can_be_kept_it_runs_all_the_same(
    tools: Toolchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in the folder's place; a folder that can only be read; a disk that is full."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ALEXNET_IR_CACHE", str(tmp_path / "file"))
    assert tools.functions([TWICE], tools.isa)[TWICE](1) == 2
    monkeypatch.setenv("ALEXNET_IR_CACHE", str(tmp_path / "cache"))

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(cache.tempfile, "mkstemp", refuse)
        assert tools.functions([TWICE], tools.isa)[TWICE](2) == 4
    with monkeypatch.context() as patched:
        patched.setattr(cache.os, "replace", refuse)
        assert tools.functions([TWICE], tools.isa)[TWICE](3) == 6
    assert list(cache.folder(KIND).iterdir()) == []


def test_two_processes_compile_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    runs = [train(tmp_path / name, ALEXNET_IR_CACHE=str(folder)) for name in ("a", "b")]
    first, second = (losses(ended(process)[0]) for process in runs)
    assert first == second != []
    assert not [path for path in (folder / KIND).iterdir() if path.suffix != ".so"]


def test_killed_half_way(tmp_path: Path) -> None:
    """What it had compiled is whole, and the next run makes the rest."""
    folder = tmp_path / "cache"
    killed = train(tmp_path, ALEXNET_IR_CACHE=str(folder))
    while killed.poll() is None and len(list((folder / KIND).glob("*.so"))) < 3:
        time.sleep(0.002)
    assert killed.poll() is None, "it was done before it could be killed"
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    before = len(list((folder / KIND).glob("*.so")))
    again = losses(ended(train(tmp_path, ALEXNET_IR_CACHE=str(folder)))[0])
    assert again == losses(ended(train(tmp_path))[0]) != []
    assert before < len(list((folder / KIND).glob("*.so")))
