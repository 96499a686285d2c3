// Where elements lie, and a pixel's channels moved together.
#define AT(X, n, c, h, w) \
  ((n) * (index_t)X##_SN + (c) * (index_t)X##_SC + (h) * (index_t)X##_SH + (w) * (index_t)X##_SW)

// `count` channels, `stride` apart in memory.
INLINE void put_channels(float *restrict to, index_t stride, const float *restrict from, int count) {
  for (int c = 0; c < count; c++) to[c * stride] = from[c];
}
INLINE void get_channels(float *restrict to, const float *restrict from, index_t stride, int count) {
  for (int c = 0; c < count; c++) to[c] = from[c * stride];
}
