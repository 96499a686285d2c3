// out[n] = the sum of exp(score - largest[n]) over row n (rows.cu).

extern "C" __global__ void __launch_bounds__(THREADS)
    exp_sum(OUT_T *out, const SCORES_T *scores, const MAX_T *largest) {
  const float v = row_exp_sum(scores + blockIdx.x * (index_t)SCORES_C, get(largest + blockIdx.x));
  if (threadIdx.x == 0) put(out + blockIdx.x, v);
}
