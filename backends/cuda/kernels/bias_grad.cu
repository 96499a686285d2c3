// partials[block, column] = the sum of X over the block's rows (columns.cu).

extern "C" __global__ void __launch_bounds__(TX * TY) bias_grad(float *partials, const X_T *x) {
  const int column = own_column();
  column_sums<1>(partials, nullptr, [&](int row, float (&sums)[1][V]) {
    float v[V];
    get_columns(v, x + AT(X, row, column));
    for (int j = 0; j < V; j++) sums[0][j] += v[j];
  });
}
