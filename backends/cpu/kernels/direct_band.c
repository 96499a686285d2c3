// Source pixels side by side for direct convolution: where the columns are padded, or the channels do not lie last,
// rows are copied into a band [row][BAND_W columns][DEPTH channels] of the thread, whose columns start at ORIGIN_W.
//
// The source is read in place otherwise. Either way PIXEL and LINE are the steps to the next column and row; the taps
// of a row are RUNS runs of RUN elements side by side, RUN_STEP apart. A block has BLOCK channels of the result.

#if IN_PLACE
enum { PIXEL = X_SW };
#define LINE ((index_t)X_SH)
#else
enum { PIXEL = DEPTH };
#define LINE ((index_t)BAND_W * DEPTH)
#endif
enum {
  BLOCK = VECTORS * W,
  RUN_STEP = ADVANCE_W * PIXEL,
  IS_ONE_RUN = RUN_STEP == DEPTH || TAPS_W <= 1,
  RUN = IS_ONE_RUN ? TAPS_W * DEPTH : DEPTH,
  RUNS = IS_ONE_RUN ? 1 : TAPS_W,
  LEFT = ORIGIN_W < 0 ? -ORIGIN_W < BAND_W ? -ORIGIN_W : BAND_W : 0,         // columns of zeros before the map
  INSIDE = X_W - ORIGIN_W < BAND_W ? X_W - ORIGIN_W : BAND_W,                // and where it ends
  RIGHT = INSIDE < LEFT ? LEFT : INSIDE,
};

// Where the columns of source rows top, top + 1, ... begin, for the channels of one group of an image.
INLINE const float *source(const X_T *image, float *band, int top, int bottom) {
#if IN_PLACE
  return image + top * LINE + (index_t)ORIGIN_W * PIXEL;
#else
  for (index_t h = most(top, 0); h < least(bottom, X_H); h++) {
    float *to = band + (h - top) * LINE;
    const X_T *from = image + h * X_SH + (index_t)(ORIGIN_W + LEFT) * X_SW;
    memset(to, 0, LEFT * DEPTH * sizeof(float));
    if (X_SC == 1 && X_SW == DEPTH)
      memcpy(to + LEFT * DEPTH, from, (RIGHT - LEFT) * DEPTH * sizeof(float));
    else
      for (int w = 0; w < RIGHT - LEFT; w++)
        for (int c = 0; c < DEPTH; c++) to[(LEFT + w) * DEPTH + c] = get(from + (index_t)w * X_SW + (index_t)c * X_SC);
    memset(to + RIGHT * DEPTH, 0, (BAND_W - RIGHT) * DEPTH * sizeof(float));
  }
  return band;
#endif
}

// Hides where p points from the compiler, which then reads once more what an earlier turn of a loop has read: kept,
// that would take the registers of the sums.
#define FORGET(p) __asm__("" : "+r"(p))

// ceil(a / b), for b > 0
INLINE int quotient_up(int a, int b) { return a > 0 ? (a + b - 1) / b : -(-a / b); }
