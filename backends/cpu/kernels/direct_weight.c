// The filter gradient of a convolution, summed over the pixels (p, q) of all images:
//
//   w[g TARGETS + k, c, i, j] = sum over n, p, q of
//     grad[n, g TARGETS + k, p, q] x[n, g DEPTH + c, STRIDE_H p + ORIGIN_H + ADVANCE_H i, STRIDE_W q + ORIGIN_W + ADVANCE_W j]
//
// A tile of WIDE or NARROW neighbours (j, c) of a row of taps x BLOCK kernels is summed in registers over some rows of an
// image, then added to sums[split][g][k / BLOCK][i][j][c][k % BLOCK], which direct_sums.c adds up. So no long chain of
// additions rounds them all. Rows of x that are padding are skipped.
//
// Threads share out `splits` of all (images x chunks of `lines` rows) x groups x `parts` of the blocks. Each has `band`
// floats: a band of x, and before it one of the gradient where its channels do not fill the blocks or do not lie last.

enum { MOST = WIDE > NARROW ? WIDE : NARROW, DEEP = TAPS_H * TAPS_W * DEPTH, GRAD_IN_PLACE = G_SC == 1 && TARGETS % BLOCK == 0 };
#define GRAD_PIXEL ((index_t)(GRAD_IN_PLACE ? G_SW : BLOCK))
#define GRAD_LINE (GRAD_IN_PLACE ? (index_t)G_SH : (index_t)G_W * BLOCK)

INLINE void tile(const int taps, const float *x, const float *grad, float *sums, int rows) {
  vec sum[MOST][VECTORS];
  UNROLL for (int r = 0; r < taps; r++)
    UNROLL for (int v = 0; v < VECTORS; v++) sum[r][v] = (vec){0};
  for (int p = 0; p < rows; p++, x += STRIDE_H * LINE, grad += GRAD_LINE) {
    const float *from = x, *pixel = grad;
    for (int q = 0; q < G_W; q++, from += STRIDE_W * PIXEL, pixel += GRAD_PIXEL) {
      vec kernels[VECTORS];
      FORGET(from);
      UNROLL for (int v = 0; v < VECTORS; v++) kernels[v] = LOAD(pixel + v * W);
      UNROLL for (int r = 0; r < taps; r++)
        UNROLL for (int v = 0; v < VECTORS; v++) sum[r][v] += from[r] * kernels[v];
    }
  }
  UNROLL for (int r = 0; r < taps; r++)
    UNROLL for (int v = 0; v < VECTORS; v++) STORE(sums + r * BLOCK + v * W, LOAD(sums + r * BLOCK + v * W) + sum[r][v]);
}

KERNEL void wide(const float *x, const float *grad, float *sums, int rows) { tile(WIDE, x, grad, sums, rows); }
KERNEL void narrow(const float *x, const float *grad, float *sums, int rows) { tile(NARROW, x, grad, sums, rows); }

// Rows [first, last) of the gradient of one block of kernels, BLOCK floats a pixel.
INLINE const float *gradient(const G_T *image, float *band, int first, int last, int count) {
  if (GRAD_IN_PLACE) return image + (index_t)first * G_SH;
  for (int p = first; p < last; p++)
    for (int q = 0; q < G_W; q++) {
      float *to = band + ((index_t)(p - first) * G_W + q) * BLOCK;
      for (int k = 0; k < count; k++) to[k] = get(image + (index_t)p * G_SH + (index_t)q * G_SW + (index_t)k * G_SC);
      for (int k = count; k < BLOCK; k++) to[k] = 0.0f;
    }
  return band;
}

void direct_weight(int n, const G_T *grad, const X_T *x, float *all, float *bands, index_t band, int lines, int splits,
                   int parts) {
  const int chunks = (G_H + lines - 1) / lines;
#pragma omp parallel for collapse(3) schedule(dynamic)
  for (int split = 0; split < splits; split++)
    for (int g = 0; g < GROUPS; g++)
      for (int part = 0; part < parts; part++) {
        const int begin = BLOCKS * part / parts, end = BLOCKS * (part + 1) / parts;
        const index_t units = (index_t)n * chunks;
        float *const sums = all + ((index_t)split * GROUPS + g) * BLOCKS * DEEP * BLOCK;
        float *const own = bands + omp_get_thread_num() * band;
        memset(sums + (index_t)begin * DEEP * BLOCK, 0, (size_t)(end - begin) * DEEP * BLOCK * sizeof(float));
        for (index_t unit = units * split / splits; unit < units * (split + 1) / splits; unit++) {
          const int first = (int)(unit % chunks) * lines, last = least(first + lines, G_H);
          const int top = first * STRIDE_H + ORIGIN_H, bottom = (last - 1) * STRIDE_H + ORIGIN_H + (TAPS_H - 1) * ADVANCE_H + 1;
          const index_t image = unit / chunks;
          const float *from = source(x + image * X_SN + (index_t)g * DEPTH * X_SC,
                                     own + (GRAD_IN_PLACE ? 0 : lines * GRAD_LINE), top, bottom);
          for (int b = begin; b < end; b++) {
            const G_T *maps = grad + image * G_SN + (index_t)(g * TARGETS + b * BLOCK) * G_SC;
            const float *pixels = gradient(maps, own, first, last, least(BLOCK, TARGETS - b * BLOCK));
            float *to = sums + (index_t)b * DEEP * BLOCK;
            for (int i = 0; i < TAPS_H; i++) {
              const int shift = ORIGIN_H + i * ADVANCE_H;
              const int p = most(first, quotient_up(-shift, STRIDE_H));
              const int rows = least(last, quotient_up(X_H - shift, STRIDE_H)) - p;
              const float *line = from + (index_t)(p * STRIDE_H + shift - top) * LINE;
              for (int j = 0; j < RUNS; j++)
                for (int t = 0, r = 0; t < TILES; t++) {
                  const int taps = t < TILES_WIDE ? WIDE : NARROW;
                  (taps == WIDE ? wide : narrow)(line + j * RUN_STEP + r, pixels + (p - first) * GRAD_LINE, to, rows);
                  to += taps * BLOCK, r += taps;
                }
            }
          }
        }
      }
}
