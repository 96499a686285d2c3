// Convolution as an implicit matrix product, in fp32, of any geometry; also the gradient of its input (BACKWARD).
//
//   forward:  y[n, k, y, x] = sum over c, i, j of  x[n, c, y S - P + i D, x S - P + j D] w[k, c, i, j]
//   backward: y[n, c, y, x] = sum over k, i, j of  x[n, k, (y + P - i D) / S, (x + P - j D) / S] w[k, c, i, j]
//             where both quotients are whole: each pixel gathers from the outputs that it had a part in.
//
// Rows of the product are the pixels of y, columns the channels of a group, the depth the taps and channels of x. Backward,
// rows (y + P) mod S apart meet different taps: a block takes pixels of one such class along each axis, and its taps alone,
// which are STEP apart; forward there is one class. From one tap of a class to the next, the pixel of x moves by ADVANCE.
//
// A block makes TILE_M pixels x TILE_N channels of a group (plain_tile.cu).

constexpr int SHARE = X_C / GROUPS, TARGETS = Y_C / GROUPS;
constexpr int TILES_N = (TARGETS + TILE_N - 1) / TILE_N, CLASSES_H = BACKWARD ? STRIDE_H : 1, CLASSES_W = BACKWARD ? STRIDE_W : 1;

// Pixels of y of one class along an axis (the first, how many), and the taps that they meet, likewise.
struct Axis {
  int first, pixels, tap, taps;
};
__device__ __forceinline__ Axis axis(int residue, int length, int size, int stride, int pad, int dilation, int step) {
  if (!BACKWARD) return {0, length, 0, size};
  const int first = ((residue - pad) % stride + stride) % stride;
  int tap = 0;
  while (tap < size && tap * dilation % stride != residue) tap++;
  const int pixels = first < length ? (length - 1 - first) / stride + 1 : 0;
  return {first, pixels, tap, tap < size ? (size - 1 - tap) / step + 1 : 0};
}

struct Pixel {
  int n, h, w;
};
struct Block {
  Axis rows, columns;
  int group, m, n;  // the tile's first row and column
  __device__ __forceinline__ int pixels() const { return Y_N * rows.pixels * columns.pixels; }
  __device__ __forceinline__ Pixel pixel(int m) const {
    const int w = m % columns.pixels, h = m / columns.pixels % rows.pixels;
    const int stride_h = BACKWARD ? STRIDE_H : 1, stride_w = BACKWARD ? STRIDE_W : 1;
    return {m / columns.pixels / rows.pixels, rows.first + h * stride_h, columns.first + w * stride_w};
  }
};

// Where the first tap of a pixel lies in x. The difference is a multiple of the stride.
__device__ __forceinline__ int origin(int at, int tap, int stride, int pad, int dilation) {
  return BACKWARD ? (at + pad - tap * dilation) / stride : at * stride - pad;
}

struct Images {
  static constexpr bool ALONG_DEPTH = X_SC == 1 && X_SW != 1;
  const Block &block;
  const X_T *image[LOADS_M];
  int h[LOADS_M], w[LOADS_M];

  __device__ __forceinline__ Images(const Block &block, const X_T *x) : block(block) {
#pragma unroll
    for (int r = 0; r < LOADS_M; r++) {
      const int m = block.m + slice_row<ALONG_DEPTH, TILE_M>(r);
      const Pixel at = m < block.pixels() ? block.pixel(m) : Pixel{0, 0, 0};
      image[r] = x + at.n * X_SN + block.group * SHARE * X_SC;
      h[r] = m < block.pixels() ? origin(at.h, block.rows.tap, STRIDE_H, PAD_H, DILATION_H) : OUTSIDE;
      w[r] = origin(at.w, block.columns.tap, STRIDE_W, PAD_W, DILATION_W);
    }
  }
  __device__ __forceinline__ float element(int r, int d) const {
    const int c = d % SHARE, tap = d / SHARE;
    const int y = h[r] + tap / block.columns.taps * ADVANCE_H, x = w[r] + tap % block.columns.taps * ADVANCE_W;
    const bool inside = (unsigned)y < (unsigned)X_H && (unsigned)x < (unsigned)X_W;
    return inside ? get(image[r] + (c * (int)X_SC + y * (int)X_SH + x * (int)X_SW)) : 0.0f;
  }
};

struct Filters {
  static constexpr bool ALONG_DEPTH = !BACKWARD;
  static constexpr index_t FROM = BACKWARD ? W_SN : W_SC, TO = BACKWARD ? W_SC : W_SN;  // strides of channels of x, of y
  const Block &block;
  const W_T *filter[LOADS_N];
  bool there[LOADS_N];

  __device__ __forceinline__ Filters(const Block &block, const W_T *w) : block(block) {
#pragma unroll
    for (int r = 0; r < LOADS_N; r++) {
      const int n = block.n + slice_row<ALONG_DEPTH, TILE_N>(r);
      there[r] = n < TARGETS;
      filter[r] = w + block.group * (W_N / GROUPS) * W_SN + n * TO;
    }
  }
  __device__ __forceinline__ float element(int r, int d) const {
    const int c = d % SHARE, tap = d / SHARE;
    const int i = block.rows.tap + tap / block.columns.taps * STEP_H;
    const int j = block.columns.tap + tap % block.columns.taps * STEP_W;
    return there[r] ? get(filter[r] + (c * FROM + i * (int)W_SH + j * (int)W_SW)) : 0.0f;
  }
};

// Of all tiles: those of the channels lie next to each other, so that they find their pixels in the L2.
__device__ __forceinline__ Block block_of(int b) {
  const int n = b % TILES_N * TILE_N, m = b / TILES_N % TILES_M * TILE_M, rest = b / TILES_N / TILES_M;
  const int group = rest % GROUPS, residue = rest / GROUPS;
  const Axis rows = axis(residue / CLASSES_W, Y_H, W_H, STRIDE_H, PAD_H, DILATION_H, STEP_H);
  const Axis columns = axis(residue % CLASSES_W, Y_W, W_W, STRIDE_W, PAD_W, DILATION_W, STEP_W);
  return {rows, columns, group, m, n};
}

extern "C" __global__ void __launch_bounds__(THREADS, 1) conv_plain(const X_T *x, const W_T *w, Y_T *y EPILOGUE_PARAMETERS) {
  const Block block = block_of(blockIdx.x);
  if (block.m >= block.pixels()) return;
  float sum[PER_M][PER_N];
  tile_product(Images(block, x), Filters(block, w), 0, block.rows.taps * block.columns.taps * SHARE, sum);
#pragma unroll
  for (int i = 0; i < PER_M; i++) {
    const int m = block.m + tile_m(i);
    if (m >= block.pixels()) continue;
    const Pixel at = block.pixel(m);
#pragma unroll
    for (int j = 0; j < PER_N; j++) {
      const int c = block.group * TARGETS + block.n + tile_n(j);
      if (block.n + tile_n(j) >= TARGETS) continue;
      put(y + (at.n * Y_SN + c * Y_SC + at.h * Y_SH + at.w * Y_SW), EPILOGUE(sum[i][j], at.n, c, at.h, at.w));
    }
  }
}
