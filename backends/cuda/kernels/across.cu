// Windows of 2 HALF + 1 channels, cut at the borders of groups of PER_GROUP.

// For each channel of the unit at channel c the sum over its window: of `own` in the unit, and of value(offset) at channel
// c + offset beside it.
template <class F> __device__ __forceinline__ void across(float (&sum)[V], const float (&own)[V], int c, F value) {
  static_assert(PER_GROUP % V == 0, "a unit lies in one group");
  constexpr int UNROLL = HALF <= 8 ? HALF : 1;
  const int before = c % PER_GROUP, after = PER_GROUP - V - before;
#pragma unroll
  for (int k = 0; k < V; k++) {
    sum[k] = 0.0f;
#pragma unroll
    for (int i = 0; i < V; i++)
      if (i - k <= HALF && k - i <= HALF) sum[k] += own[i];
  }
#pragma unroll UNROLL
  for (int d = 1; d <= HALF; d++) {
    const float left = d <= before ? value(-d) : 0.0f, right = d <= after ? value(V - 1 + d) : 0.0f;
#pragma unroll
    for (int k = 0; k < V; k++) {
      if (d + k <= HALF) sum[k] += left;
      if (d + V - 1 - k <= HALF) sum[k] += right;
    }
  }
}

// s of each channel of a unit: `own` are its elements, `unit` is where they lie, with STRIDE from channel to channel.
template <int STRIDE, class T>
__device__ __forceinline__ void scales(float (&s)[V], const float (&own)[V], const T *unit, int c) {
  float squares[V];
#pragma unroll
  for (int k = 0; k < V; k++) squares[k] = own[k] * own[k];
  across(s, squares, c, [&](int offset) {
    const float beside = get(unit + (index_t)offset * STRIDE);
    return beside * beside;
  });
#pragma unroll
  for (int k = 0; k < V; k++) s[k] = BIAS + ALPHA * s[k];
}

// What kernels for either normalisation know it by: s of a unit of x, whose elements are `own`, and the sums over the windows
// of a unit's channels of t, which lies as x does. `image` is where an image of x, or t, begins.
__device__ __forceinline__ void scales_at(float (&s)[V], const float (&own)[V], const X_T *image, const Position &at) {
  scales<(int)X_SC>(s, own, image + (at.c * X_SC + at.h * X_SH + at.w * X_SW), at.c);
}
__device__ __forceinline__ void sums_at(float (&sum)[V], const float *image, const Position &at) {
  const float *unit = image + (at.c * X_SC + at.h * X_SH + at.w * X_SW);
  float own[V];
  get_chunk(own, unit);
  across(sum, own, at.c, [&](int offset) { return unit[offset * X_SC]; });
}
