// What max pooling passes back (kernels/gather.c): g, to the cell that argmax names.
#define GIVEN const G_T *restrict g, const A_T *restrict argmax
#define PASSED g, argmax

INLINE void pass(float *restrict to, int n, int oh, int ow, int row, GIVEN) {
  const G_T *from = g + AT(G, n, 0, oh, ow);
  const A_T *taken = argmax + AT(A, n, 0, oh, ow);
  for (int c = 0; c < Y_C; c++) {
    const float v = get(from + c * (index_t)G_SC);
    const int cell = (int)taken[c * (index_t)A_SC] - row * SIZE_W;
    UNROLL for (int j = 0; j < SIZE_W; j++) to[j * Y_C + c] += v * (cell == j ? 1.0f : 0.0f);
  }
}
INLINE float whole(float sum, int n, int c, int h, int w, GIVEN) { return sum; }
