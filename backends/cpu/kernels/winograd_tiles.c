// What the Winograd kernels share: transforms, windows of maps, products. Maps are cut into tiles of M x M results,
// which read windows of A x A cells, A = M + R - 1 (R taps); of POINTS = A * A products each. Transformed data lie as
// [point][tile][channels], vectors side by side along channels; tiles are counted over the images of a batch.

#define POINTS (A * A)

// Floats of a row of so many channels: vectors of an odd number, as are those from point to point, so that what lies
// below one another falls into different sets of a cache.
INLINE index_t spread(int channels) { return ((channels + W - 1) / W | 1) * W; }

// `name`_transform: y = matrix x matrix^T, where x is IN x IN vectors, `xi` from row to row, `xj` from column to
// column, and y is OUT x OUT vectors, `point` from one to the next. The generated `name`_line does a row or a column.
#define TRANSFORM(name, IN, OUT)                                                                            \
  KERNEL void name##_transform(const float *x, index_t xi, index_t xj, float *y, index_t point) {           \
    vec half[OUT][IN];                                                                                      \
    UNROLL for (int j = 0; j < IN; j++) {                                                                   \
      vec column[IN], made[OUT];                                                                            \
      UNROLL for (int i = 0; i < IN; i++) column[i] = LOAD(x + i * xi + j * xj);                            \
      name##_line(column, made);                                                                            \
      UNROLL for (int i = 0; i < OUT; i++) half[i][j] = made[i];                                            \
    }                                                                                                       \
    UNROLL for (int i = 0; i < OUT; i++) {                                                                  \
      vec made[OUT];                                                                                        \
      name##_line(half[i], made);                                                                           \
      UNROLL for (int j = 0; j < OUT; j++) STORE(y + (i * OUT + j) * point, made[j]);                       \
    }                                                                                                       \
  }
typedef void transform_t(const float *, index_t, index_t, float *, index_t);

// Maps of h x w; the strides of image, channel, row and column, in elements.
typedef struct {
  int h, w;
  index_t sn, sc, sh, sw;
} maps_t;

// Tiles of a batch: `down` x `across` of them to a map.
typedef struct {
  int down, across;
} grid_t;

INLINE grid_t grid_of(maps_t results) { return (grid_t){(results.h + M - 1) / M, (results.w + M - 1) / M}; }

// Up to W channels of a cell, zeros after them.
INLINE vec fetched(const float *x, index_t sc, int count) {
  if (sc == 1 && count >= W) return LOAD(x);
  float cell[W] = {0};
  for (int c = 0; c < W && c < count; c++) cell[c] = x[c * sc];
  return LOAD(cell);
}

// The window of SIZE x SIZE cells of an image whose first is (top, left), which may lie outside, transformed into a row
// of `to`, 2 W channels of it `pitch` after those before. What lies outside is zero.
INLINE void window(const int SIZE, transform_t *transform, const float *x, maps_t at, int channels, int top, int left,
                   float *to, index_t pitch, index_t point) {
  const int i0 = most(0, -top), i1 = least(SIZE, at.h - top), j0 = most(0, -left), j1 = least(SIZE, at.w - left);
  const int inside = i0 == 0 && i1 == SIZE && j0 == 0 && j1 == SIZE && at.sc == 1;
  float cells[A][A][W];
  memset(cells, 0, sizeof cells);
  for (int c = 0; c < channels; c += W) {
    float *made = to + c / (2 * W) * pitch + c % (2 * W);
    if (inside && c + W <= channels) {
      transform(x + top * at.sh + left * at.sw + c, at.sh, at.sw, made, point);
      continue;
    }
    for (int i = i0; i < i1; i++)
      for (int j = j0; j < j1; j++)
        STORE(cells[i][j], fetched(x + (top + i) * at.sh + (left + j) * at.sw + c * at.sc, at.sc, channels - c));
    transform(cells[0][0], A * W, W, made, point);
  }
}

// --- products --------------------------------------------------------------------------------------------------------

#define LONG (3 * STEP)

// BLOCKS (1 or 2) vectors of ROWS (at most LONG) rows of out (`ostride` apart): out[i] = the sum over `depth` of
// a[i][k] b[k], where b[k] is `bstride` after b[k - 1], and a's rows and steps are strides apart. `add` to what is
// there.
INLINE void product(const int ROWS, const int BLOCKS, int depth, const float *a, index_t row, index_t step,
                    const float *b, index_t bstride, float *out, index_t ostride, int add) {
  vec sum[LONG][2];
  UNROLL for (int i = 0; i < ROWS; i++)
    UNROLL for (int j = 0; j < BLOCKS; j++) sum[i][j] = (vec){0};
  for (int k = 0; k < depth; k++, a += step, b += bstride) {
    vec right[2];
    UNROLL for (int j = 0; j < BLOCKS; j++) right[j] = LOAD(b + j * W);
    UNROLL for (int i = 0; i < ROWS; i++) {
      const float left = a[i * row];
      UNROLL for (int j = 0; j < BLOCKS; j++) sum[i][j] += left * right[j];
    }
  }
  UNROLL for (int i = 0; i < ROWS; i++)
    UNROLL for (int j = 0; j < BLOCKS; j++) {
      float *to = out + i * ostride + j * W;
      if (add) sum[i][j] += LOAD(to);
      STORE(to, sum[i][j]);
    }
}

// `rows` rows of BLOCKS vectors of out, in panels of LONG that are summed in registers: from rows of a that are
// `apart`, or, in a gradient of filters, from columns of a, whose rows are. Up to STEP - 1 rows more are read and
// written.
#define PANEL(name, ROWS, BLOCKS)                                                                                     \
  KERNEL void name(int depth, const float *a, index_t apart, const float *b, float *out,              \
                   index_t oapart, int add) {                                                                         \
    product(ROWS, BLOCKS, depth, a, WEIGHT ? 1 : apart, WEIGHT ? apart : 1, b, WEIGHT ? 2 * W : BLOCKS * W, out,      \
            WEIGHT ? BLOCKS * W : oapart, WEIGHT && add);                                                             \
  }
#define PANELS(name, BLOCKS)                                                                                          \
  PANEL(long_##BLOCKS, LONG, BLOCKS)                                                                                  \
  PANEL(middle_##BLOCKS, 2 * STEP, BLOCKS)                                                                            \
  PANEL(short_##BLOCKS, STEP, BLOCKS)                                                                                 \
  INLINE void name(int rows, int depth, const float *a, index_t apart, const float *b, float *out,    \
                   index_t oapart, int add) {                                                                         \
    const index_t next = WEIGHT ? 1 : apart;                                                                          \
    int i = 0;                                                                                                        \
    for (; rows - i > 2 * STEP; i += LONG)                                                                            \
      long_##BLOCKS(depth, a + i * next, apart, b, out + i * oapart, oapart, add);                            \
    if (rows - i > STEP)                                                                                              \
      middle_##BLOCKS(depth, a + i * next, apart, b, out + i * oapart, oapart, add);                          \
    else if (rows > i)                                                                                                \
      short_##BLOCKS(depth, a + i * next, apart, b, out + i * oapart, oapart, add);                           \
  }
PANELS(panels_2, 2)
PANELS(panels_1, 1)
