// The largest of a window's cells, of `count` channels side by side, and which cell that was: the first of equals; the
// first NaN wins. Where all is -infinity, as what lies beyond the map is, it is the first cell in the map.

enum { CHUNK = Y_C < 256 ? Y_C : 256 };  // channels at a time, so that their best stay in the nearest cache

#ifdef A_SC
#define ARGMAX_PARAMETER , A_T *restrict argmax
#define ARGMAX , argmax
#define STORE_ARGMAX(cells, count, n, c, h, w) store_argmax(cells, count, argmax + AT(A, n, c, h, w))
INLINE void store_argmax(const int *restrict cells, int count, A_T *restrict to) {
  for (int c = 0; c < count; c++) to[(index_t)c * A_SC] = (A_T)cells[c];
}
#else
#define ARGMAX_PARAMETER
#define ARGMAX
#define STORE_ARGMAX(cells, count, n, c, h, w) ((void)0)
#endif

INLINE void start(float *restrict best, int *restrict cells, int count, int cell) {
  for (int c = 0; c < count; c++) best[c] = -INFINITY, cells[c] = cell;
}

// `columns` cells from `cell` on, `across` elements apart, in which channels are `stride` apart.
INLINE void compare(float *restrict best, int *restrict cells, const float *restrict from, index_t stride,
                    index_t across, int count, int columns, int cell) {
  for (int c = 0; c < count; c++) {
    float largest = best[c];
    int which = cells[c];
    UNROLL for (int j = 0; j < columns; j++) {
      const float v = from[c * stride + j * across], old = largest;
      const float larger = v <= old ? old : v;  // one condition to a choice, or the loop is not vectorised
      const int where = v <= old ? which : cell + j;
      largest = old == old ? larger : old;
      which = old == old ? where : which;
    }
    best[c] = largest;
    cells[c] = which;
  }
}

// The same of any cells of a row of a window; small windows that are whole are unrolled.
INLINE void compare_row(float *restrict best, int *restrict cells, const float *restrict from, index_t stride,
                        index_t across, int count, int first, int end, int cell) {
  if (SIZE_W <= 8 && first == 0 && end == SIZE_W)
    compare(best, cells, from, stride, across, count, SIZE_W, cell);
  else
    for (int j = first; j < end; j++) compare(best, cells, from + j * across, stride, across, count, 1, cell + j);
}
