"""The host runner computes what kernels say, in any order of threads and blocks."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from alexnet_ir.backends.cuda.host import compile as compiling
from alexnet_ir.backends.cuda.host.runner import CompileError, HostKernel, LaunchError, Memory
from alexnet_ir.backends.emission.commands import Dim3, Kernel
from alexnet_ir.ir.op import Array

from .running import needs_gxx
from .samples import SAMPLES, SUM, Sample, launch

pytestmark = needs_gxx

each = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)


@each
@pytest.mark.parametrize("check", [False, True], ids=["fast", "check"])
def test_a_kernel_computes_what_it_says_and_nothing_is_reported(sample: Sample, check: bool) -> None:
    found, values = launch(sample, check=check)
    for result, expected in zip(found, sample.expected(values), strict=True):
        np.testing.assert_allclose(result, expected, rtol=sample.tolerance, atol=sample.tolerance)


@each
def test_the_order_of_threads_and_blocks_does_not_matter(sample: Sample) -> None:
    forward, _ = launch(sample)
    for order, seed in (("reverse", 0), ("shuffled", 1), ("shuffled", 2)):
        found, _ = launch(sample, order=order, seed=seed)
        for result, expected in zip(found, forward, strict=True):
            np.testing.assert_array_equal(result, expected)


def _memory(array: Array) -> Memory:
    return Memory(array.ctypes.data, array.nbytes, "array")


def _kernel(body: str, parameters: str = "float *x") -> Kernel:
    return Kernel("one", f'extern "C" __global__ void one({parameters}) {{\n{body}\n}}\n')


@pytest.mark.parametrize(
    "given", [np.int64(3), np.float32(3), np.uint32(3), 3, Memory(4096, 4, "x")], ids=lambda value: type(value).__name__
)
def test_a_scalar_of_another_type_is_refused(given: np.generic) -> None:
    x = np.zeros(4, np.float32)
    with pytest.raises(TypeError, match=r"argument 2 of block_sum is int of 4 bytes; given is"):
        HostKernel(SUM.kernel())((1, 1, 1), (32, 1, 1), [_memory(x), _memory(x), given])


def test_a_scalar_in_place_of_a_pointer_and_missing_arguments_are_refused() -> None:
    kernel = HostKernel(SUM.kernel())
    with pytest.raises(TypeError, match=r"argument 0 of block_sum is a pointer; given is int64"):
        kernel((1, 1, 1), (32, 1, 1), [np.int64(0), np.int64(0), np.int32(1)])
    with pytest.raises(TypeError, match="takes 3 arguments, not 1"):
        kernel((1, 1, 1), (32, 1, 1), [np.int64(0)])


def test_scalars_of_all_kinds_arrive() -> None:
    kernel = HostKernel(
        _kernel(
            "out[0] = a; out[1] = b; out[2] = c; out[3] = d; out[4] = e;",
            "double *out, int a, long long b, float c, unsigned char d, double e",
        )
    )
    out = np.zeros(5)
    kernel(
        (1, 1, 1), (1, 1, 1), [_memory(out), np.int32(-3), np.int64(2**40), np.float32(0.5), np.uint8(9), np.float64(7)]
    )
    np.testing.assert_array_equal(out, [-3, 2.0**40, 0.5, 9, 7])


@pytest.mark.parametrize(
    ("grid", "block", "shared"),
    [
        ((1, 1, 1), (1025, 1, 1), 0),
        ((1, 65536, 1), (1, 1, 1), 0),
        ((0, 1, 1), (1, 1, 1), 0),
        ((1, 1, 1), (1, 1, 1), 1 << 20),
    ],
)
def test_a_launch_that_no_gpu_takes_is_refused(grid: Dim3, block: Dim3, shared: int) -> None:
    kernel = HostKernel(_kernel(""))
    with pytest.raises(LaunchError, match="no GPU"):
        kernel(grid, block, [_memory(np.zeros(1))], shared=shared)


def test_too_many_bytes_in_declared_shared_arrays_are_refused() -> None:
    kernel = HostKernel(_kernel("__shared__ float big[12 * 1024 + 32]; big[threadIdx.x] = 0; x[0] = big[threadIdx.x];"))
    with pytest.raises(LaunchError, match="shared memory"):
        kernel((1, 1, 1), (1, 1, 1), [_memory(np.zeros(1, np.float32))])


def test_shared_memory_is_poison_at_the_start_of_each_block() -> None:
    body = """  __shared__ float fixed[2];
  extern __shared__ float dynamic[];
  x[2 * blockIdx.x] = fixed[0]; x[2 * blockIdx.x + 1] = dynamic[3];
  fixed[0] = 1; dynamic[3] = 1;"""
    x = np.zeros(6, np.float32)
    HostKernel(_kernel(body))((3, 1, 1), (1, 1, 1), [_memory(x)], shared=16)
    assert np.isnan(x).all()


def test_a_fault_is_reported_and_the_next_launch_runs() -> None:
    kernel = HostKernel(_kernel("if (threadIdx.x == 5)\n  x[0] = 1;\n__syncthreads();"))
    with pytest.raises(LaunchError, match=r"one.cu:3: block \(0, 0, 0\), thread \(5, 0, 0\): memory fault at 0x8"):
        kernel((1, 1, 1), (64, 1, 1), [Memory(8, 4, "nothing")])
    x = np.zeros(1, np.float32)
    kernel((1, 1, 1), (64, 1, 1), [_memory(x)])
    assert x[0] == 1


def test_a_stack_that_overflows_is_reported() -> None:
    body = "volatile float big[50000]; for (int i = 0; i < 50000; i++) big[i] = i; x[0] = big[7];"
    with pytest.raises(LaunchError, match="bytes of stack"):
        HostKernel(_kernel(body))((1, 1, 1), (1, 1, 1), [_memory(np.zeros(1, np.float32))])


def test_denormals_are_flushed_as_on_the_gpu() -> None:
    x = np.array([1e-39], np.float32)
    HostKernel(_kernel("x[0] = x[0] * 1.0f;"))((1, 1, 1), (1, 1, 1), [_memory(x)])
    assert np.float32(1e-39) != 0
    assert x[0] in (0, np.float32(1e-39))  # the latter where the host has no such mode


def test_what_does_not_compile_says_where() -> None:
    with pytest.raises(CompileError, match=r"one.cu:2:\d+: error: .*undeclared"):
        HostKernel(_kernel("x[0] = undeclared;"))


def test_libraries_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALEXNET_IR_CACHE", str(tmp_path))
    first = compiling.library("some", "int some() { return 1; }", compiling.FAST)
    stamp = first.stat().st_mtime_ns
    assert compiling.library("some", "int some() { return 1; }", compiling.FAST) == first
    assert first.stat().st_mtime_ns == stamp
    assert compiling.library("some", "int some() { return 2; }", compiling.FAST) != first
    assert compiling.library("some", "int some() { return 1; }", compiling.CHECK) != first
    assert {path.suffix for path in (tmp_path / "host").iterdir()} == {".so"}


def test_several_processes_may_fill_an_empty_cache(tmp_path: Path) -> None:
    code = (
        "from alexnet_ir.backends.cuda.host import compile as c\n"
        "import ctypes\n"
        "print(ctypes.CDLL(str(c.library('f', 'extern \"C\" int f() { return 5; }', c.FAST))).f())"
    )
    environment = {**os.environ, "ALEXNET_IR_CACHE": str(tmp_path)}
    running = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [process.communicate()[0].strip() for process in running] == ["5"] * 3
    assert len(list((tmp_path / "host").iterdir())) == 1


def test_the_example_of_the_documentation_says_what_is_printed_there() -> None:
    page = (Path(__file__).parents[3] / "docs" / "kernels.md").read_text(encoding="utf-8")
    source, transcript = (page.split(f"```{language}\n")[1].split("```")[0] for language in ("cuda", "console"))
    x, y = np.ones((3, 500), np.float32), np.zeros(3, np.float32)
    kernel = HostKernel(Kernel("total", source), check=True)
    names = [Memory(array.ctypes.data, array.nbytes, name) for array, name in ((x, "x"), (y, "y"))]
    with pytest.raises(LaunchError) as raised:
        kernel((3, 1, 1), (128, 1, 1), [*names, np.int32(500)])
    assert str(raised.value) == transcript.split("LaunchError: ")[1].strip()


def test_launches_of_several_threads_wait_for_each_other() -> None:
    def launched(number: int) -> bool:
        (found,), values = launch(SUM, order="shuffled", seed=number)
        return np.allclose(found, SUM.expected(values)[0], atol=1e-4)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(launched, range(40)))
