// What pooling by means passes back (kernels/gather.c): to each cell its share of g.
#define GIVEN const G_T *restrict g
#define PASSED g

INLINE void pass(float *restrict to, int n, int oh, int ow, int row, GIVEN) {
  const float count = cells(oh, ow);
  const G_T *from = g + AT(G, n, 0, oh, ow);
  for (int c = 0; c < Y_C; c++) {
    const float v = get(from + c * (index_t)G_SC) / count;
    UNROLL for (int j = 0; j < SIZE_W; j++) to[j * Y_C + c] += v;
  }
}
INLINE float whole(float sum, int n, int c, int h, int w, GIVEN) { return sum; }
