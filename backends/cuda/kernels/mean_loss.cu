// out = the sum of `losses` over all rows / COUNT, by one block in a fixed order (rows.cu).

extern "C" __global__ void __launch_bounds__(THREADS) mean_loss(OUT_T *out, const float *losses) {
  float sum = 0.0f;
  for (int n = threadIdx.x; n < SCORES_N; n += THREADS) sum += losses[n];
  sum = block_sum(sum);
  if (threadIdx.x == 0) put(out, sum / COUNT);
}
