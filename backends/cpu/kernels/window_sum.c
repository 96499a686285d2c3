// Pooling by sums: y[n, c, oh, ow] = whole(sum of term(x) over the cells of the window that lie in the map), row by
// row. Threads take rows of y, of CHUNK channels each.

enum { CHUNK = Y_C < 256 ? Y_C : 256 };  // channels at a time, so that their sums stay in the nearest cache

// total += the terms of `columns` cells.
INLINE void add(float *restrict total, const X_T *restrict from, int count, int columns) {
  for (int c = 0; c < count; c++) {
    float sum = 0.0f;
    UNROLL for (int j = 0; j < columns; j++) sum += term(get(from + c * (index_t)X_SC + j * (index_t)X_SW));
    total[c] += sum;
  }
}

// The same of any cells of a row; small windows that are whole are unrolled, and long rows summed by themselves.
INLINE void add_row(float *restrict total, const X_T *restrict from, int count, int first, int end) {
  if (SIZE_W <= 8) {
    if (first == 0 && end == SIZE_W) return add(total, from, count, SIZE_W);
    for (int j = first; j < end; j++) add(total, from + j * (index_t)X_SW, count, 1);
    return;
  }
  float row[CHUNK];
  for (int c = 0; c < count; c++) row[c] = 0.0f;
  for (int j = first; j < end; j++) add(row, from + j * (index_t)X_SW, count, 1);
  for (int c = 0; c < count; c++) total[c] += row[c];
}

void window_sum(int n, const X_T *restrict x, Y_T *restrict y EPILOGUE_PARAMETERS) {
#pragma omp parallel for collapse(3) schedule(static)
  for (int i = 0; i < n; i++)
    for (int oh = 0; oh < POOLED_H; oh++)
      for (int c = 0; c < Y_C; c += CHUNK) {
        const int count = (int)least(CHUNK, Y_C - c), h = oh * STRIDE_H - TOP, end = end_cell(h, SIZE_H, MAP_H);
        const X_T *maps = x + AT(X, i, c, 0, 0);
        for (int ow = 0; ow < POOLED_W; ow++) {
          const int w = ow * STRIDE_W - LEFT, left = first_cell(w), right = end_cell(w, SIZE_W, MAP_W);
          float sum[CHUNK];
          for (int k = 0; k < count; k++) sum[k] = 0.0f;
          for (int row = first_cell(h); row < end; row++)
            add_row(sum, maps + AT(X, 0, 0, h + row, w), count, left, right);
          for (int k = 0; k < count; k++) sum[k] = whole(sum[k], oh, ow);
          EPILOGUE_CHUNK(sum, count, i, c, oh, ow);
          put_channels(y + AT(Y, i, c, oh, ow), Y_SC, sum, count);
        }
      }
}
