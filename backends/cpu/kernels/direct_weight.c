// The filter gradient of a convolution, summed over the pixels (p, q) of all images:
//
//   w[g targets + k, c, i, j] = sum over n, p, q of grad[n, g targets + k, p, q]
//     x[n, g DEPTH + c, STRIDE_H p + ORIGIN_H + ADVANCE_H i, STRIDE_W q + ORIGIN_W + ADVANCE_W j]
//
// A tile of WIDE or NARROW neighbours (j, c) of a row of taps x BLOCK kernels is summed in registers over some rows of
// an image, then added to sums[split][g][k / BLOCK][i][j][c][k % BLOCK], which direct_sums.c adds up. So no long chain
// of additions rounds them all. Rows of x that are padding are skipped.
//
// Threads share out `splits` of all (images x chunks of `lines` rows) x groups x `parts` of the blocks. Each has `band`
// floats: a band of x, and before it one of the gradient where its channels do not fill the blocks or do not lie last
// (GRAD_IN_PLACE otherwise). The gradient's strides and its kernels are arguments: layers on the same maps share code.

enum { MOST = WIDE > NARROW ? WIDE : NARROW, DEEP = TAPS_H * TAPS_W * DEPTH };

typedef struct {
  index_t image, kernel, line, pixel;
} Steps;

INLINE void tile(const int taps, const float *x, const float *grad, Steps step, float *sums, int rows) {
  vec sum[MOST][VECTORS];
  UNROLL for (int r = 0; r < taps; r++)
    UNROLL for (int v = 0; v < VECTORS; v++) sum[r][v] = (vec){0};
  for (int p = 0; p < rows; p++, x += STRIDE_H * LINE, grad += step.line) {
    const float *from = x, *pixel = grad;
    for (int q = 0; q < COUNT_W; q++, from += STRIDE_W * PIXEL, pixel += step.pixel) {
      vec kernels[VECTORS];
      FORGET(from);
      UNROLL for (int v = 0; v < VECTORS; v++) kernels[v] = LOAD(pixel + v * W);
      UNROLL for (int r = 0; r < taps; r++)
        UNROLL for (int v = 0; v < VECTORS; v++) sum[r][v] += from[r] * kernels[v];
    }
  }
  UNROLL for (int r = 0; r < taps; r++, sums += BLOCK)
    UNROLL for (int v = 0; v < VECTORS; v++) STORE(sums + v * W, LOAD(sums + v * W) + sum[r][v]);
}

KERNEL void wide(const float *x, const float *grad, Steps step, float *sums, int rows) {
  tile(WIDE, x, grad, step, sums, rows);
}
KERNEL void narrow(const float *x, const float *grad, Steps step, float *sums, int rows) {
  tile(NARROW, x, grad, step, sums, rows);
}

// Rows [first, last) of the gradient of `count` kernels side by side, BLOCK floats a pixel.
INLINE void gather(float *to, const float *image, Steps from, int first, int last, int count) {
  for (int p = first; p < last; p++)
    for (int q = 0; q < COUNT_W; q++, to += BLOCK) {
      for (int k = 0; k < count; k++) to[k] = image[p * from.line + q * from.pixel + k * from.kernel];
      for (int k = count; k < BLOCK; k++) to[k] = 0.0f;
    }
}

void direct_weight(int n, int groups, int targets, const float *grad, index_t grad_image, index_t grad_kernel,
                   index_t grad_line, index_t grad_pixel, const X_T *x, float *all, float *bands, index_t band,
                   int lines, int splits, int parts) {
  const int chunks = (COUNT_H + lines - 1) / lines, blocks = (targets + BLOCK - 1) / BLOCK;
  const Steps there = {grad_image, grad_kernel, grad_line, grad_pixel}, gathered = {0, 1, COUNT_W * BLOCK, BLOCK};
#pragma omp parallel for collapse(3) schedule(dynamic)
  for (int split = 0; split < splits; split++)
    for (int g = 0; g < groups; g++)
      for (int part = 0; part < parts; part++) {
        const int begin = blocks * part / parts, end = blocks * (part + 1) / parts;
        const index_t units = (index_t)n * chunks;
        float *const sums = all + ((index_t)split * groups + g) * blocks * DEEP * BLOCK;
        float *const own = bands + omp_get_thread_num() * band;
        memset(sums + (index_t)begin * DEEP * BLOCK, 0, (size_t)(end - begin) * DEEP * BLOCK * sizeof(float));
        for (index_t unit = units * split / splits; unit < units * (split + 1) / splits; unit++) {
          const int first = (int)(unit % chunks) * lines, last = least(first + lines, COUNT_H);
          const int top = first * STRIDE_H + ORIGIN_H;
          const int bottom = (last - 1) * STRIDE_H + ORIGIN_H + (TAPS_H - 1) * ADVANCE_H + 1;
          const index_t image = unit / chunks;
          const float *from = source(x + image * X_SN + (index_t)g * DEPTH * X_SC,
                                     own + (GRAD_IN_PLACE ? 0 : (index_t)lines * COUNT_W * BLOCK), top, bottom);
          for (int b = begin; b < end; b++) {
            const float *maps = grad + image * grad_image + (index_t)(g * targets + b * BLOCK) * grad_kernel;
            if (!GRAD_IN_PLACE) gather(own, maps, there, first, last, least(BLOCK, targets - b * BLOCK));
            const float *pixels = GRAD_IN_PLACE ? maps + first * grad_line : own;
            const Steps step = GRAD_IN_PLACE ? there : gathered;
            float *to = sums + (index_t)b * DEEP * BLOCK;
            for (int i = 0; i < TAPS_H; i++) {
              const int shift = ORIGIN_H + i * ADVANCE_H;
              const int p = most(first, quotient_up(-shift, STRIDE_H));
              const int rows = least(last, quotient_up(X_H - shift, STRIDE_H)) - p;
              const float *line = from + (index_t)(p * STRIDE_H + shift - top) * LINE;
              const float *grads = pixels + (p - first) * step.line;
              for (int j = 0; j < RUNS; j++)
                for (int t = 0, r = 0; t < TILES; t++) {
                  const int taps = t < TILES_WIDE ? WIDE : NARROW;
                  (taps == WIDE ? wide : narrow)(line + j * RUN_STEP + r, grads, step, to, rows);
                  to += taps * BLOCK, r += taps;
                }
            }
          }
        }
      }
}
