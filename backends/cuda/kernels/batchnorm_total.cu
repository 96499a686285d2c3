// mean[column] and (biased) variance[column] from those of BLOCKS blocks, each over SPAN of ROWS rows but the last.
//
// A block of 32 x LANES threads takes 32 columns; lane t merges blocks t, t + LANES ..., then the lanes are merged in
// order (moments.cu).

constexpr int LANES = 16;

extern "C" __global__ void __launch_bounds__(32 * LANES)
    batchnorm_total(MEAN_T *mean, VARIANCE_T *variance, const float *means, const float *squares) {
  __shared__ float counts[LANES * 32], all_means[LANES * 32], all_squares[LANES * 32];
  const int lane = threadIdx.x / 32, column = blockIdx.x * 32 + threadIdx.x % 32;
  Moments all = {};
  if (column < COLUMNS)
    for (int block = lane; block < BLOCKS; block += LANES) {
      const index_t at = block * (index_t)COLUMNS + column;
      all.merge((float)min(SPAN, ROWS - block * SPAN), means[at], squares[at]);
    }
  counts[threadIdx.x] = all.count, all_means[threadIdx.x] = all.mean, all_squares[threadIdx.x] = all.squares;
  __syncthreads();
  if (lane > 0 || column >= COLUMNS) return;
  for (int t = 1; t < LANES; t++) {
    const int at = t * 32 + threadIdx.x;
    all.merge(counts[at], all_means[at], all_squares[at]);
  }
  put(mean + column, all.mean);
  put(variance + column, all.squares / all.count);
}
