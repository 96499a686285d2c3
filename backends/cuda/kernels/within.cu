// Windows of (2 HALF + 1)^2 cells of a map, cut at the border.

// The sums over the window around pixel (h, w) of V maps, each by itself, row by row: read(v, h, w) gives a pixel's.
template <class Read> __device__ __forceinline__ void within(float (&sum)[V], int h, int w, Read read) {
  constexpr int UNROLL = HALF <= 1 ? 3 : 1;
#pragma unroll
  for (int k = 0; k < V; k++) sum[k] = 0.0f;
#pragma unroll UNROLL
  for (int i = -HALF; i <= HALF; i++) {
    if (h + i < 0 || h + i >= X_H) continue;
    float row[V] = {};
#pragma unroll UNROLL
    for (int j = -HALF; j <= HALF; j++) {
      if (w + j < 0 || w + j >= X_W) continue;
      float v[V];
      read(v, h + i, w + j);
#pragma unroll
      for (int k = 0; k < V; k++) row[k] += v[k];
    }
#pragma unroll
    for (int k = 0; k < V; k++) sum[k] += row[k];
  }
}

// s of V maps at pixel (h, w). `maps` is where they begin.
__device__ __forceinline__ void scales_within(float (&s)[V], const X_T *__restrict__ maps, int h, int w) {
  within(s, h, w, [&](float (&v)[V], int i, int j) {
    get_chunk(v, maps + (i * X_SH + j * X_SW));
#pragma unroll
    for (int k = 0; k < V; k++) v[k] *= v[k];
  });
#pragma unroll
  for (int k = 0; k < V; k++) s[k] = BIAS + ALPHA * s[k];
}

// What kernels for either normalisation know it by: see across.cu.
__device__ __forceinline__ void scales_at(float (&s)[V], const float (&own)[V], const X_T *image, const Position &at) {
  scales_within(s, image + at.c * X_SC, at.h, at.w);
}
__device__ __forceinline__ void sums_at(float (&sum)[V], const float *image, const Position &at) {
  const float *maps = image + at.c * X_SC;
  within(sum, at.h, at.w, [&](float (&v)[V], int h, int w) { get_chunk(v, maps + (h * X_SH + w * X_SW)); });
}
