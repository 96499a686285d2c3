// The gradient of a convolution's filters as an implicit matrix product, in fp32, of any geometry:
//
//   w[k, c, i, j] = sum over n, y, x of  g[n, k, y, x] x[n, c, y S - P + i D, x S - P + j D]
//
// Rows of the product are the filters of a group, columns its taps and channels, the depth the pixels of g. Few tiles and a
// great depth: the pixels are shared out over SLICES blocks, whose sums go to `partial` [slice][kernel][row][column][channel],
// and `add_slices` adds them up, always in the same order.
//
// A block makes TILE_M filters x TILE_N elements of them, over SLICE pixels (plain_tile.cu).

constexpr int SHARE = X_C / GROUPS, FILTERS = G_C / GROUPS, ELEMENTS = W_H * W_W * SHARE;
constexpr int TILES_M = (FILTERS + TILE_M - 1) / TILE_M, TILES_N = (ELEMENTS + TILE_N - 1) / TILE_N;
constexpr int PIXELS = G_N * G_H * G_W;

struct Grads {
  static constexpr bool ALONG_DEPTH = G_SC != 1;
  const G_T *channel[LOADS_M];
  bool there[LOADS_M];

  __device__ __forceinline__ Grads(const G_T *g, int group, int first) {
#pragma unroll
    for (int r = 0; r < LOADS_M; r++) {
      const int m = first + slice_row<ALONG_DEPTH, TILE_M>(r);
      there[r] = m < FILTERS;
      channel[r] = g + (group * FILTERS + m) * G_SC;
    }
  }
  __device__ __forceinline__ float element(int r, int d) const {
    const int n = d / (G_H * G_W), at = d % (G_H * G_W);
    return there[r] ? get(channel[r] + (n * G_SN + at * (int)G_SW)) : 0.0f;
  }
};

struct Images {
  static constexpr bool ALONG_DEPTH = X_SC != 1;
  const X_T *channel[LOADS_N];
  int h[LOADS_N], w[LOADS_N];

  __device__ __forceinline__ Images(const X_T *x, int group, int first) {
#pragma unroll
    for (int r = 0; r < LOADS_N; r++) {
      const int element = first + slice_row<ALONG_DEPTH, TILE_N>(r), tap = element / SHARE;
      channel[r] = x + (group * SHARE + element % SHARE) * X_SC;
      h[r] = element < ELEMENTS ? tap / W_W * DILATION_H - PAD_H : OUTSIDE;
      w[r] = tap % W_W * DILATION_W - PAD_W;
    }
  }
  __device__ __forceinline__ float element(int r, int d) const {
    const int n = d / (G_H * G_W), at = d % (G_H * G_W);
    const int y = h[r] + at / G_W * STRIDE_H, x = w[r] + at % G_W * STRIDE_W;
    const bool inside = (unsigned)y < (unsigned)X_H && (unsigned)x < (unsigned)X_W;
    return inside ? get(channel[r] + (n * X_SN + y * (int)X_SH + x * (int)X_SW)) : 0.0f;
  }
};

// An element of the gradient by its kernel and its place in [row][column][channel].
__device__ __forceinline__ void write(W_T *w, int kernel, int element, float v) {
  const int tap = element / SHARE;
  put(w + (kernel * W_SN + element % SHARE * W_SC + tap / W_W * W_SH + tap % W_W * W_SW), v);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1) conv_plain_weight(const G_T *g, const X_T *x, W_T *w, float *partial) {
  const int n = blockIdx.x % TILES_N * TILE_N, m = blockIdx.x / TILES_N % TILES_M * TILE_M;
  const int group = blockIdx.x / TILES_N / TILES_M % GROUPS, slice = blockIdx.x / TILES_N / TILES_M / GROUPS;
  float sum[PER_M][PER_N];
  tile_product(Grads(g, group, m), Images(x, group, n), slice * SLICE, min(PIXELS, (slice + 1) * SLICE), sum);
#pragma unroll
  for (int i = 0; i < PER_M; i++) {
#pragma unroll
    for (int j = 0; j < PER_N; j++) {
      const int kernel = m + tile_m(i), element = n + tile_n(j);
      if (kernel >= FILTERS || element >= ELEMENTS) continue;
      const index_t row = (index_t)slice * W_N + group * FILTERS + kernel;
      if (SLICES == 1) write(w, group * FILTERS + kernel, element, sum[i][j]);
      else partial[row * ELEMENTS + element] = sum[i][j];
    }
  }
}

// A thread takes one element of the gradient.
extern "C" __global__ void __launch_bounds__(256) add_slices(const float *partial, W_T *w) {
  const int at = blockIdx.x * 256 + threadIdx.x;
  if (at >= W_N * ELEMENTS) return;
  float sum = 0.0f;
#pragma unroll 8
  for (int slice = 0; slice < SLICES; slice++) sum += partial[(index_t)slice * (W_N * ELEMENTS) + at];
  write(w, at / ELEMENTS, at % ELEMENTS, sum);
}
