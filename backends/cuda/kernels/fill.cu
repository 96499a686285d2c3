// out[i] = VALUE for COUNT elements, one a thread.

extern "C" __global__ void __launch_bounds__(THREADS) fill(OUT_T *out) {
  const index_t i = (index_t)blockIdx.x * THREADS + threadIdx.x;
  if (i < COUNT) put(out + i, VALUE);
}
