// The gradient of a pooling, gathered: row[LEFT + w][c] = the sum of what the windows over pixel (h, w) pass back to
// it, of ROW_W columns, as windows may stand over the edges of the map. A kind of pooling says by `pass` what a window
// passes to the cells of one of its rows, and by `whole` what is made of the sum. It is added up in the order of the
// window's cells. Windows of a row overlap: gcc 12 loses sums where it vectorises over them (4 or 8 channels), hence
// the barrier.

INLINE void gather(float *restrict row, int n, int h, GIVEN) {
  memset(row, 0, sizeof(float) * ROW_W * Y_C);
  for (int oh = end_over(h) - 1; oh >= first_over(h); oh--)
    for (int ow = POOLED_W - 1; ow >= 0; ow--) {
      pass(row + ow * (index_t)STRIDE_W * Y_C, n, oh, ow, h + TOP - oh * STRIDE_H, PASSED);
      __asm__ volatile("" ::: "memory");
    }
}
