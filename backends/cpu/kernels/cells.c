// How many cells the mean of window (oh, ow) is over: those in the map or, with COUNT_PAD, in the padded map of
// PADDED_H x PADDED_W; what rounding up reads beyond that never counts.
INLINE int clipped(int start, int size, int low, int high) {
  return (int)(least(start + size, high) - most(start, low));
}
INLINE float cells(int oh, int ow) {
  const int h = oh * STRIDE_H, w = ow * STRIDE_W;
  const int rows = COUNT_PAD ? clipped(h, SIZE_H, 0, PADDED_H) : clipped(h - TOP, SIZE_H, 0, MAP_H);
  const int columns = COUNT_PAD ? clipped(w, SIZE_W, 0, PADDED_W) : clipped(w - LEFT, SIZE_W, 0, MAP_W);
  return (float)rows * (float)columns;
}
