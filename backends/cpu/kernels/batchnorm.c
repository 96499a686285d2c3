// Batch normalisation: mean[c] and (biased) variance[c] of each column (columns.c), and
//     out = epilogue(weight (x - mean) / sqrt(variance + EPS) + bias).
//
// Variances are as exact as those of two passes over all rows: of SPAN rows, which are in the cache, the mean and then
// the squared distances from it (M2); what is left of the distances themselves makes good how the mean was rounded.
// Spans, and then parts, are merged (Chan, Golub and LeVeque 1983): of counts m and n with means a and b,
//     mean = a + (b - a) n / (m + n),   M2 = M2a + M2b + (b - a)^2 m n / (m + n).
// Whoever had a part's statistics makes its elements, the last ones first: those are still in the cache.
// `moments` is scratch, [parts][mean, M2][X_C]; `factor` too, [X_C]. `out` may lie over `x`.

#define SPAN (BLOCK < 256 ? 128 : 32768 / BLOCK)

INLINE void merge(int length, double *mean, double *squares, double count, const double *mean2, const double *squares2,
                  double count2) {
  const double share = count2 / (count + count2);
  for (int c = 0; c < length; c++) {
    const double delta = mean2[c] - mean[c];
    mean[c] += delta * share;
    squares[c] += squares2[c] + delta * delta * count * share;
  }
}

INLINE void part_moments(int first, int last, const X_T *x, double *moments) {
  for (int start = 0; start < X_C; start += BLOCK) {
    const int length = BLOCK_LENGTH(start);
    double mean[BLOCK] = {}, squares[BLOCK] = {};
    for (int from = first; from < last; from += SPAN) {
      const int to = (int)least(from + SPAN, last);
      float about[BLOCK] = {}, rest[BLOCK] = {}, distances[BLOCK] = {};
      for (int row = from; row < to; row++) {
        const X_T *x_row = x + ROW(X, row) + start * (index_t)X_SC;
        for (int c = 0; c < length; c++) about[c] += get(x_row + c * X_SC);
      }
      for (int c = 0; c < length; c++) about[c] /= (float)(to - from);
      for (int row = from; row < to; row++) {
        const X_T *x_row = x + ROW(X, row) + start * (index_t)X_SC;
        for (int c = 0; c < length; c++) {
          const float distance = get(x_row + c * X_SC) - about[c];
          rest[c] += distance;
          distances[c] += distance * distance;
        }
      }
      double mean2[BLOCK], squares2[BLOCK];
      for (int c = 0; c < length; c++) {
        const double off = rest[c] / (double)(to - from);
        mean2[c] = about[c] + off;
        squares2[c] = distances[c] - off * rest[c];
      }
      merge(length, mean, squares, from - first, mean2, squares2, to - from);
    }
    memcpy(moments + start, mean, length * sizeof(double));
    memcpy(moments + X_C + start, squares, length * sizeof(double));
  }
}

void batchnorm(int n, int parts, const X_T *x, const float *weight, const float *bias, OUT_T *out, float *mean,
               float *variance, double *moments, float *factor EPILOGUE_PARAMETERS) {
  const int rows = n * X_H * X_W;
#pragma omp parallel
  {
#pragma omp for schedule(static)
    for (int p = 0; p < parts; p++)
      part_moments(part_start(p, parts, rows), part_start(p + 1, parts, rows), x, moments + p * (index_t)(2 * X_C));
#pragma omp for schedule(static)
    for (int c = 0; c < X_C; c++) {
      double all = 0.0, squares = 0.0;
      for (int p = 0; p < parts; p++) {
        const int first = part_start(p, parts, rows), last = part_start(p + 1, parts, rows);
        double *part = moments + p * (index_t)(2 * X_C) + c;
        if (first < last) merge(1, &all, &squares, first, part, part + X_C, last - first);
      }
      mean[c] = (float)all;
      variance[c] = (float)(squares / rows);
      factor[c] = weight[c] * rsqrtf(variance[c] + EPS);
    }
#pragma omp for schedule(static)
    for (int p = 0; p < parts; p++)
      for (int row = part_start(p + 1, parts, rows) - 1; row >= part_start(p, parts, rows); row--) {
        const int i = row / (X_H * X_W), h = row / X_W % X_H, w = row % X_W;
        const X_T *x_row = x + ROW(X, row);
        OUT_T *out_row = out + ROW(OUT, row);
        INDEPENDENT for (int c = 0; c < X_C; c++)
          out_row[c * OUT_SC] = EPILOGUE(factor[c] * (get(x_row + c * X_SC) - mean[c]) + bias[c], i, c, h, w);
      }
  }
}
