// The gradients of batch normalisation, from that of its result (g), the input x and the batch's statistics: with
// unit = (x - mean) / sqrt(variance + EPS), for each column (columns.c, column_sums.c),
//     grad_weight = sum of g unit,   grad_bias = sum of g,
//     out = weight / sqrt(variance + EPS) (g - (grad_bias + unit grad_weight) / rows).
//
// Whoever had a part's sums makes its elements, the last ones first: those are still in the cache.
// `sums` is scratch, [parts][2][X_C]; `terms` too, [3][X_C]: out = terms[0] (g - terms[1] - (x - mean) terms[2]).
// `out` may lie over `g` or `x`.

void batchnorm_grad(int n, int parts, const G_T *g, const X_T *x, const float *weight, const float *mean,
                    const float *variance, OUT_T *out, float *grad_weight, float *grad_bias, double *sums,
                    float *terms) {
  const int rows = n * X_H * X_W;
  float *factor = terms, *shift = terms + X_C, *slope = terms + 2 * X_C;
#pragma omp parallel
  {
#pragma omp for schedule(static)
    for (int p = 0; p < parts; p++)
      part_sums(part_start(p, parts, rows), part_start(p + 1, parts, rows), g, x, mean, sums + p * (index_t)(2 * X_C));
#pragma omp for schedule(static)
    for (int c = 0; c < X_C; c++) {
      double products = 0.0, grads = 0.0;
      for (int p = 0; p < parts; p++) {
        products += sums[p * (index_t)(2 * X_C) + c];
        grads += sums[p * (index_t)(2 * X_C) + X_C + c];
      }
      const double inverse = 1.0 / sqrt((double)variance[c] + EPS);
      grad_weight[c] = (float)(products * inverse);
      grad_bias[c] = (float)grads;
      factor[c] = (float)(weight[c] * inverse);
      shift[c] = (float)(grads / rows);
      slope[c] = (float)(products * inverse * inverse / rows);
    }
#pragma omp for schedule(static)
    for (int p = 0; p < parts; p++)
      for (int row = part_start(p + 1, parts, rows) - 1; row >= part_start(p, parts, rows); row--) {
        const G_T *g_row = g + ROW(G, row);
        const X_T *x_row = x + ROW(X, row);
        OUT_T *out_row = out + ROW(OUT, row);
        INDEPENDENT for (int c = 0; c < X_C; c++) {
          const float own = get(g_row + c * G_SC) - shift[c] - (get(x_row + c * X_SC) - mean[c]) * slope[c];
          out_row[c * OUT_SC] = factor[c] * own;
        }
      }
  }
}
