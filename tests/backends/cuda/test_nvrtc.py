"""Kernels compile for real GPUs, none at hand: every emitted one, without a spilled register; cubins are kept."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from alexnet_ir.backends.cuda import cache, nvrtc
from alexnet_ir.backends.cuda.gpu import GPUS
from alexnet_ir.backends.emission.commands import Dim3, Kernel, Launch
from alexnet_ir.backends.numpy.fused import type_of
from alexnet_ir.diagnostics import AlexnetError
from alexnet_ir.ir.types import TensorType
from alexnet_ir.ops.fused import Fused

from ...ops.op_table import CROSSING, ROWS, Row
from . import sweep
from .running import emitted, layouts


def found() -> str:
    """Why there is nothing to compile with; empty if there is."""
    try:
        return "" if nvrtc.nvrtc() else "none"
    except AlexnetError as failure:
        return str(failure)


needs_nvrtc = pytest.mark.skipif(bool(found()), reason=found())

PLAIN = """\
#line 1 "scale.cu"
extern "C" __global__ void scale(float *x, float factor) {
  __shared__ float kept[32];
  kept[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  x[threadIdx.x] = factor * kept[31 - threadIdx.x];
}
"""
CROWDED = """\
extern "C" __global__ void __launch_bounds__(1024, 2) crowded(float *x) {
  float v[80];
  #pragma unroll
  for (int i = 0; i < 80; i++) v[i] = x[i * 1024 + threadIdx.x];
  __syncthreads();
  #pragma unroll
  for (int i = 0; i < 80; i++) x[i * 1024 + threadIdx.x] = v[79 - i] * v[(i + 40) % 80];
}
"""
GREEDY = CROWDED.replace("crowded", "greedy").replace("1024, 2", "32").replace("80", "160").replace("79", "159")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("ALEXNET_IR_CACHE", str(tmp_path))
    return tmp_path / "cubins"


# The library


@needs_nvrtc
def test_a_version_is_found() -> None:
    assert (12, 0) <= nvrtc.nvrtc().version < (14, 0)


def test_where_there_is_none_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "libnvrtc.so.13"
    broken.write_text("no library")
    monkeypatch.setattr(nvrtc, "places", lambda: iter([str(broken), "libnvrtc.so.none"]))
    nvrtc.nvrtc.cache_clear()
    try:
        with pytest.raises(AlexnetError, match=r"NVRTC.*was not found") as raised:
            nvrtc.compile(PLAIN, "scale", "sm_90")
    finally:
        nvrtc.nvrtc.cache_clear()
    assert str(broken) in str(raised.value)
    assert 'pip install "alexnet-ir[cuda13]"' in str(raised.value)


@pytest.mark.parametrize(
    ("wheel", "toolkit"),
    [
        ("cuda_nvrtc/lib/libnvrtc.so.12", "lib64/libnvrtc.so.12"),
        ("cu13/lib/libnvrtc.so.13", "lib64/libnvrtc.so.13"),
        ("cuda_nvrtc/bin/nvrtc64_120_0.dll", "bin/nvrtc64_120_0.dll"),
        ("cu13/bin/x86_64/nvrtc64_130_0.dll", "bin/x64/nvrtc64_130_0.dll"),
    ],
)
def test_wheels_come_before_toolkits(wheel: str, toolkit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variants and parts of the library, whose names are similar, are not taken for it."""
    wheels = tmp_path / "site-packages" / "nvidia"
    for file in (wheels / wheel, tmp_path / "cuda" / toolkit):
        file.parent.mkdir(parents=True)
        file.touch()
        for other in ("libnvrtc.alt.so.13", "libnvrtc-builtins.so.13.0", "nvrtc64_130_0.alt.dll", "libnvrtc_static.a"):
            file.with_name(other).touch()
    monkeypatch.setattr(nvrtc, "find_spec", lambda _: type("Spec", (), {"submodule_search_locations": [str(wheels)]}))
    monkeypatch.delenv("CUDA_HOME", raising=False)
    monkeypatch.setenv("CUDA_PATH", str(tmp_path / "cuda"))
    places = list(nvrtc.places())
    assert places[:2] == [str(wheels / wheel), str(tmp_path / "cuda" / toolkit)]
    assert not any(Path(place).is_absolute() for place in places[2:])


# Compilation


@needs_nvrtc
@pytest.mark.parametrize("arch", GPUS)
def test_compiles_for_every_gpu(arch: str) -> None:
    compiled = nvrtc.compile(PLAIN, "scale", arch)
    assert compiled.cubin.startswith(b"\x7fELF")
    assert (compiled.usage.shared, compiled.usage.stack, compiled.usage.spill_stores) == (128, 0, 0)
    assert 4 <= compiled.usage.registers <= 32


@needs_nvrtc
def test_an_error_says_kernel_file_and_line() -> None:
    with pytest.raises(nvrtc.CompileError) as raised:
        nvrtc.compile(PLAIN.replace("factor *", "factr *"), "scale", "sm_90")
    message = str(raised.value)
    assert message.startswith("kernel scale does not compile for sm_90:\nscale.cu(5): error")
    assert "x[threadIdx.x] = factr * kept[31 - threadIdx.x];" in message


@needs_nvrtc
def test_an_error_of_the_assembler_is_shown() -> None:
    with pytest.raises(nvrtc.CompileError, match=r"(?s)does not compile for sm_90:\nptxas .*instruction: 'no'"):
        nvrtc.compile('extern "C" __global__ void f() { asm volatile("no.such;"); }', "f", "sm_90")


@needs_nvrtc
def test_an_unknown_architecture_is_an_error() -> None:
    with pytest.raises(nvrtc.CompileError, match=r"scale does not compile for sm_33:\n.*architecture"):
        nvrtc.compile(PLAIN, "scale", "sm_33")


@needs_nvrtc
def test_a_kernel_that_is_not_there_is_an_error() -> None:
    with pytest.raises(nvrtc.CompileError, match="no kernel halve"):
        nvrtc.compile(PLAIN, "halve", "sm_90")


@needs_nvrtc
def test_spilled_registers_are_seen() -> None:
    usage = nvrtc.compile(PLAIN + CROWDED + PLAIN.replace("scale", "later"), "crowded", "sm_90").usage
    assert usage.registers <= 32
    assert min(usage.spill_stores, usage.spill_loads, usage.stack) > 0


# The cache


def never(source: str, name: str, arch: str) -> nvrtc.Compiled:
    raise AssertionError("compiled again")


@needs_nvrtc
def test_a_kernel_is_compiled_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = [Kernel("scale", PLAIN), Kernel("crowded", CROWDED), Kernel("scale", PLAIN)]
    first = cache.cubins(kernels, "sm_90")
    assert list(first) == kernels[:2]
    assert len(list(folder.iterdir())) == 2
    monkeypatch.setattr(nvrtc, "compile", never)
    assert cache.cubins(kernels, "sm_90") == first
    for kernel, arch in ((Kernel("scale", PLAIN + "//"), "sm_90"), (kernels[0], "sm_80")):
        with pytest.raises(AssertionError, match="compiled again"):
            cache.cubin(kernel, arch)


@needs_nvrtc
@pytest.mark.parametrize("spoil", [lambda b: b[:-9], lambda b: b[:60] + b"?" + b[61:], lambda b: b""])
def test_a_damaged_entry_is_compiled_again(
    folder: Path, spoil: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel("scale", PLAIN)
    compiled = cache.cubin(kernel, "sm_90")
    (entry,) = folder.iterdir()
    entry.write_bytes(spoil(entry.read_bytes()))
    assert cache.cubin(kernel, "sm_90").cubin == compiled.cubin
    monkeypatch.setattr(nvrtc, "compile", never)
    assert cache.cubin(kernel, "sm_90").cubin == compiled.cubin


@needs_nvrtc
def test_no_folder_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ALEXNET_IR_CACHE", str(tmp_path / "file"))
    assert cache.cubin(Kernel("scale", PLAIN), "sm_90").cubin


@needs_nvrtc
def test_two_processes_at_once(folder: Path) -> None:
    """Both compile, or one finds what the other wrote; the same either way, and nothing else stays behind."""
    script = (
        "from alexnet_ir.backends.cuda import cache\nfrom alexnet_ir.backends.emission.commands import Kernel\n"
        f"source = {PLAIN!r}\n"
        "kernels = [Kernel('scale', source + '//' * i) for i in range(8)]\n"
        "print([len(c.cubin) for c in cache.cubins(kernels, 'sm_90').values()])"
    )
    running = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) for _ in range(2)]
    one, other = (process.communicate()[0] for process in running)
    assert one == other
    assert one.count(b",") == 7
    assert len(list(folder.iterdir())) == 8


def test_the_folder_is_the_platforms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ALEXNET_IR_CACHE", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder("cubins") == tmp_path / "alexnet-ir" / "cubins"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache.folder("cubins") == Path.home() / ".cache" / "alexnet-ir" / "cubins"


# What is emitted

OPS = {row.op.name for row in ROWS if type(row.op) not in CROSSING and not isinstance(row.op, Fused)}
"""Of fused ops, those are compiled that the nets have."""
MOST = 6


def kernels_of(row: Row) -> set[Kernel]:
    """What is emitted for a row of the table, maps channels last."""
    types = [type_of(a) for a in row.arrays("float32")]
    results = [t for t in row.op.infer(types) if isinstance(t, TensorType)]
    lying, made = layouts(types, "f32", True), layouts(results, "f32", True)
    emission = emitted(row.op, types, results, lying, made, GPUS["sm_90"], "fp32")
    return {command.kernel for command in emission.commands if isinstance(command, Launch)}


@needs_nvrtc
@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(OPS))
def test_what_an_op_emits_compiles_without_a_spill(name: str) -> None:
    rows = [row for row in ROWS if row.op.name == name][:MOST]
    for kernel, compiled in cache.cubins((kernel for row in rows for kernel in kernels_of(row)), "sm_90").items():
        assert compiled.usage.spill_stores == compiled.usage.spill_loads == 0, kernel.name


# The sweep: of all nets it is a command of its own, here of a small one


def sighted(kernel: Kernel, shared: int = 0, grid: Dim3 = (1, 1, 1), block: Dim3 = (32, 1, 1)) -> sweep.Sighting:
    """A kernel of this one launch."""
    examined: Future[tuple[nvrtc.Usage, str]] = Future()
    examined.set_result(sweep.examine(kernel, "sm_90"))
    return sweep.Sighting(kernel, GPUS["sm_90"], "a test", examined, [Launch(kernel, grid, block, (), shared)])


@needs_nvrtc
@pytest.mark.parametrize(
    ("kernel", "launch", "fault"),
    [
        (Kernel("crowded", CROWDED), {}, "spills"),
        (Kernel("scale", PLAIN.replace("float factor", "")), {}, "does not compile"),
        (Kernel("scale", PLAIN.replace("[32]", "[16000]")), {}, "too much shared data"),
        (Kernel("scale", PLAIN), {"shared": 227 * 1024}, "of shared memory, of 232448"),
        (Kernel("scale", PLAIN), {"grid": (1, 65536, 1)}, r"grid \(1, 65536, 1\)"),
        (Kernel("scale", PLAIN), {"grid": (0, 1, 1)}, "grid"),
        (Kernel("scale", PLAIN), {"block": (1024, 2, 1)}, "of blocks"),
        (Kernel("greedy", GREEDY), {"block": (1024, 1, 1)}, "registers for each of 1024 threads"),
    ],
)
def test_what_must_not_be_is_said(kernel: Kernel, launch: dict[str, Any], fault: str) -> None:
    assert re.search(fault, "\n".join(sighted(kernel, **launch).faults()))
    assert not list(sighted(Kernel("scale", PLAIN), shared=1024, block=(1024, 1, 1)).faults())


@needs_nvrtc
@pytest.mark.slow
def test_the_digits_net_compiles() -> None:
    found = sweep.sweep(["digits"], GPUS["sm_120"], ["tf32"])
    assert [str(kernel) for kernel in found if any(kernel.faults())] == []
