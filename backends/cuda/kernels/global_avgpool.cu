// The mean of each map: y[n, c] = (sum of x[n, c, h, w] over h, w) / (H W).
// A block adds up ACROSS units, V maps each, of one image (blockIdx.y): ALONG threads a unit, which take every ALONG-th
// pixel, 16 at a time, and halve their number until one is left. Shared: a sum for each thread and map.

extern "C" __global__ void global_avgpool(const X_T *__restrict__ x, Y_T *__restrict__ y EPILOGUE_PARAMETERS) {
  __shared__ float sums[V][ALONG * ACROSS];
  constexpr int PIXELS = X_H * X_W;
  const int across = LAST ? threadIdx.x % ACROSS : threadIdx.x / ALONG;
  const int along = LAST ? threadIdx.x / ACROSS : threadIdx.x % ALONG;
  const int here = threadIdx.x, c = (blockIdx.x * ACROSS + across) * V;
  constexpr int STEP = LAST ? ACROSS : 1;  // from a sum to the unit's next
  for (int n = blockIdx.y; n < X_N; n += gridDim.y) {
    float sum[V] = {};
    for (int start = along; c < X_C && start < PIXELS; start += 16 * ALONG) {
      float part[V] = {};
#pragma unroll 4
      for (int pixel = start; pixel < PIXELS && pixel < start + 16 * ALONG; pixel += ALONG) {
        float v[V];
        get_chunk(v, x + (n * X_SN + c * X_SC + pixel * X_SW));
#pragma unroll
        for (int k = 0; k < V; k++) part[k] += v[k];
      }
#pragma unroll
      for (int k = 0; k < V; k++) sum[k] += part[k];
    }
#pragma unroll
    for (int k = 0; k < V; k++) sums[k][here] = sum[k];
    for (int half = ALONG / 2; half > 0; half /= 2) {
      __syncthreads();
      if (along < half) {
#pragma unroll
        for (int k = 0; k < V; k++) sums[k][here] += sums[k][here + half * STEP];
      }
    }
    if (along == 0 && c < X_C) {
#pragma unroll
      for (int k = 0; k < V; k++) put(y + (n * Y_SN + (c + k) * Y_SC), EPILOGUE(sums[k][here] / PIXELS, n, c + k, 0, 0));
    }
    __syncthreads();
  }
}
