// out[n] = the largest score of row n, or NaN if there is one (rows.cu).

extern "C" __global__ void __launch_bounds__(THREADS) largest(OUT_T *out, const SCORES_T *scores) {
  const float v = row_max(scores + blockIdx.x * (index_t)SCORES_C);
  if (threadIdx.x == 0) put(out + blockIdx.x, v);
}
