// What pooling by roots of squares passes back (kernels/gather.c): g / output, nothing where the output is zero, times
// x.
#define GIVEN const G_T *restrict g, const X_T *restrict x, const O_T *restrict output
#define PASSED g, x, output

INLINE void pass(float *restrict to, int n, int oh, int ow, int row, GIVEN) {
  const G_T *from = g + AT(G, n, 0, oh, ow);
  const O_T *by = output + AT(O, n, 0, oh, ow);
  for (int c = 0; c < Y_C; c++) {
    const float root = get(by + c * (index_t)O_SC), v = root != 0.0f ? get(from + c * (index_t)G_SC) / root : 0.0f;
    UNROLL for (int j = 0; j < SIZE_W; j++) to[j * Y_C + c] += v;
  }
}
INLINE float whole(float sum, int n, int c, int h, int w, GIVEN) {
  return sum * get(x + AT(X, n, c, h, w));
}
