"""Bugs seeded into kernels that are right: check mode finds each, and says in which line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from alexnet_ir.backends.cuda.host.machine import HostMachine
from alexnet_ir.backends.cuda.host.runner import LaunchError
from alexnet_ir.backends.emission.commands import Kernel, Launch, Place

from .running import needs_gxx
from .samples import (
    BYTES,
    COMPACT,
    HISTOGRAM,
    LAST_BLOCK,
    MMA_BF16,
    MMA_TF32,
    PIPELINE,
    PRODUCT,
    SCALE_ROWS,
    SCAN,
    SUM,
    VECTORS,
    Sample,
    launch,
)

pytestmark = needs_gxx


@dataclass(frozen=True)
class Bug:
    """`old` in the source becomes `new`; the report says `words`, and the line where the source then has `at`."""

    name: str
    sample: Sample
    old: str
    new: str
    words: str
    at: str

    @property
    def source(self) -> str:
        """With the bug."""
        assert self.sample.source.count(self.old) == 1, self.name
        return self.sample.source.replace(self.old, self.new)

    @property
    def line(self) -> str:
        """Of the report."""
        (number,) = (i for i, line in enumerate(self.source.splitlines(), 1) if self.at in line)
        return f"{self.sample.name}.cu:{number}"


FILLED, READ = "    __syncthreads();  // filled\n", "    __syncthreads();  // read\n"
BUGS = (
    Bug(
        "read past an argument",
        SUM,
        "* n + i]",
        "* n + i + 1]",
        "read of 4 bytes out of bounds: at byte 3996 of argument 0",
        "+ 1]",
    ),
    Bug("read before an argument", SUM, "* n + i]", "* n + i - 1]", "at byte -4 of argument 0, which has 3996", "- 1]"),
    Bug(
        "write past an argument",
        SUM,
        "y[blockIdx.x]",
        "y[blockIdx.x + 1]",
        "write of 4 bytes out of bounds: at byte 12 of argument 1",
        "+ 1]",
    ),
    Bug(
        "no guard at the edge",
        PRODUCT,
        "if (row < m && column < n) c",
        "if (column < n) c",
        "out of bounds: at byte 988 of argument 2",
        "c[row * n",
    ),
    Bug(
        "no guard of a vector",
        VECTORS,
        "if (i + 4 > n) return;",
        "",
        "out of bounds: at byte 960 of argument 0, which has 960",
        "*(const float4 *)",
    ),
    Bug(
        "shared read past declared arrays",
        PRODUCT,
        "tile_a[y][i] *",
        "(&tile_a[0][0])[y * 8 + i + 130] *",
        "static shared memory",
        "+ 130]",
    ),
    Bug(
        "dynamic shared write past the end",
        HISTOGRAM,
        "bin < bins; bin += blockDim.x) local",
        "bin <= bins; bin += blockDim.x) local",
        "write of 4 bytes out of bounds: at byte 148 of dynamic shared memory, which has 148",
        "bin <= bins",
    ),
    Bug(
        "index past a declared array",
        SUM,
        "total += part[i]",
        "total += part[i + 32]",
        "index 32 is outside its array",
        "+ 32]",
    ),
    Bug(
        "index past a row of a declared array",
        PRODUCT,
        "tile_b[i][x]",
        "tile_b[i + 1][x]",
        "index 8 is outside its array",
        "[i + 1]",
    ),
    Bug("no barrier before a read", PRODUCT, FILLED, "", "which was not written", "sum += tile_a"),
    Bug(
        "no barrier between write and read",
        SUM,
        "  __syncthreads();\n",
        "",
        "race: write of byte 4 of static shared memory, not ordered after the read",
        "part[threadIdx.x / 32] = sum",
    ),
    Bug("no barrier between read and write", PRODUCT, READ, "", "race: write of byte", "tile_a[y][x] ="),
    Bug(
        "no barrier before a copy into what is read",
        PIPELINE,
        READ,
        "",
        "race: write of byte",
        "if (stage + 1 < stages)",
    ),
    Bug(
        "race between blocks",
        SUM,
        "y[blockIdx.x] = total",
        "y[0] = total",
        "race: write of byte 0 of argument 1, not ordered after the write by block (0, 0, 0), thread (0, 0, 0)",
        "y[0] = total",
    ),
    Bug(
        "no fence before the last block reads",
        LAST_BLOCK,
        "    __threadfence();\n",
        "",
        "race: read of byte 0 of argument 1, not ordered after the write by block (0, 0, 0)",
        "all += parts[i]",
    ),
    Bug(
        "race on a counter",
        HISTOGRAM,
        "atomicAdd(&local[x[i]], 1)",
        "local[x[i]]++",
        "of dynamic shared memory, not ordered after the",
        "local[x[i]]++",
    ),
    Bug("race on bytes", BYTES, "  __syncthreads();\n", "", "race: write of byte", "seen[t] = "),
    Bug(
        "no barrier of a warp",
        SCAN,
        "    __syncwarp();  // all have read\n",
        "",
        "race: write of byte",
        "sums[t] += before",
    ),
    Bug(
        "no barrier of a warp before ldmatrix",
        MMA_TF32,
        "  __syncwarp();\n",
        "",
        "which was not written",
        "load_matrix_x4(",
    ),
    Bug(
        "uninitialised shared memory",
        SUM,
        "i < blockDim.x / 32",
        "i < 8",
        "read of byte 16 of static shared memory, which was not written",
        "total += part[i]",
    ),
    Bug(
        "counters not cleared", HISTOGRAM, "local[bin] = 0", "(void)bin", "atomic operation of byte", "atomicAdd(&local"
    ),
    Bug(
        "wait for too few copies",
        PIPELINE,
        "copy_async_wait<1>()",
        "copy_async_wait<2>()",
        "which was not written",
        "const float4 v =",
    ),
    Bug("no wait for copies", PIPELINE, "    copy_async_wait<1>();\n", "", "which was not written", "const float4 v ="),
    Bug(
        "barrier in a branch",
        COMPACT,
        "  if (v > 0.0f) y",
        "  if (threadIdx.x < 50) __syncthreads();\n  if (v > 0.0f) y",
        "divergent __syncthreads",
        "__syncthreads_count",
    ),
    Bug(
        "barriers of two branches",
        SUM,
        "  __syncthreads();\n",
        "  if (threadIdx.x < 64)\n    __syncthreads();\n  else\n    __syncthreads();  // other\n",
        "divergent __syncthreads: other threads wait at the one of line 9",
        "// other",
    ),
    Bug(
        "return before a barrier",
        HISTOGRAM,
        "if (i < n) atomicAdd",
        "if (i >= n) return;\n  atomicAdd",
        "reached by 44 of the 64 threads of block (4, 0, 0)",
        "",
    ),
    Bug(
        "warp operation in a branch",
        SUM,
        "for (int distance = 16; distance > 0; distance /= 2) sum",
        "if (threadIdx.x % 2)\n    for (int distance = 16; distance > 0; distance /= 2) sum",
        "deadlock in block (0, 0, 0)",
        "",
    ),
    Bug(
        "lane outside its mask",
        SUM,
        "__shfl_down_sync(0xffffffffu",
        "__shfl_down_sync(0xffffu",
        "shuffle from lane 31, which is not in its mask 0x0000ffff",
        "0xffffu",
    ),
    Bug(
        "shuffle from a lane outside the mask",
        SCAN,
        "  y[t] = sums[t];",
        "  if (lane < 16) sums[t] = __shfl_sync(0xffffu, sums[t], 20);\n  y[t] = sums[t];",
        "a shuffle from lane 20, which is not in its mask 0x0000ffff",
        "__shfl_sync",
    ),
    Bug(
        "misaligned vector",
        VECTORS,
        "(const float4 *)(x + i)",
        "(const float4 *)(x + i - 1)",
        "is no multiple of 16",
        "(x + i - 1)",
    ),
    Bug(
        "misaligned copy",
        PIPELINE,
        "x + 4 * t, 4 * t < n",
        "x + 4 * t + 1, 4 * t < n",
        "misaligned source of cp.async",
        "+ 1, 4 * t < n",
    ),
    Bug(
        "misaligned row of ldmatrix",
        MMA_BF16,
        "(lane % 16) * 24 + lane / 16 * 8);",
        "(lane % 16) * 20 + lane / 16 * 8);",
        "misaligned row of ldmatrix",
        "(lane % 16) * 20",
    ),
    Bug(
        "write past memory of a table",
        SCALE_ROWS,
        "i < n",
        "i <= n",
        "out of bounds: at byte 200 of row 0, which has 200",
        "row[i] *= factor",
    ),
    Bug(
        "read past a table",
        SCALE_ROWS,
        "rows[blockIdx.x]",
        "rows[blockIdx.x + 1]",
        "read of 8 bytes out of bounds: at byte 24 of table",
        "rows[blockIdx.x + 1]",
    ),
    Bug(
        "integer division by zero",
        VECTORS,
        "(n / groups)",
        "(n / (groups - 3))",
        "integer division by zero",
        "(n / (groups - 3))",
    ),
    Bug(
        "integer overflow",
        VECTORS,
        "i / (n / groups)",
        "i * n * n * n / n / n / (n / groups) / n",
        "integer overflow",
        "i * n * n",
    ),
)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_seeded_bug_is_found_in_its_line(bug: Bug) -> None:
    with pytest.raises(LaunchError) as raised:
        launch(bug.sample, source=bug.source, check=True)
    report = str(raised.value)
    assert any(bug.words in line and (not bug.at or bug.line in line) for line in report.splitlines()), report


@pytest.mark.parametrize(
    ("sample", "old", "new"),
    [
        (MMA_TF32, "mma_tf32(d, x, w);", "unsigned swapped[4] = {x[0], x[2], x[1], x[3]}; mma_tf32(d, swapped, w);"),
        (MMA_TF32, "w[1] = to_tf32(b[(k + member + 4)", "w[1] = to_tf32(b[(k + member)"),
        (MMA_BF16, "load_matrix_x2_transposed", "load_matrix_x2"),
        (MMA_BF16, "c[group * 8 + 2 * member] = d[0]", "c[group * 8 + 2 * member] = d[2]"),
    ],
    ids=["swapped registers of a", "wrong row of b", "not transposed", "wrong register of d"],
)
def test_a_wrong_fragment_gives_wrong_numbers(sample: Sample, old: str, new: str) -> None:
    assert sample.source.count(old) == 1
    (found,), values = launch(sample, source=sample.source.replace(old, new))
    (expected,) = sample.expected(values)
    assert np.abs(found - expected).max() > 0.1


def test_a_wait_for_too_few_copies_reads_poison_without_check() -> None:
    (found,), _ = launch(PIPELINE, source=PIPELINE.source.replace("wait<1>", "wait<2>"))
    assert np.isnan(found).any()


def test_workspace_is_not_used_after_its_end() -> None:
    """As emitted commands say how much of it there is."""
    source = 'extern "C" __global__ void fill(float *x, int n) {\n  if (threadIdx.x < n) x[threadIdx.x] = 1.0f;\n}\n'
    memory = np.zeros(64, np.float32)
    for count, nbytes in ((20, 80), (20, 76)):
        commands = [
            Launch(Kernel("fill", source), (1, 1, 1), (32, 1, 1), (Place("workspace", 64, nbytes), np.int32(count)))
        ]
        run = HostMachine(check=True).run
        if nbytes == 4 * count:
            run(commands, lambda place: memory.ctypes.data + place.number)
            continue
        with pytest.raises(LaunchError, match=r"fill.cu:2: .*out of bounds: at byte 76 of workspace 64, which has 76"):
            run(commands, lambda place: memory.ctypes.data + place.number)


def test_the_same_bug_is_reported_once_and_by_whose_call() -> None:
    body = "__device__ __forceinline__ float next(const float *p) {\n  return p[1];\n}\n"
    source = SUM.source.replace("\nextern", f"\n{body}extern").replace(
        "sum += x[(index_t)blockIdx.x * n + i]", "sum += next(x + n * 3)"
    )
    with pytest.raises(
        LaunchError, match=r"block_sum.cu:3, called in block_sum.cu:8: block \(0, 0, 0\), thread \(0, 0, 0\)"
    ) as raised:
        launch(SUM, source=source, check=True)
    assert len(str(raised.value).splitlines()) == 2
