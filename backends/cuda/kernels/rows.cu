// What kernels share that reduce over the classes of scores [n, classes]: a block is a row, its THREADS threads go over
// the classes thread by thread, and what they have is brought together in a fixed order: in each warp, then warp by
// warp.

template <class Merge> __device__ __forceinline__ float over_block(float v, Merge merge) {
  __shared__ float shared[32];
#pragma unroll
  for (int away = 16; away > 0; away /= 2) v = merge(v, __shfl_xor_sync(0xffffffffu, v, away));
  __syncthreads();  // what was shared before has been read
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = v;
  __syncthreads();
  v = shared[0];
  for (int i = 1; i < THREADS / 32; i++) v = merge(v, shared[i]);
  return v;
}

__device__ __forceinline__ float larger(float a, float b) { return a > b || a != a ? a : b; }  // NaN comes through

__device__ __forceinline__ float block_max(float v) { return over_block(v, larger); }
__device__ __forceinline__ float block_sum(float v) {
  return over_block(v, [](float a, float b) { return a + b; });
}

__device__ __forceinline__ float row_max(const SCORES_T *row) {
  float v = -INFINITY;
  for (int c = threadIdx.x; c < SCORES_C; c += THREADS) v = larger(v, get(row + c));
  return block_max(v);
}
__device__ __forceinline__ float row_exp_sum(const SCORES_T *row, float largest) {
  float v = 0.0f;
  for (int c = threadIdx.x; c < SCORES_C; c += THREADS) v += expf(get(row + c) - largest);
  return block_sum(v);
}
