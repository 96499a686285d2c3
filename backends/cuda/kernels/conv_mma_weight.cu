// Filter gradient of a convolution on tensor cores, as an implicit matrix product:
//
//   dW[kernel][tap][channel] = sum over pixels (n, p, q) of  dY[pixel][kernel] * X[pixel's window at tap][channel]
//
// The rows of the product are the kernels of a group, its columns the taps times the channels of a group (channels side
// by side), its depth the pixels of all output maps. dY (`G`) and X lie channels last, so that a run of rows or columns
// is contiguous in memory: a column tile is gathered in pieces of 16 bytes, each at one tap of one pixel's window, zeros
// where the window stands on padding. Stride, dilation and padding are in that gather and nowhere else.
//
// Grid: x column tiles, y row tiles, z groups x slices. A slice is a run of SLICE_DEPTH pixels (split-K). Y is the result
// or, for `reduce_slices` to add up in fixed order, [slice x kernel][taps x channels] in f32.
//
// Block: WARPS warps; each has WARP_ROWS x WARP_COLUMNS of the tile in registers, as fragments of mma.sync m16n8.
//
//   shared memory     STAGES x { dY       [TILE_DEPTH pixels][TILE_ROWS    + 8 elements]
//                                X        [TILE_DEPTH pixels][TILE_COLUMNS + 8 elements]
//                                Windows  [TILE_DEPTH pixels] }
//
// Both operands are contiguous across the depth's direction, but a fragment wants several depths in one thread:
//   bf16  ldmatrix transposes 8 x 8 elements on the way. 8 elements of padding move each pixel by 16 bytes, so that the 8
//         addresses of a matrix meet all banks.
//   tf32  no such instruction for 32 bits. A thread loads 4 neighbouring rows (or columns) of pixel t and of t + 4 at
//         once; which row of the tile is which row of a fragment is ours to choose: fragment 2p + e / 2, row g + 8 (e % 2)
//         is row 32 p + 4 g + e. 8 words of padding put pixel t at bank 8 t: 8 threads (2 g, 4 t) meet all 32 banks.
//
// Pipeline: while tile i is multiplied, tiles up to i + STAGES - 1 are on their way (cp.async). Where the window of each
// pixel begins is found once a pixel, by TILE_DEPTH threads, for the tile after those; so one barrier a tile is enough.
//
// Precision: bf16 as stored; tf32 as stored, or rounded to nearest after the shared load where stored as f32
// (ROUND_G, ROUND_X); fp32 (PRODUCTS == 3) as v = big + small in tf32 each: small big + big small + big big, and the sums
// are moved to ordinary registers every 128 pixels, because tensor cores truncate what they add.

constexpr bool HALF = sizeof(X_T) == 2;
constexpr int PIECE = 16 / (int)sizeof(X_T);  // elements of 16 bytes
constexpr int STEP = HALF ? 16 : 8;           // depth of one mma
constexpr int PITCH_G = TILE_ROWS + 8, PITCH_X = TILE_COLUMNS + 8;
constexpr int THREADS = (TILE_ROWS / WARP_ROWS) * (TILE_COLUMNS / WARP_COLUMNS) * 32;
constexpr int M = WARP_ROWS / 16, N = WARP_COLUMNS / 8;  // fragments of a warp
constexpr int PIECES_G = TILE_ROWS / PIECE, PIECES_X = TILE_COLUMNS / PIECE;  // of a pixel
constexpr int KERNELS = G_C / GROUPS, CHANNELS = X_C / GROUPS, COLUMNS = TAPS_H * TAPS_W * CHANNELS;
constexpr int PIXELS = G_N * G_H * G_W;
constexpr int FLUSH = 128 / TILE_DEPTH;  // tiles between two moves of sums
constexpr int OUTSIDE = -(1 << 30);      // a row of the map that no tap leads back into

static_assert(sizeof(G_T) == sizeof(X_T), "both operands are as wide");
static_assert(WARP_ROWS % 32 == 0 && WARP_COLUMNS % 32 == 0 && TILE_DEPTH % STEP == 0 && 128 % TILE_DEPTH == 0, "");
static_assert(THREADS % PIECES_X == 0 && TILE_DEPTH <= THREADS, "");
static_assert(KERNELS % PIECE == 0 && CHANNELS % PIECE == 0, "a piece lies in one group, at one tap");

// Where the window of an output pixel begins in the input: its first element, row and column. Read in one go.
struct alignas(16) Window {
  int at, row, column, unused;
};

// The pixels of one tile in shared memory.
struct Stage {
  G_T grad[TILE_DEPTH * PITCH_G];
  X_T input[TILE_DEPTH * PITCH_X];
  Window windows[TILE_DEPTH];
};

__device__ __forceinline__ Window window_of(int pixel, int end) {
  const int q = pixel % G_W, p = pixel / G_W % G_H, n = pixel / (G_W * G_H);
  const int row = pixel < end ? p * STRIDE_H - PAD_TOP : OUTSIDE, column = q * STRIDE_W - PAD_LEFT;
  return {n * (int)X_SN + (p * STRIDE_H - PAD_TOP) * (int)X_SH + column * (int)X_SW, row, column, 0};
}

// What a thread gathers of the windows: at one tap, 16 bytes of channels.
struct Gather {
  int at, row, column;  // from the window's beginning
  bool exists;          // the tile may have more columns than the product

  __device__ __forceinline__ Gather(int group, int first) {
    const int tap = first / CHANNELS;
    row = tap / TAPS_W * DILATION_H;
    column = tap % TAPS_W * DILATION_W;
    at = row * (int)X_SH + column * (int)X_SW + group * CHANNELS + first % CHANNELS;
    exists = first < COLUMNS;
  }
  __device__ __forceinline__ bool inside(const Window &window) const {
    return exists && (unsigned)(window.row + row) < (unsigned)X_H && (unsigned)(window.column + column) < (unsigned)X_W;
  }
};

// Starts the copies of one tile of dY: pixels from `first`, kernels from `row` of the group.
__device__ __forceinline__ void fetch_grad(G_T *shared, const G_T *grad, int group, int row, int first, int end) {
  constexpr int TOTAL = TILE_DEPTH * PIECES_G;
#pragma unroll
  for (int i = 0; i < TOTAL; i += THREADS) {
    const int piece = i + (int)threadIdx.x, depth = piece / PIECES_G, r = piece % PIECES_G * PIECE;
    if (TOTAL % THREADS != 0 && piece >= TOTAL) break;
    const bool inside = first + depth < end && row + r < KERNELS;
    const int at = (first + depth) * G_C + group * KERNELS + row + r;
    copy_async_16(shared + depth * PITCH_G + r, grad + (inside ? at : 0), inside);
  }
}

// Starts the copies of one tile of X, gathered at the windows of its pixels.
__device__ __forceinline__ void fetch_input(X_T *shared, const X_T *input, const Window *windows, const Gather &gather) {
  constexpr int TOTAL = TILE_DEPTH * PIECES_X;
  const int c = (int)threadIdx.x % PIECES_X * PIECE;
#pragma unroll
  for (int i = 0; i < TOTAL; i += THREADS) {
    const int depth = (i + (int)threadIdx.x) / PIECES_X;
    if (TOTAL % THREADS != 0 && depth >= TILE_DEPTH) break;
    const Window window = windows[depth];
    const bool inside = gather.inside(window);
    copy_async_16(shared + depth * PITCH_X + c, input + (inside ? window.at + gather.at : 0), inside);
  }
}

// A value as the tensor core takes it, and what that leaves over: of infinity, NaN.
template <bool ROUND>
__device__ __forceinline__ unsigned big_part(float v) {
  return ROUND ? to_tf32(v) : __float_as_uint(v);
}
__device__ __forceinline__ unsigned small_part(float v, unsigned big) { return to_tf32(v - __uint_as_float(big)); }

// Fragments of F neighbouring sixteens of rows (of dY) or pairs of eights of columns (of X), of a step's depth, from a
// tile in shared memory, at the warp's first. A[f] are a fragment's registers as mma wants them of dY; of X, a sixteen is
// two fragments: registers 0 and 2 of the one, 1 and 3 of the other. `small` is filled only with PRODUCTS == 3.
template <bool ROUND, int PITCH, int F, class T>
__device__ __forceinline__ void load(unsigned (&big)[F][4], unsigned (&small)[F][4], const T *tile) {
  const int lane = threadIdx.x % 32;
  if constexpr (HALF) {
    // Matrix m of four: depths 8 (m / 2) on, rows 8 (m % 2) on. This thread names depth lane % 8 of matrix lane / 8.
    const T *at = tile + (lane % 8 + lane / 16 * 8) * PITCH + lane / 8 % 2 * 8;
#pragma unroll
    for (int f = 0; f < F; f++) load_matrix_x4_transposed(big[f], at + 16 * f);
  } else {
    const T *at = tile + lane % 4 * PITCH + lane / 4 * 4;
#pragma unroll
    for (int f = 0; f < F; f += 2)
#pragma unroll
      for (int upper = 0; upper < 4; upper += 2) {  // depth t, then t + 4
        const float4 v = *(const float4 *)(at + upper * 2 * PITCH + 16 * f);
        const float four[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
        for (int e = 0; e < 4; e++) {
          unsigned &b = big[f + e / 2][upper + e % 2];
          b = big_part<ROUND>(four[e]);
          if constexpr (PRODUCTS == 3) small[f + e / 2][upper + e % 2] = small_part(four[e], b);
        }
      }
  }
}

// sums += a b, of all fragments.
__device__ __forceinline__ void multiply(float (&sums)[M][N][4], const unsigned (&a)[M][4], const unsigned (&b)[N / 2][4]) {
#pragma unroll
  for (int i = 0; i < M; i++)
#pragma unroll
    for (int j = 0; j < N; j++) {
      const unsigned column[2] = {b[j / 2][j % 2], b[j / 2][j % 2 + 2]};
      if constexpr (HALF) mma_bf16(sums[i][j], a[i], column);
      else mma_tf32(sums[i][j], a[i], column);
    }
}

// sums += of one tile, at the warp's rows and columns in shared memory.
__device__ __forceinline__ void multiply_tile(float (&sums)[M][N][4], const G_T *grad, const X_T *input) {
#pragma unroll(PRODUCTS == 3 ? 1 : TILE_DEPTH / STEP)  // three products take all registers as it is
  for (int depth = 0; depth < TILE_DEPTH; depth += STEP) {
    unsigned a[M][4], b[N / 2][4], small_a[M][4], small_b[N / 2][4];
    load<ROUND_G, PITCH_G>(a, small_a, grad + depth * PITCH_G);
    load<ROUND_X, PITCH_X>(b, small_b, input + depth * PITCH_X);
    if constexpr (PRODUCTS == 3) {
      multiply(sums, small_a, b);
      multiply(sums, a, small_b);
    }
    multiply(sums, a, b);
  }
}

// The row and column, from the warp's first, of element e of fragments i and j: see the top.
__device__ __forceinline__ int row_of(int i, int e) {
  const int g = threadIdx.x % 32 / 4, lower = e / 2;
  return HALF ? 16 * i + g + 8 * lower : i / 2 * 32 + 4 * g + i % 2 * 2 + lower;
}
__device__ __forceinline__ int column_of(int j, int e) {
  const int t = threadIdx.x % 4, g = 2 * t + e % 2;
  return HALF ? 8 * j + g : j / 4 * 32 + 4 * g + j % 4;
}

// Neighbouring columns of a row, at once where they are neighbours in memory.
constexpr int RUN = HALF ? 2 : 4;
constexpr bool CONTIGUOUS = Y_SC == 1 && Y_SW == Y_C && Y_SH == Y_W * Y_C;

template <class T>
__device__ __forceinline__ void put_run(T *out, const float (&v)[RUN]) {
#pragma unroll
  for (int k = 0; k < RUN; k++) put(out + k * Y_SC, v[k]);
}
__device__ __forceinline__ void put_run(f32_t *out, const float (&v)[RUN]) {
  if constexpr (!CONTIGUOUS) put_run<f32_t>(out, v);
  else if constexpr (HALF) *(float2 *)out = make_float2(v[0], v[1]);
  else *(float4 *)out = make_float4(v[0], v[1], v[2], v[3]);
}

__device__ __forceinline__ void store(Y_T *out, int kernel, int column, const float (&v)[RUN]) {
  const int tap = column / CHANNELS, c = column % CHANNELS;
  const index_t at = CONTIGUOUS ? column : c * Y_SC + tap / TAPS_W * Y_SH + tap % TAPS_W * Y_SW;
  put_run(out + kernel * Y_SN + at, v);
}

// The warp's sums to memory: row 0 of the group is `kernel`, the warp's first are `row` and `column`.
__device__ __forceinline__ void store_all(Y_T *out, const float (&sums)[M][N][4], int kernel, int row, int column) {
#pragma unroll
  for (int i = 0; i < M; i++)
#pragma unroll
    for (int lower = 0; lower < 4; lower += 2) {
      const int r = row + row_of(i, lower);
      if (r >= KERNELS) continue;
#pragma unroll
      for (int run = 0; run < N * 2 / RUN; run++) {
        const int c = column + (HALF ? column_of(run, 0) : column_of(run / 2 * 4, run % 2));
        float v[RUN];
#pragma unroll
        for (int k = 0; k < RUN; k++) v[k] = HALF ? sums[i][run][lower + k] : sums[i][run / 2 * 4 + k][lower + run % 2];
        if (c < COLUMNS) store(out, kernel + r, c, v);
      }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
    conv_mma_weight(const G_T *__restrict__ grad, const X_T *__restrict__ input, Y_T *__restrict__ out) {
  extern __shared__ float4 memory[];
  Stage *stages = (Stage *)memory;

  const int group = blockIdx.z % GROUPS, slice = blockIdx.z / GROUPS;
  const int row = blockIdx.y * TILE_ROWS, column = blockIdx.x * TILE_COLUMNS;
  const int begin = slice * SLICE_DEPTH, end = begin + SLICE_DEPTH < PIXELS ? begin + SLICE_DEPTH : PIXELS;
  const int tiles = (end - begin + TILE_DEPTH - 1) / TILE_DEPTH;
  const int warp = threadIdx.x / 32;
  const int warp_row = warp % (TILE_ROWS / WARP_ROWS) * WARP_ROWS;
  const int warp_column = warp / (TILE_ROWS / WARP_ROWS) * WARP_COLUMNS;
  const Gather gather(group, column + (int)threadIdx.x % PIECES_X * PIECE);

  // The windows of a tile's pixels, and its copies; a tile past the end is all zeros.
  auto locate = [&](int tile) {
    const int depth = threadIdx.x;
    if (depth < TILE_DEPTH) stages[tile % STAGES].windows[depth] = window_of(begin + tile * TILE_DEPTH + depth, end);
  };
  auto fetch = [&](int tile) {
    Stage &stage = stages[tile % STAGES];
    fetch_grad(stage.grad, grad, group, row, begin + tile * TILE_DEPTH, end);
    fetch_input(stage.input, input, stage.windows, gather);
    copy_async_commit();
  };

  locate(0);
  for (int tile = 0; tile < STAGES - 1; tile++) {
    __syncthreads();
    fetch(tile);
    locate(tile + 1);
  }
  float sums[M][N][4] = {}, moved[M][N][4] = {};
  for (int tile = 0; tile < tiles; tile++) {
    copy_async_wait<STAGES - 2>();
    __syncthreads();
    fetch(tile + STAGES - 1);
    locate(tile + STAGES);
    const Stage &stage = stages[tile % STAGES];
    multiply_tile(sums, stage.grad + warp_row, stage.input + warp_column);
    if (PRODUCTS == 3 && (tile % FLUSH == FLUSH - 1 || tile == tiles - 1)) {
#pragma unroll
      for (int i = 0; i < M * N * 4; i++) {
        moved[i / 4 / N][i / 4 % N][i % 4] += sums[i / 4 / N][i / 4 % N][i % 4];
        sums[i / 4 / N][i / 4 % N][i % 4] = 0.0f;
      }
    }
  }
  copy_async_wait<0>();
  const int kernel = slice * G_C + group * KERNELS;
  store_all(out, PRODUCTS == 3 ? moved : sums, kernel, row + warp_row, column + warp_column);
}
