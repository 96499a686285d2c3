// Convolution, or a residue class of its input gradient, as a sum over taps (i, j) and the DEPTH channels of a group:
//
//   y[n, g TARGETS + k, FIRST_H + STEP_H p, FIRST_W + STEP_W q] = epilogue of the sum over i, j, c of
//     x[n, g DEPTH + c, STRIDE_H p + ORIGIN_H + ADVANCE_H i, STRIDE_W q + ORIGIN_W + ADVANCE_W j] f[g, k, i, j, c]
//
// where x is 0 outside. f lies as [g][k / BLOCK][i][j][c][k % BLOCK] (direct_filters.c). A tile of WIDE or NARROW
// neighbouring pixels x BLOCK channels is summed in registers. Rows of x that are padding are skipped.
//
// Threads share out images x groups x chunks of `lines` rows x `parts` of the blocks; each has a band of `band` floats.

enum {
  MOST = WIDE > NARROW ? WIDE : NARROW,
  BLOCKS = (TARGETS + BLOCK - 1) / BLOCK,
  IS_PLAIN = Y_SC == 1,  // a full block is summed where it belongs
};

INLINE void tile(const int pixels, const float *x, const float *f, float *y, index_t pitch, int rows) {
  vec sum[MOST][VECTORS];
  UNROLL for (int q = 0; q < pixels; q++)
    UNROLL for (int v = 0; v < VECTORS; v++) sum[q][v] = (vec){0};
  for (int i = 0; i < rows; i++, x += ADVANCE_H * LINE)
    for (int j = 0; j < RUNS; j++) {
      const float *p = x + j * RUN_STEP;
      for (int c = 0; c < RUN; c++, p++, f += BLOCK) {
        vec filter[VECTORS];
        FORGET(p);
        UNROLL for (int v = 0; v < VECTORS; v++) filter[v] = LOAD(f + v * W);
        UNROLL for (int q = 0; q < pixels; q++)
          UNROLL for (int v = 0; v < VECTORS; v++) sum[q][v] += p[(index_t)q * STRIDE_W * PIXEL] * filter[v];
      }
    }
  UNROLL for (int q = 0; q < pixels; q++)
    UNROLL for (int v = 0; v < VECTORS; v++) STORE(y + q * pitch + v * W, sum[q][v]);
}

KERNEL void wide(const float *x, const float *f, float *y, index_t pitch, int rows) {
  tile(WIDE, x, f, y, pitch, rows);
}
KERNEL void narrow(const float *x, const float *f, float *y, index_t pitch, int rows) {
  tile(NARROW, x, f, y, pitch, rows);
}

void direct(int n, const X_T *x, const float *filters, Y_T *y, float *bands, index_t band, int lines,
            int parts EPILOGUE_PARAMETERS) {
  const int chunks = (COUNT_H + lines - 1) / lines;
#pragma omp parallel for collapse(4) schedule(dynamic)
  for (int image = 0; image < n; image++)
    for (int g = 0; g < GROUPS; g++)
      for (int chunk = 0; chunk < chunks; chunk++)
        for (int part = 0; part < parts; part++) {
          const int first = chunk * lines, last = least(first + lines, COUNT_H);
          const int top = first * STRIDE_H + ORIGIN_H;
          const int bottom = (last - 1) * STRIDE_H + ORIGIN_H + (TAPS_H - 1) * ADVANCE_H + 1;
          const float *from = source(x + (index_t)image * X_SN + (index_t)g * DEPTH * X_SC,
                                     bands + omp_get_thread_num() * band, top, bottom);
          for (int b = BLOCKS * part / parts; b < BLOCKS * (part + 1) / parts; b++) {
            const float *block = filters + ((index_t)g * BLOCKS + b) * TAPS_H * TAPS_W * DEPTH * BLOCK;
            const int count = least(BLOCK, TARGETS - b * BLOCK), k = g * TARGETS + b * BLOCK;
            const int in_place = IS_PLAIN && count == BLOCK;
            for (int p = first; p < last; p++) {
              const int row = p * STRIDE_H + ORIGIN_H, h = FIRST_H + p * STEP_H;
              const int begin = most(0, quotient_up(-row, ADVANCE_H));
              const int end = least(TAPS_H, quotient_up(X_H - row, ADVANCE_H));
              const float *line = from + (row - top + begin * ADVANCE_H) * LINE;
              const float *f = block + (index_t)begin * TAPS_W * DEPTH * BLOCK;
              float buffer[MOST * BLOCK];
              for (int t = 0, q = 0; t < TILES; t++) {
                const int pixels = t < TILES_WIDE ? WIDE : NARROW, w = FIRST_W + q * STEP_W;
                Y_T *to = y + (index_t)image * Y_SN + (index_t)k * Y_SC + (index_t)h * Y_SH + (index_t)w * Y_SW;
                float *const sums = in_place ? to : buffer;
                const index_t pitch = in_place ? (index_t)STEP_W * Y_SW : BLOCK;
                (pixels == WIDE ? wide : narrow)(line + (index_t)q * STRIDE_W * PIXEL, f, sums, pitch, end - begin);
                for (int i = 0; i < pixels; i++) EPILOGUE_CHUNK(sums + i * pitch, count, image, k, h, w + i * STEP_W);
                if (!in_place)
                  for (int i = 0; i < pixels; i++)
                    for (int c = 0; c < count; c++)
                      to[(index_t)i * STEP_W * Y_SW + (index_t)c * Y_SC] = buffer[i * BLOCK + c];
                q += pixels;
              }
            }
          }
        }
}
