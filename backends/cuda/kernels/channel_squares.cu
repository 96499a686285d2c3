// partials[block, column] = the sum of (X - mean)^2 over the block's rows (columns.cu).

extern "C" __global__ void __launch_bounds__(TX * TY)
    channel_squares(float *partials, const X_T *x, const MEAN_T *mean) {
  const int column = own_column();
  float centre[V];
  get_vector(centre, mean, column);
  column_sums<1>(partials, nullptr, [&](int row, float (&sums)[1][V]) {
    float v[V];
    get_columns(v, x + AT(X, row, column));
    for (int j = 0; j < V; j++) sums[0][j] += (v[j] - centre[j]) * (v[j] - centre[j]);
  });
}
