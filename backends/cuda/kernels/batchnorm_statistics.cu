// The mean and the sum of squared distances from it (M2) of each column over the block's rows (columns.cu):
// means[block, column], squares[block, column].
//
// A thread takes 8 rows at a time: their mean, their M2, and merges these with what it has (moments.cu). Then the
// block's threads are merged in order.

constexpr int BATCH = 8;

// How many rows a lane has of so many.
__device__ __forceinline__ int rows_of(int lane, int rows) { return lane < rows ? (rows - lane + TY - 1) / TY : 0; }

extern "C" __global__ void __launch_bounds__(TX * TY) batchnorm_statistics(float *means, float *squares, const X_T *x) {
  __shared__ float shared_mean[TY * TX * V], shared_squares[TY * TX * V];
  const int column = own_column(), lane = own_lane(), last = last_row();
  Moments moments[V] = {};
  if (column < X_C)
    for (int start = first_row() + lane; start < last; start += BATCH * TY) {
      float v[BATCH][V];
      const int count = min(BATCH, (last - start + TY - 1) / TY);
#pragma unroll
      for (int i = 0; i < BATCH; i++)
        if (i < count) get_columns(v[i], x + AT(X, start + i * TY, column));
#pragma unroll
      for (int j = 0; j < V; j++) {
        float mean = 0.0f, distances = 0.0f;
#pragma unroll
        for (int i = 0; i < BATCH; i++) mean += i < count ? v[i][j] : 0.0f;
        mean /= (float)count;
#pragma unroll
        for (int i = 0; i < BATCH; i++) distances += i < count ? (v[i][j] - mean) * (v[i][j] - mean) : 0.0f;
        moments[j].merge((float)count, mean, distances);
      }
    }
  for (int j = 0; j < V; j++) {
    shared_mean[threadIdx.x * V + j] = moments[j].mean;
    shared_squares[threadIdx.x * V + j] = moments[j].squares;
  }
  __syncthreads();
  for (int i = threadIdx.x; i < TX * V; i += TX * TY) {
    const int at = blockIdx.x * TX * V + i;
    Moments all = {};
    for (int t = 0; t < TY; t++)
      all.merge((float)rows_of(t, last - first_row()), shared_mean[t * TX * V + i], shared_squares[t * TX * V + i]);
    if (at < X_C) {
      means[blockIdx.y * (index_t)X_C + at] = all.mean;
      squares[blockIdx.y * (index_t)X_C + at] = all.squares;
    }
  }
}
