// The innermost part of a matrix product: a tile of ROWS x BLOCK sums in registers.
//
//   out[i][j] (+)= sum over k of a[i a_row + k a_k] b[k BLOCK + j]
//
// b is a panel: BLOCK columns, packed row by row. ROWS and VECTORS are such that the sums, a row of b and an element of
// a fit the registers.

#define BLOCK (VECTORS * W)
#define PART (ROWS / 3)  // rows of the tile that is next smaller; what is left is done one by one

INLINE void sums(const int rows, int count, const float *restrict a, index_t a_row, index_t a_k,
                 const float *restrict b, float *restrict out, index_t out_row, int add) {
  vec sum[ROWS][VECTORS];
  UNROLL for (int i = 0; i < rows; i++) UNROLL for (int v = 0; v < VECTORS; v++) sum[i][v] = (vec){0};
  for (int k = 0; k < count; k++, a += a_k, b += BLOCK) {
    vec row[VECTORS];
    UNROLL for (int v = 0; v < VECTORS; v++) row[v] = LOAD(b + v * W);
    UNROLL for (int i = 0; i < rows; i++) {
      const float s = a[i * a_row];
      UNROLL for (int v = 0; v < VECTORS; v++) sum[i][v] += s * row[v];
    }
  }
  if (add)
    UNROLL for (int i = 0; i < rows; i++) UNROLL for (int v = 0; v < VECTORS; v++)
      sum[i][v] += LOAD(out + i * out_row + v * W);
  UNROLL for (int i = 0; i < rows; i++) UNROLL for (int v = 0; v < VECTORS; v++)
    STORE(out + i * out_row + v * W, sum[i][v]);
}

KERNEL void whole_tile(int count, const float *a, index_t a_row, index_t a_k, const float *b, float *out,
                       index_t out_row, int add) {
  sums(ROWS, count, a, a_row, a_k, b, out, out_row, add);
}
KERNEL void part_tile(int count, const float *a, index_t a_row, index_t a_k, const float *b, float *out,
                      index_t out_row, int add) {
  sums(PART, count, a, a_row, a_k, b, out, out_row, add);
}
KERNEL void one_row(int count, const float *a, index_t a_row, index_t a_k, const float *b, float *out,
                    index_t out_row, int add) {
  sums(1, count, a, a_row, a_k, b, out, out_row, add);
}

// Up to ROWS rows.
INLINE void tile(int rows, int count, const float *a, index_t a_row, index_t a_k, const float *b, float *out,
                 index_t out_row, int add) {
  if (rows == ROWS) {
    whole_tile(count, a, a_row, a_k, b, out, out_row, add);
    return;
  }
  int i = 0;
  for (; i + PART <= rows; i += PART) part_tile(count, a + i * a_row, a_row, a_k, b, out + i * out_row, out_row, add);
  for (; i < rows; i++) one_row(count, a + i * a_row, a_row, a_k, b, out + i * out_row, out_row, add);
}

// The same where only the first `columns` of a panel's are there.
INLINE void tile_of(int columns, int rows, int count, const float *a, index_t a_row, index_t a_k, const float *b,
                    float *out, index_t out_row, int add) {
  if (columns >= BLOCK) {
    tile(rows, count, a, a_row, a_k, b, out, out_row, add);
    return;
  }
  float sum[ROWS][BLOCK];
  tile(rows, count, a, a_row, a_k, b, sum[0], BLOCK, 0);
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < columns; j++) out[i * out_row + j] = (add ? out[i * out_row + j] : 0.0f) + sum[i][j];
}

// Columns [from, from + BLOCK) of `count` rows of x as a panel; zero beyond the last column.
INLINE void pack(int count, const float *restrict x, index_t x_row, int from, int columns, float *restrict panel) {
  if (from + BLOCK <= columns)
    for (int k = 0; k < count; k++)
      UNROLL for (int v = 0; v < VECTORS; v++) STORE(panel + k * BLOCK + v * W, LOAD(x + k * x_row + from + v * W));
  else
    for (int k = 0; k < count; k++)
      for (int j = 0; j < BLOCK; j++) panel[k * BLOCK + j] = from + j < columns ? x[k * x_row + from + j] : 0.0f;
}

// The transposed: rows [from, from + BLOCK) of x, of which there are `rows`, as columns of a panel; zero beyond.
INLINE void pack_transposed(int count, const float *restrict x, index_t x_row, int from, int rows,
                            float *restrict panel) {
  const int there = (int)least(BLOCK, rows - from);
  for (int k0 = 0; k0 < count; k0 += 16) {
    const int k1 = (int)least(k0 + 16, count);
    for (int j = 0; j < BLOCK; j++)
      for (int k = k0; k < k1; k++) panel[k * BLOCK + j] = j < there ? x[(from + j) * x_row + k] : 0.0f;
  }
}

// The share of `count` things that this thread has.
INLINE void share(index_t count, index_t *from, index_t *to) {
  const index_t threads = omp_get_num_threads(), thread = omp_get_thread_num();
  *from = count * thread / threads;
  *to = count * (thread + 1) / threads;
}
