// The two sums of batch normalisation's gradient over the block's rows (columns.cu): weights[block, column] of
// grad (x - mean) / sqrt(variance + EPS), and biases[block, column] of grad alone.

extern "C" __global__ void __launch_bounds__(TX * TY)
    batchnorm_sums(float *weights, float *biases, const G_T *grad, const X_T *x, const MEAN_T *mean,
                   const VARIANCE_T *variance) {
  const int column = own_column();
  float centre[V], inverse[V];
  get_vector(centre, mean, column);
  get_vector(inverse, variance, column);
  for (int j = 0; j < V; j++) inverse[j] = rsqrtf(inverse[j] + EPS);
  column_sums<2>(weights, biases, [&](int row, float (&sums)[2][V]) {
    float g[V], v[V];
    get_columns(g, grad + AT(G, row, column));
    get_columns(v, x + AT(X, row, column));
    for (int j = 0; j < V; j++) {
      sums[0][j] += g[j] * ((v[j] - centre[j]) * inverse[j]);
      sums[1][j] += g[j];
    }
  });
}
