// Convolution as a product of matrices on tensor cores (implicit GEMM), forward and input gradient.
//
//   y[row, column] = sum over depth of  x[row, depth] * f[column, depth]
//     row     a pixel (n, h, w) of y
//     column  a channel of one group of y
//     depth   (tap_h, tap_w, channel of one group of x), channels innermost
//
// The matrix x[row, depth] is never formed: a row's pixel and a depth's tap say which pixel of the map is meant,
//
//   source = step of the row * SOURCE_STRIDE + origin + tap * TAP_STEP,
//
// and it counts as zeros where it lies outside the map. Filters lie as [class][group][column][depth].
//
// Forward: SOURCE_STRIDE is the stride, the origin -pad, TAP_STEP the dilation.
//
// Input gradient: x is the gradient of the output, and a tap r of the kernel has brought input h to the output
// p = (h + pad - r) / stride, if that is whole. So the inputs fall into stride_h x stride_w CLASSES by their remainder,
// each a convolution of stride 1 with the taps r = first, first + stride, ... that fit: with h = class + stride * i,
//   first = (class + pad) % stride,  p = i + (class + pad) / stride - tap.
// Nothing is multiplied by inserted zeros. A class without taps stores the epilogue of zeros.
//
// A block computes TILE_ROWS x TILE_COLUMNS of one class (blockIdx.y) of one group (blockIdx.z), a warp WARP_ROWS x
// WARP_COLUMNS of these, in fragments of 16 x 8 (mma.sync). It walks along the depth in chunks of 128 bytes (32 tf32 or
// 64 bf16; the fragments of both have the same bytes). Shared memory is a ring of STAGES chunks:
//
//   stage:  row 0                 [ 8 vectors of 16 bytes ]   \
//           ...                                                } TILE_ROWS of x
//           row TILE_ROWS - 1     [ 8 vectors ]               /
//           column 0              [ 8 vectors ]               \
//           ...                                                } TILE_COLUMNS of f
//
// Eight threads copy the 8 vectors of a row (cp.async: 128 bytes side by side in global memory where the depth allows).
// A fragment is read by ldmatrix: 8 lanes name the same vector of 8 rows at a time. Rows are 128 bytes apart, which is
// all the banks once, so vector v of a row lies at place v ^ swizzle(row), which differs among the 8 rows: neither
// writing nor reading meets a bank twice.
//
// The pipeline: while chunk i is multiplied, copies of chunks i + 1 ... i + STAGES - 1 are on their way, those of the last
// started a part at each of the chunk's STEPS; and while the fragments of a step are multiplied, those of the next are
// read, across the one barrier of a chunk too.
//
// Precision: operands stored f32 are rounded to tf32 as fragments (ROUND), operands stored tf32 or bf16 are multiplied
// as they are. With THREE_PRODUCTS each f32 is split, hi = tf32(v), lo = v - hi, and lo*hi + hi*lo + hi*hi is
// summed; because tensor cores truncate when they add, each chunk has sums of its own, added to the totals in ordinary
// registers. All sums are f32.

static_assert(X_SC == 1, "x lies channels last");

constexpr int VECTOR = 16 / sizeof(X_T);             // elements in 16 bytes
constexpr int DEEP = 8 * VECTOR;                     // elements in a chunk
constexpr int ROW_BYTES = 128, STEPS = 4;            // of a chunk; each step of 32 bytes is one mma deep
constexpr int WARPS_DOWN = TILE_ROWS / WARP_ROWS, THREADS = WARPS_DOWN * (TILE_COLUMNS / WARP_COLUMNS) * 32;
constexpr int AT_ONCE = THREADS / 8;                 // rows that are copied at once
constexpr int COPIED_ROWS = TILE_ROWS / AT_ONCE, COPIED_COLUMNS = (TILE_COLUMNS + AT_ONCE - 1) / AT_ONCE;
constexpr int STAGE_BYTES = (TILE_ROWS + TILE_COLUMNS) * ROW_BYTES;
constexpr int DOWN = WARP_ROWS / 16, ACROSS = WARP_COLUMNS / 8;  // fragments of a warp
static_assert(TILE_ROWS % AT_ONCE == 0 && WARP_ROWS % 16 == 0 && WARP_COLUMNS % 16 == 0, "tiles are made of fragments");

// Classes divide the pixels of y by CLASSES_H x CLASSES_W; forward there is one.
constexpr int CLASSES_H = GRADIENT ? STRIDE_H : 1, CLASSES_W = GRADIENT ? STRIDE_W : 1;
constexpr int MAP_H = (Y_H + CLASSES_H - 1) / CLASSES_H, MAP_W = (Y_W + CLASSES_W - 1) / CLASSES_W;
constexpr int SOURCE_STRIDE_H = GRADIENT ? 1 : STRIDE_H, SOURCE_STRIDE_W = GRADIENT ? 1 : STRIDE_W;
constexpr int TAP_STEP_H = GRADIENT ? -DILATION_H : DILATION_H, TAP_STEP_W = GRADIENT ? -DILATION_W : DILATION_W;
constexpr int ROWS = Y_N * MAP_H * MAP_W, COLUMNS = Y_C / GROUPS;
constexpr int COLUMN_TILES = (COLUMNS + TILE_COLUMNS - 1) / TILE_COLUMNS;
constexpr int PITCH = (TAPS_H + CLASSES_H - 1) / CLASSES_H * ((TAPS_W + CLASSES_W - 1) / CLASSES_W) * CHANNELS;

// No tap of any pixel lies outside the map.
constexpr bool POINTS = TAPS_H * TAPS_W * STRIDE_H * STRIDE_W == 1;  // 1 x 1: the gradient is a convolution like it
constexpr bool INSIDE = (!GRADIENT || POINTS) && PAD_H == 0 && PAD_W == 0 &&
                        (Y_H - 1) * STRIDE_H + (TAPS_H - 1) * DILATION_H < X_H &&
                        (Y_W - 1) * STRIDE_W + (TAPS_W - 1) * DILATION_W < X_W;

// Along one axis: how many taps a class has, and the source of its first pixel's first tap.
struct Axis {
  int taps, origin;
};

__device__ __forceinline__ Axis axis(int class_, int taps, int pad, int stride) {
  if (!GRADIENT) return {taps, -pad};
  const int first = (class_ + pad) % stride;
  return {(taps - first + stride - 1) / stride, (class_ + pad) / stride};
}

// The pixel of a row, counted within its class.
struct Pixel {
  int n, h, w;
};

__device__ __forceinline__ Pixel pixel_of(unsigned row) {
  const unsigned line = row / MAP_W;
  return {(int)(line / MAP_H), (int)(line % MAP_H), (int)(row % MAP_W)};
}

// Rows of x are read by fragments 8 after another.
__device__ __forceinline__ int swizzle_row(int row) { return row & 7; }

// A lane shall hold four columns side by side of the result, so that it can store them together. It holds columns
// 2 t and 2 t + 1 of each fragment (t = lane % 4); therefore fragment j of a pair takes columns 4 t + 2 j, 4 t + 2 j + 1
// of 16, and reads rows 0 1 4 5 8 9 12 13 of f (2 3 6 7 ... for j = 1), among which this differs.
__device__ __forceinline__ int swizzle_column(int column) { return (column & 1) | (column >> 1 & 6); }

// --- copying a chunk --------------------------------------------------------------------------------------------------

// The rows that a thread copies: where in x the pixel of the first tap lies, and which taps lie inside the map: bit tap_h
// and bit 16 + tap_w.
struct Sources {
  int offset[COPIED_ROWS];
  unsigned inside[COPIED_ROWS];
};
static_assert(TAPS_H <= 16 && TAPS_W <= 16, "the taps of an axis are 16 bits");

__device__ __forceinline__ Sources sources_of(int first_row, int group, Axis vertical, Axis horizontal) {
  Sources of;
#pragma unroll
  for (int i = 0; i < COPIED_ROWS; i++) {
    const int row = first_row + i * AT_ONCE;
    const Pixel at = pixel_of(row < ROWS ? row : ROWS - 1);  // what is beyond the last row is not stored
    const int h = at.h * SOURCE_STRIDE_H + vertical.origin, w = at.w * SOURCE_STRIDE_W + horizontal.origin;
    of.offset[i] = at.n * (int)X_SN + h * (int)X_SH + w * (int)X_SW + group * CHANNELS;
    of.inside[i] = 0;
#pragma unroll
    for (int tap = 0; tap < TAPS_H; tap++)
      if ((unsigned)(h + tap * TAP_STEP_H) < X_H) of.inside[i] |= 1u << tap;
#pragma unroll
    for (int tap = 0; tap < TAPS_W; tap++)
      if ((unsigned)(w + tap * TAP_STEP_W) < X_W) of.inside[i] |= 0x10000u << tap;
  }
  return of;
}

// One vector of depth, the same for all rows that a thread copies: where it lies in a row of f and, from a row's first
// tap, in x; and the bits of its tap. Beyond the depth there are zeros.
struct Depth {
  int f, x;
  unsigned tap;
  bool there;
};

__device__ __forceinline__ Depth depth_of(int depth, Axis vertical, Axis horizontal) {
  const bool there = depth < vertical.taps * horizontal.taps * CHANNELS;
  const unsigned tap = there ? (unsigned)depth / CHANNELS : 0, channel = (unsigned)depth % CHANNELS;
  const int h = there ? tap / (unsigned)horizontal.taps : 0, w = there ? tap % (unsigned)horizontal.taps : 0;
  return {depth, h * TAP_STEP_H * (int)X_SH + w * TAP_STEP_W * (int)X_SW + (int)channel, 1u << h | 0x10000u << w, there};
}

// Start a part (of STEPS) of this thread's copies: one vector of each of its rows and columns.
__device__ __forceinline__ void copy_part(int part, unsigned char *stage, const Depth &depth, const X_T *x,
                                          const Sources &sources, const X_T *f, int columns) {
  const int row = threadIdx.x / 8, vector = threadIdx.x % 8;
#pragma unroll
  for (int i = part; i < COPIED_ROWS; i += STEPS) {
    const bool valid = depth.there && (INSIDE || (sources.inside[i] & depth.tap) == depth.tap);
    const int at = row + i * AT_ONCE;
    copy_async_16(stage + at * ROW_BYTES + (vector ^ swizzle_row(at)) * 16,
                  x + (valid ? sources.offset[i] + depth.x : 0), valid);
  }
#pragma unroll
  for (int i = part; i < COPIED_COLUMNS; i += STEPS) {
    const int at = row + i * AT_ONCE;
    if (TILE_COLUMNS % AT_ONCE != 0 && at >= TILE_COLUMNS) break;
    const bool valid = depth.there && at < columns;
    copy_async_16(stage + (TILE_ROWS + at) * ROW_BYTES + (vector ^ swizzle_column(at)) * 16,
                  f + (valid ? at * PITCH + depth.f : 0), valid);
  }
}

// --- multiplying a chunk ----------------------------------------------------------------------------------------------

struct Fragments {
  unsigned x[DOWN][4], f[ACROSS][2];
};

// Where a lane reads the first fragment of each operand: its row in the stage, and its vector there.
struct Reader {
  int x_row, x_vector, f_row, f_vector;
};

__device__ __forceinline__ Reader reader_of(int lane, int warp_row, int warp_column) {
  // ldmatrix takes four 8 x 16 byte matrices, the rows of the i-th from lanes 8 i ... 8 i + 7. Of x: rows 0-7 and 8-15
  // of the first 16 bytes, then of the second. Of f: both 16 bytes of one fragment, then of the other of the pair.
  const int x_row = warp_row + lane % 16, half = lane / 16;
  const int f_row = warp_column + lane % 8 / 2 * 4 + half * 2 + lane % 2;
  return {x_row, half ^ swizzle_row(x_row), TILE_ROWS + f_row, lane / 8 % 2 ^ swizzle_column(f_row)};
}

__device__ __forceinline__ void read(Fragments &fragments, const unsigned char *stage, const Reader &reader, int step) {
  const unsigned char *x = stage + reader.x_row * ROW_BYTES + (reader.x_vector ^ 2 * step) * 16;
  const unsigned char *f = stage + reader.f_row * ROW_BYTES + (reader.f_vector ^ 2 * step) * 16;
#pragma unroll
  for (int i = 0; i < DOWN; i++) load_matrix_x4(fragments.x[i], x + i * 16 * ROW_BYTES);
#pragma unroll
  for (int j = 0; j < ACROSS; j += 2) {
    unsigned pair[4];
    load_matrix_x4(pair, f + j * 8 * ROW_BYTES);
    fragments.f[j][0] = pair[0], fragments.f[j][1] = pair[1];
    fragments.f[j + 1][0] = pair[2], fragments.f[j + 1][1] = pair[3];
  }
}

typedef float Sums[DOWN][ACROSS][4];

// v = hi + lo. Of lo, tensor cores take the first bits themselves. Whole-number arithmetic rounds faster than a
// conversion; a NaN that it turns into another number is one in lo. Of infinity lo is NaN, and with it the product: a test for
// it would cost two instructions for each of three.
template <int N>
__device__ __forceinline__ void split(unsigned (&hi)[N], unsigned (&lo)[N], const unsigned (&v)[N]) {
#pragma unroll
  for (int i = 0; i < N; i++) {
    hi[i] = (v[i] + 0x1000u) & 0xffffe000u;
    lo[i] = __float_as_uint(__uint_as_float(v[i]) - __uint_as_float(hi[i]));
  }
}

__device__ __forceinline__ void multiply_three(Sums &sums, const Fragments &fragments) {
  unsigned hi[ACROSS][2], lo[ACROSS][2];
#pragma unroll
  for (int j = 0; j < ACROSS; j++) split(hi[j], lo[j], fragments.f[j]);
#pragma unroll
  for (int i = 0; i < DOWN; i++) {
    unsigned x_hi[4], x_lo[4];
    split(x_hi, x_lo, fragments.x[i]);
#pragma unroll
    for (int j = 0; j < ACROSS; j++) mma_tf32(sums[i][j], x_lo, hi[j]);
#pragma unroll
    for (int j = 0; j < ACROSS; j++) mma_tf32(sums[i][j], x_hi, lo[j]);
#pragma unroll
    for (int j = 0; j < ACROSS; j++) mma_tf32(sums[i][j], x_hi, hi[j]);
  }
}

__device__ __forceinline__ void multiply(Sums &sums, Fragments &fragments) {
  if (THREE_PRODUCTS) return multiply_three(sums, fragments);
#pragma unroll
  for (int i = 0; i < DOWN; i++) {
    if (ROUND) {
#pragma unroll
      for (int e = 0; e < 4; e++) fragments.x[i][e] = to_tf32(__uint_as_float(fragments.x[i][e]));
    }
#pragma unroll
    for (int j = 0; j < ACROSS; j++) {
      if (sizeof(X_T) == 2) mma_bf16(sums[i][j], fragments.x[i], fragments.f[j]);
      else mma_tf32(sums[i][j], fragments.x[i], fragments.f[j]);
    }
  }
}

__device__ __forceinline__ void add(Sums &sums, const Sums &part) {
#pragma unroll
  for (int i = 0; i < DOWN; i++)
#pragma unroll
    for (int j = 0; j < ACROSS; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) sums[i][j][e] += part[i][j][e];
}

// --- storing ----------------------------------------------------------------------------------------------------------

__device__ __forceinline__ void put4(f32_t *y, const float (&v)[4]) {
  *(float4 *)y = make_float4(v[0], v[1], v[2], v[3]);
}
__device__ __forceinline__ void put4(tf32_t *y, const float (&v)[4]) {
  *(float4 *)y = make_float4(round_tf32(v[0]), round_tf32(v[1]), round_tf32(v[2]), round_tf32(v[3]));
}
__device__ __forceinline__ void put4(bf16_t *y, const float (&v)[4]) {
  *(uint2 *)y = make_uint2(pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3]));
}

// Four columns of a lane's result lie side by side and begin at a multiple of four.
constexpr bool FOUR = Y_SC == 1 && Y_C % 4 == 0 && COLUMNS % 4 == 0;

// --- the kernel -------------------------------------------------------------------------------------------------------

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
    conv_mma(const X_T *__restrict__ x, const X_T *__restrict__ f, Y_T *y EPILOGUE_PARAMETERS) {
  extern __shared__ unsigned char ring[];
  const int class_h = blockIdx.y / CLASSES_W, class_w = blockIdx.y % CLASSES_W, group = blockIdx.z;
  const int first_row = blockIdx.x / COLUMN_TILES * TILE_ROWS, first_column = blockIdx.x % COLUMN_TILES * TILE_COLUMNS;
  const Axis vertical = axis(class_h, TAPS_H, PAD_H, STRIDE_H), horizontal = axis(class_w, TAPS_W, PAD_W, STRIDE_W);
  const int chunks = (vertical.taps * horizontal.taps * CHANNELS + DEEP - 1) / DEEP;

  const Sources sources = sources_of(first_row + threadIdx.x / 8, group, vertical, horizontal);
  f += ((index_t)(blockIdx.y * GROUPS + group) * COLUMNS + first_column) * PITCH;
  const auto depth = [&](int chunk) {
    return depth_of(chunk * DEEP + threadIdx.x % 8 * VECTOR, vertical, horizontal);
  };
  const auto copy = [&](int part, int slot, const Depth &at) {
    copy_part(part, ring + slot * STAGE_BYTES, at, x, sources, f, COLUMNS - first_column);
  };

  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int warp_row = warp % WARPS_DOWN * WARP_ROWS, warp_column = warp / WARPS_DOWN * WARP_COLUMNS;
  const Reader reader = reader_of(lane, warp_row, warp_column);

  // Zeros are copied for chunks beyond the depth.
  for (int chunk = 0; chunk < STAGES - 1; chunk++) {
    const Depth at = depth(chunk);
#pragma unroll
    for (int part = 0; part < STEPS; part++) copy(part, chunk, at);
    copy_async_commit();
  }
  const auto arrived = [&]() {
    copy_async_wait<STAGES - 2>();  // this thread's copies of the next chunk have arrived,
    __syncthreads();                // everybody's have, and nobody reads the last chunk any more
  };
  arrived();
  Fragments fragments[2];
  read(fragments[0], ring, reader, 0);
  Sums sums = {};
  int slot = 0, free = STAGES - 1;  // of the ring: what is multiplied, and what was multiplied last
  for (int chunk = 0; chunk < chunks; chunk++) {
    const Depth ahead = depth(chunk + STAGES - 1);
    Sums part = {};  // of the chunk, with three products
#pragma unroll
    for (int step = 0; step < STEPS; step++) {
      copy(step, free, ahead);
      if (step == STEPS - 1) {
        copy_async_commit();
        free = slot;
        slot = slot + 1 < STAGES ? slot + 1 : 0;
        arrived();
      }
      read(fragments[(step + 1) % 2], ring + slot * STAGE_BYTES, reader, (step + 1) % STEPS);
      multiply(THREE_PRODUCTS ? part : sums, fragments[step % 2]);
    }
    if (THREE_PRODUCTS) add(sums, part);
  }
  copy_async_wait<0>();  // of chunks beyond the depth: nothing is on its way into memory that the block gives back

  // A lane has rows lane / 4 and 8 more of each fragment, and four columns of each pair of fragments.
#pragma unroll
  for (int i = 0; i < DOWN * 2; i++) {
    const int row = first_row + warp_row + i * 8 + lane / 4;
    const Pixel at = pixel_of(row);
    const int h = at.h * CLASSES_H + class_h, w = at.w * CLASSES_W + class_w;
    if (row >= ROWS || h >= Y_H || w >= Y_W) continue;
    Y_T *pixel = y + (at.n * Y_SN + h * Y_SH + w * Y_SW);
#pragma unroll
    for (int j = 0; j < ACROSS; j += 2) {
      const int column = first_column + warp_column + j * 8 + lane % 4 * 4, c = group * COLUMNS + column;
      const float sum[4] = {sums[i / 2][j][i % 2 * 2], sums[i / 2][j][i % 2 * 2 + 1],
                            sums[i / 2][j + 1][i % 2 * 2], sums[i / 2][j + 1][i % 2 * 2 + 1]};
      if (column >= COLUMNS) continue;
      if (FOUR) {
        const float v[4] = {EPILOGUE(sum[0], at.n, c, h, w), EPILOGUE(sum[1], at.n, c + 1, h, w),
                            EPILOGUE(sum[2], at.n, c + 2, h, w), EPILOGUE(sum[3], at.n, c + 3, h, w)};
        put4(pixel + c, v);
      } else {
#pragma unroll
        for (int e = 0; e < 4; e++)
          if (column + e < COLUMNS) put(pixel + (c + e) * Y_SC, EPILOGUE(sum[e], at.n, c + e, h, w));
      }
    }
  }
}
