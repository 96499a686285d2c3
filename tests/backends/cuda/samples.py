"""Small kernels that are right, each with a launch and what it must compute; the tests of the host runner run them, and
seed bugs into them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alexnet_ir.backends.cuda.host.runner import HostKernel, Memory
from alexnet_ir.backends.cuda.site import text
from alexnet_ir.backends.emission.commands import Dim3, Kernel
from alexnet_ir.backends.emission.encode import bf16_bits, round_tf32
from alexnet_ir.ir.op import Array

Value = Array | np.generic


@dataclass(frozen=True)
class Sample:
    """A kernel and one launch of it. `results`: which of `values` it writes; `expected` computes them."""

    name: str
    source: str
    grid: Dim3
    block: Dim3
    values: Callable[[], list[Value]]
    results: tuple[int, ...]
    expected: Callable[[Sequence[Any]], list[Array]]
    shared: int = 0
    tolerance: float = 1e-6
    tables: tuple[int, ...] = ()
    """Which values are tables of the addresses of the arrays in `behind` them."""

    def kernel(self, source: str | None = None) -> Kernel:
        """The kernel, or another source of it."""
        stretches = [f'#line 1 "{name}"\n{text(name)}' for name in ("prelude.cu", "warp.cu")]
        return Kernel(self.name, "".join(stretches) + f'#line 1 "{self.name}.cu"\n{source or self.source}')


def launch(
    sample: Sample, *, source: str | None = None, check: bool = False, order: str = "forward", seed: int = 0
) -> tuple[list[Array], list[Value]]:
    """The results of a launch, and the values that it began with."""
    values = sample.values()
    before = [value.copy() for value in values]
    arguments: list[Memory | np.generic] = []
    regions: list[Memory] = []
    for number, value in enumerate(values):
        if number in sample.tables:
            assert isinstance(value, np.ndarray)
            addresses = np.array([row.ctypes.data for row in value], np.uint64)
            regions += (Memory(row.ctypes.data, row.nbytes, f"row {i}") for i, row in enumerate(value))
            arguments.append(Memory(addresses.ctypes.data, addresses.nbytes, "table"))
        elif isinstance(value, np.ndarray):
            arguments.append(Memory(value.ctypes.data, value.nbytes, f"argument {number}"))
        else:
            arguments.append(value)
    HostKernel(sample.kernel(source), check)(
        sample.grid, sample.block, arguments, shared=sample.shared, regions=regions, order=order, seed=seed
    )
    return [np.asarray(values[number]) for number in sample.results], before


def _floats(*shape: int) -> Array:
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


def _zeros(*shape: int) -> Array:
    return np.full(shape, np.nan, np.float32)


SUM = Sample(
    "block_sum",
    r"""
extern "C" __global__ void block_sum(const float *x, float *y, int n) {
  __shared__ float part[32];
  float sum = 0.0f;
  for (int i = threadIdx.x; i < n; i += blockDim.x) sum += x[(index_t)blockIdx.x * n + i];
  for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_down_sync(0xffffffffu, sum, distance);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    float total = 0.0f;
    for (int i = 0; i < blockDim.x / 32; i++) total += part[i];
    y[blockIdx.x] = total;
  }
}
""",
    (3, 1, 1),
    (128, 1, 1),
    lambda: [_floats(3, 333), _zeros(3), np.int32(333)],
    (1,),
    lambda v: [v[0].sum(1)],
    tolerance=1e-5,
)


def _from_bf16(bits: Array) -> Array:
    return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


PRODUCT = Sample(
    "product",
    r"""
extern "C" __global__ void product(const float *a, const float *b, float *c, int m, int n, int k) {
  __shared__ float tile_a[8][8], tile_b[8][8];
  const int x = threadIdx.x, y = threadIdx.y, row = blockIdx.y * 8 + y, column = blockIdx.x * 8 + x;
  float sum = 0.0f;
  for (int k0 = 0; k0 < k; k0 += 8) {
    tile_a[y][x] = row < m && k0 + x < k ? a[row * k + k0 + x] : 0.0f;
    tile_b[y][x] = column < n && k0 + y < k ? b[(k0 + y) * n + column] : 0.0f;
    __syncthreads();  // filled
    for (int i = 0; i < 8; i++) sum += tile_a[y][i] * tile_b[i][x];
    __syncthreads();  // read
  }
  if (row < m && column < n) c[row * n + column] = sum;
}
""",
    (3, 2, 1),
    (8, 8, 1),
    lambda: [_floats(13, 21), _floats(21, 19), _zeros(13, 19), np.int32(13), np.int32(19), np.int32(21)],
    (2,),
    lambda v: [v[0] @ v[1]],
    tolerance=1e-5,
)

PIPELINE = Sample(
    "pipeline",
    r"""
// Doubles x, stage by stage: while one buffer is worked on, the other is filled. Beyond n there are zeros.
extern "C" __global__ void pipeline(const float *x, float *y, int stages, int n) {
  __shared__ float4 buffer[2][32];
  const int t = threadIdx.x;
  copy_async_16(&buffer[0][t], x + 4 * t, 4 * t < n);
  copy_async_commit();
  for (int stage = 0; stage < stages; stage++) {
    const int next = 4 * ((stage + 1) * 32 + t);
    if (stage + 1 < stages) copy_async_16(&buffer[(stage + 1) % 2][t], x + next, next < n);
    copy_async_commit();
    copy_async_wait<1>();
    __syncthreads();  // filled
    const float4 v = buffer[stage % 2][31 - t];
    const int at = 4 * (stage * 32 + 31 - t);
    y[at] = 2.0f * v.x; y[at + 1] = 2.0f * v.y; y[at + 2] = 2.0f * v.z; y[at + 3] = 2.0f * v.w;
    __syncthreads();  // read
  }
}
""",
    (1, 1, 1),
    (32, 1, 1),
    lambda: [_floats(500), _zeros(512), np.int32(4), np.int32(500)],
    (1,),
    lambda v: [2 * np.pad(v[0], (0, 12))],
)

MMA_TF32 = Sample(
    "mma_product_tf32",
    r"""
// c [16, 8] = a [16, 16] b [16, 8], by one warp. An 8x8 matrix of 2-byte elements is one of 8x4 floats to ldmatrix.
extern "C" __global__ void mma_product_tf32(const float *a, const float *b, float *c) {
  __shared__ float tile[16 * 20];  // rows of 20 floats: ldmatrix meets no bank twice
  const int lane = threadIdx.x, group = lane / 4, member = lane % 4;
  for (int i = lane; i < 256; i += 32) tile[i / 16 * 20 + i % 16] = a[i];
  __syncwarp();
  float d[4] = {};
  for (int k = 0; k < 16; k += 8) {
    unsigned x[4], w[2];
    load_matrix_x4(x, tile + (lane % 16) * 20 + k + lane / 16 * 4);
    for (int i = 0; i < 4; i++) x[i] = to_tf32(__uint_as_float(x[i]));
    w[0] = to_tf32(b[(k + member) * 8 + group]);
    w[1] = to_tf32(b[(k + member + 4) * 8 + group]);
    mma_tf32(d, x, w);
  }
  c[group * 8 + 2 * member] = d[0];
  c[group * 8 + 2 * member + 1] = d[1];
  c[(group + 8) * 8 + 2 * member] = d[2];
  c[(group + 8) * 8 + 2 * member + 1] = d[3];
}
""",
    (1, 1, 1),
    (32, 1, 1),
    lambda: [_floats(16, 16), _floats(16, 8), _zeros(16, 8)],
    (2,),
    lambda v: [round_tf32(v[0]).astype("f8") @ round_tf32(v[1]).astype("f8")],
)

MMA_BF16 = Sample(
    "mma_product_bf16",
    r"""
// c [16, 8] = a [16, 16] b [16, 8], by one warp; b lies with its rows along k, so it is transposed on the way.
extern "C" __global__ void mma_product_bf16(const bf16_t *a, const bf16_t *b, float *c) {
  extern __shared__ bf16_t tiles[];
  bf16_t *tile_a = tiles, *tile_b = tiles + 16 * 24;  // rows of 24 and of 8
  const int lane = threadIdx.x, group = lane / 4, member = lane % 4;
  for (int i = lane; i < 256; i += 32) tile_a[i / 16 * 24 + i % 16] = a[i];
  for (int i = lane; i < 128; i += 32) tile_b[i] = b[i];
  __syncwarp();
  unsigned x[4], w[2];
  load_matrix_x4(x, tile_a + (lane % 16) * 24 + lane / 16 * 8);
  load_matrix_x2_transposed(w, tile_b + (lane % 16) * 8);
  float d[4] = {};
  mma_bf16(d, x, w);
  c[group * 8 + 2 * member] = d[0];
  c[group * 8 + 2 * member + 1] = d[1];
  c[(group + 8) * 8 + 2 * member] = d[2];
  c[(group + 8) * 8 + 2 * member + 1] = d[3];
}
""",
    (1, 1, 1),
    (32, 1, 1),
    lambda: [bf16_bits(_floats(16, 16)), bf16_bits(_floats(16, 8)), _zeros(16, 8)],
    (2,),
    lambda v: [_from_bf16(v[0]) @ _from_bf16(v[1])],
    shared=2 * (16 * 24 + 16 * 8),
)

HISTOGRAM = Sample(
    "histogram",
    r"""
extern "C" __global__ void histogram(const int *x, int *counts, int n, int bins) {
  extern __shared__ int local[];
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  for (int bin = threadIdx.x; bin < bins; bin += blockDim.x) local[bin] = 0;
  __syncthreads();
  if (i < n) atomicAdd(&local[x[i]], 1);
  __syncthreads();
  for (int bin = threadIdx.x; bin < bins; bin += blockDim.x) atomicAdd(counts + bin, local[bin]);
}
""",
    (5, 1, 1),
    (64, 1, 1),
    lambda: [
        np.random.default_rng(3).integers(0, 37, 300).astype(np.int32),
        np.zeros(37, np.int32),
        np.int32(300),
        np.int32(37),
    ],
    (1,),
    lambda v: [np.bincount(v[0], minlength=37)],
    shared=37 * 4,
)

COMPACT = Sample(
    "compact",
    r"""
// The positive elements of each warp's 32, in order, and how many of the block's there are.
extern "C" __global__ void compact(const float *x, float *y, int *count) {
  const int lane = threadIdx.x % 32, first = threadIdx.x - lane;
  const float v = x[threadIdx.x];
  const unsigned chosen = __ballot_sync(0xffffffffu, v > 0.0f);
  y[threadIdx.x] = 0.0f;
  __syncwarp();
  if (v > 0.0f) y[first + __popc(chosen & ((1u << lane) - 1))] = v;
  const int all = __syncthreads_count(v > 0.0f);
  if (threadIdx.x == 0) *count = all;
}
""",
    (1, 1, 1),
    (70, 1, 1),
    lambda: [_floats(70), _zeros(70), np.zeros(1, np.int32)],
    (1, 2),
    lambda v: [_compacted(v[0]), np.array([(v[0] > 0).sum()])],
)


def _compacted(x: Array) -> Array:
    found = np.zeros_like(x)
    for first in range(0, x.size, 32):
        chosen = x[first : first + 32][x[first : first + 32] > 0]
        found[first : first + chosen.size] = chosen
    return found


SCAN = Sample(
    "scan",
    r"""
// Sums of all elements up to each, of each warp's 32, in shared memory.
extern "C" __global__ void scan(const float *x, float *y) {
  __shared__ float sums[64];
  const int t = threadIdx.x, lane = t % 32;
  sums[t] = x[t];
  __syncwarp();
  for (int distance = 1; distance < 32; distance *= 2) {
    const float before = lane >= distance ? sums[t - distance] : 0.0f;
    __syncwarp();  // all have read
    sums[t] += before;
    __syncwarp();  // all have written
  }
  y[t] = sums[t];
}
""",
    (1, 1, 1),
    (64, 1, 1),
    lambda: [_floats(64), _zeros(64)],
    (1,),
    lambda v: [np.cumsum(v[0].reshape(2, 32), 1).reshape(-1)],
    tolerance=1e-5,
)

LAST_BLOCK = Sample(
    "last_block",
    r"""
// The sum of x: a part by each block, the parts by the block that comes last.
extern "C" __global__ void last_block(const float *x, float *parts, int *arrived, float *sum) {
  __shared__ bool is_last;
  if (threadIdx.x == 0) {
    float part = 0.0f;
    for (int i = 0; i < 16; i++) part += x[blockIdx.x * 16 + i];
    parts[blockIdx.x] = part;
    __threadfence();
    is_last = atomicAdd(arrived, 1) == gridDim.x - 1;
  }
  __syncthreads();
  if (is_last && threadIdx.x == 0) {
    float all = 0.0f;
    for (int i = 0; i < gridDim.x; i++) all += parts[i];
    *sum = all;
  }
}
""",
    (6, 1, 1),
    (32, 1, 1),
    lambda: [_floats(96), _zeros(6), np.zeros(1, np.int32), _zeros(1)],
    (3,),
    lambda v: [v[0].sum(keepdims=True)],
    tolerance=1e-5,
)

SCALE_ROWS = Sample(
    "scale_rows",
    r"""
extern "C" __global__ void scale_rows(float *const *rows, float factor, int n) {
  float *row = rows[blockIdx.x];
  for (int i = threadIdx.x; i < n; i += blockDim.x) row[i] *= factor;
}
""",
    (3, 1, 1),
    (32, 1, 1),
    lambda: [_floats(3, 64)[:, :50], np.float32(1.5), np.int32(50)],
    (0,),
    lambda v: [np.float32(1.5) * np.asarray(v[0])],
    tables=(0,),
)

VECTORS = Sample(
    "vectors",
    r"""
extern "C" __global__ void vectors(const float *x, float *y, int n, int groups) {
  const int i = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
  if (i + 4 > n) return;
  const int group = i / (n / groups);
  float4 v = *(const float4 *)(x + i);
  v.x += group; v.y += group; v.z += group; v.w += group;
  *(float4 *)(y + i) = v;
}
""",
    (2, 1, 1),
    (32, 1, 1),
    lambda: [_aligned(_floats(240)), _aligned(_zeros(240)), np.int32(240), np.int32(3)],
    (1,),
    lambda v: [v[0] + np.repeat(np.arange(3), 80)],
)


def _aligned(x: Array) -> Array:
    raw = np.empty(x.nbytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    found = raw[start : start + x.nbytes].view(x.dtype)
    found[:] = x
    return found


BYTES = Sample(
    "bytes",
    r"""
// Neighbours write neighbouring bytes of one word.
extern "C" __global__ void bytes(const float *x, u8_t *positive, bf16_t *y) {
  __shared__ u8_t seen[64];
  const int t = threadIdx.x;
  seen[t] = x[t] > 0.0f;
  positive[t] = seen[t];
  put(y + t, x[t]);
  __syncthreads();
  positive[t] += seen[63 - t];
}
""",
    (1, 1, 1),
    (64, 1, 1),
    lambda: [_floats(64), np.zeros(64, np.uint8), np.zeros(64, np.uint16)],
    (1, 2),
    lambda v: [(v[0] > 0).astype("u1") + (v[0] > 0)[::-1], bf16_bits(v[0])],
)

SAMPLES = (
    SUM,
    PRODUCT,
    PIPELINE,
    MMA_TF32,
    MMA_BF16,
    HISTOGRAM,
    COMPACT,
    SCAN,
    LAST_BLOCK,
    SCALE_ROWS,
    VECTORS,
    BYTES,
)
