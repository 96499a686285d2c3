// Normalisation across maps (kernels/across.c), then max pooling (kernels/largest.c): the normalised map is never
// written. Threads take bands of rows of y. Scratch: of each thread, the SIZE_H last normalised rows, row h at h %
// SIZE_H, each of ROW_W columns from -LEFT on, -infinity beyond the map.

enum { LINE = ROW_W * X_C };

INLINE void normalize_row(float *restrict line, float *restrict squares, const X_T *restrict row) {
  for (int w = 0; w < MAP_W; w++) normalize(line + (LEFT + w) * X_C, squares, row + AT(X, 0, 0, 0, w), X_SC);
}

INLINE void pool_row(const float *restrict ring, int i, int oh, Y_T *restrict y ARGMAX_PARAMETER) {
  const int h = oh * STRIDE_H - TOP, first = first_cell(h), end = end_cell(h, SIZE_H, MAP_H);
  for (int ow = 0; ow < POOLED_W; ow++)
    for (int c = 0; c < X_C; c += CHUNK) {
      const int count = (int)least(CHUNK, X_C - c), w = ow * STRIDE_W;
      float best[CHUNK];
      int cells[CHUNK];
      start(best, cells, count, first * SIZE_W + first_cell(w - LEFT));
      for (int row = first; row < end; row++)
        compare_row(best, cells, ring + (h + row) % SIZE_H * LINE + w * X_C + c, 1, X_C, count, 0, SIZE_W,
                    row * SIZE_W);
      put_channels(y + AT(Y, i, c, oh, ow), Y_SC, best, count);
      STORE_ARGMAX(cells, count, i, c, oh, ow);
    }
}

void lrn_maxpool(int n, float *restrict scratch, const X_T *restrict x, Y_T *restrict y ARGMAX_PARAMETER) {
#pragma omp parallel
  {
    float squares[BESIDE] = {0}, *ring = scratch + omp_get_thread_num() * (index_t)SCRATCH;
    for (int k = 0; k < SIZE_H * LINE; k++) ring[k] = -INFINITY;
    index_t row, end;
    band((index_t)n * POOLED_H, &row, &end);
    for (int made = 0, oh = (int)(row % POOLED_H), i = (int)(row / POOLED_H); row < end; row++) {
      const int h = oh * STRIDE_H - TOP;
      for (made = (int)most(made, most(h, 0)); made < least(h + SIZE_H, MAP_H); made++)
        normalize_row(ring + made % SIZE_H * LINE, squares, x + AT(X, i, 0, made, 0));
      pool_row(ring, i, oh, y ARGMAX);
      if (++oh == POOLED_H) oh = made = 0, i++;
    }
  }
}
