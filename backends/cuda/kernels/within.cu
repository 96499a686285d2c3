// s at pixel (h, w) of V maps, each by itself: BIAS + ALPHA (sum of x^2 over the windows of (2 HALF + 1)^2 cells, cut at the
// border), summed row by row. `maps` is where the maps begin.
__device__ __forceinline__ void scales_within(float (&s)[V], const X_T *__restrict__ maps, int h, int w) {
  constexpr int UNROLL = HALF <= 1 ? 3 : 1;
  float sum[V] = {};
#pragma unroll UNROLL
  for (int i = -HALF; i <= HALF; i++) {
    if (h + i < 0 || h + i >= X_H) continue;
    float row[V] = {};
#pragma unroll UNROLL
    for (int j = -HALF; j <= HALF; j++) {
      if (w + j < 0 || w + j >= X_W) continue;
      float v[V];
      get_chunk(v, maps + ((h + i) * X_SH + (w + j) * X_SW));
#pragma unroll
      for (int k = 0; k < V; k++) row[k] += v[k] * v[k];
    }
#pragma unroll
    for (int k = 0; k < V; k++) sum[k] += row[k];
  }
#pragma unroll
  for (int k = 0; k < V; k++) s[k] = BIAS + ALPHA * sum[k];
}
