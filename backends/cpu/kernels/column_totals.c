// out[column] = FACTOR (the sum over all rows of FIRST): gradients of biases and of batch normalisation's weights, and
// squared distances from a mean (column_sums.c). `sums` is scratch, [parts][X_C].
//
// A column is a channel or, if there are POSITIONS a channel, a [position][channel], which goes to [channel][position].

void column_totals(int n, int parts, const G_T *g, const X_T *x, const float *mean, const float *variance, OUT_T *out,
                   double *sums) {
  const int rows = n * X_H * X_W;
#pragma omp parallel
  {
#pragma omp for schedule(static)
    for (int p = 0; p < parts; p++)
      part_sums(part_start(p, parts, rows), part_start(p + 1, parts, rows), g, x, mean, sums + p * (index_t)X_C);
#pragma omp for schedule(static)
    for (int c = 0; c < X_C; c++) {
      double sum = 0.0;
      for (int p = 0; p < parts; p++) sum += sums[p * (index_t)X_C + c];
      out[c % (X_C / POSITIONS) * POSITIONS + c / (X_C / POSITIONS)] = (float)(FACTOR * sum);
    }
  }
}
