// A tile of a matrix product, sum over d of A[m][d] B[d][n], by one block, in fp32: what plain convolutions are made of.
//
// The block makes TILE_M x TILE_N sums, a thread 4 or 8 each way, in registers. What they are of passes through shared
// memory in slices DEPTH deep, two of each side: while one is multiplied, the elements of the next are on their way.
//
// A side says how it is read: `row(r, m)` that the r-th element of each slice which this thread fetches is of row m,
// `element(r, d)` gives it. ALONG_DEPTH: elements of one row lie side by side, so neighbouring threads take those.

constexpr int DEPTH = 16;
constexpr int PER_M = TILE_M == 128 ? 8 : 4, PER_N = TILE_N == 128 ? 8 : 4;
constexpr int THREADS_M = TILE_M / PER_M, THREADS_N = TILE_N / PER_N, THREADS = THREADS_M * THREADS_N;
constexpr int LOADS_M = TILE_M * DEPTH / THREADS, LOADS_N = TILE_N * DEPTH / THREADS;

// The sums of this thread, by fours: [i][j] is of row `tile_m(i)` and column `tile_n(j)` of the tile. Neighbouring threads
// have neighbouring columns if ALONG_N, else rows: as the result lies.
__device__ __forceinline__ int thread_m() { return ALONG_N ? threadIdx.x / THREADS_N : threadIdx.x % THREADS_M; }
__device__ __forceinline__ int thread_n() { return ALONG_N ? threadIdx.x % THREADS_N : threadIdx.x / THREADS_M; }
__device__ __forceinline__ int tile_m(int i) { return (i / 4 * THREADS_M + thread_m()) * 4 + i % 4; }
__device__ __forceinline__ int tile_n(int j) { return (j / 4 * THREADS_N + thread_n()) * 4 + j % 4; }

// Which element of a slice this thread's r-th is.
template <bool ALONG_DEPTH, int TILE>
__device__ __forceinline__ int slice_row(int r) {
  const int e = threadIdx.x + r * THREADS;
  return ALONG_DEPTH ? e / DEPTH : e % TILE;
}
template <bool ALONG_DEPTH, int TILE>
__device__ __forceinline__ int slice_depth(int r) {
  const int e = threadIdx.x + r * THREADS;
  return ALONG_DEPTH ? e % DEPTH : e / TILE;
}

// Slices of one side in shared memory: [depth][row], rows padded so that a column does not fall on one bank.
template <int TILE, int LOADS, class Side>
struct Slices {
  static constexpr int PITCH = TILE / 4 + 1;
  float4 (*const shared)[DEPTH][PITCH];
  const Side &side;
  float next[LOADS];

  __device__ __forceinline__ void fetch(int depth, int end) {
#pragma unroll
    for (int r = 0; r < LOADS; r++) {
      const int d = depth + slice_depth<Side::ALONG_DEPTH, TILE>(r);
      next[r] = d < end ? side.element(r, d) : 0.0f;
    }
  }
  __device__ __forceinline__ void store(int buffer) const {
#pragma unroll
    for (int r = 0; r < LOADS; r++) {
      float *const line = (float *)shared[buffer][slice_depth<Side::ALONG_DEPTH, TILE>(r)];
      line[slice_row<Side::ALONG_DEPTH, TILE>(r)] = next[r];
    }
  }
  template <int PER>
  __device__ __forceinline__ void read(int buffer, int d, int thread, int threads, float (&v)[PER]) const {
#pragma unroll
    for (int i = 0; i < PER / 4; i++) {
      const float4 four = shared[buffer][d][i * threads + thread];
      v[4 * i] = four.x, v[4 * i + 1] = four.y, v[4 * i + 2] = four.z, v[4 * i + 3] = four.w;
    }
  }
};

// The sums from `begin` to `end`. The tile's first row and column are those of the sides.
template <class SideA, class SideB>
__device__ __forceinline__ void tile_product(const SideA &a, const SideB &b, int begin, int end,
                                             float (&sum)[PER_M][PER_N]) {
  __shared__ float4 shared_a[2][DEPTH][TILE_M / 4 + 1], shared_b[2][DEPTH][TILE_N / 4 + 1];
  Slices<TILE_M, LOADS_M, SideA> slices_a = {shared_a, a, {}};
  Slices<TILE_N, LOADS_N, SideB> slices_b = {shared_b, b, {}};
#pragma unroll
  for (int i = 0; i < PER_M; i++)
#pragma unroll
    for (int j = 0; j < PER_N; j++) sum[i][j] = 0.0f;

  slices_a.fetch(begin, end), slices_b.fetch(begin, end);
  int now = 0;
  for (int depth = begin; depth < end; depth += DEPTH, now ^= 1) {
    slices_a.store(now), slices_b.store(now);
    __syncthreads();
    slices_a.fetch(depth + DEPTH, end), slices_b.fetch(depth + DEPTH, end);
#pragma unroll
    for (int d = 0; d < DEPTH; d++) {
      float va[PER_M], vb[PER_N];
      slices_a.read(now, d, thread_m(), THREADS_M, va), slices_b.read(now, d, thread_n(), THREADS_N, vb);
#pragma unroll
      for (int i = 0; i < PER_M; i++)
#pragma unroll
        for (int j = 0; j < PER_N; j++) sum[i][j] = fmaf(va[i], vb[j], sum[i][j]);
    }
  }
}
