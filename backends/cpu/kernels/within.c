// Windows of (2 HALF + 1)^2 cells of a map, cut at the border, rows of all channels at a time: first down the columns,
// then along the row. A line has HALF pixels of zeros before and behind the row's.

enum { AHEAD = HALF * X_C, LINE = (X_W + 2 * HALF) * X_C };

INLINE int first_row(int h) { return (int)most(h - HALF, 0); }
INLINE int end_row(int h) { return (int)least(h + HALF + 1, X_H); }

// The sum over the window of a pixel's channel, `at` elements from the row's first, of sums down the columns.
INLINE float along(const float *line, int at) {
  float sum = 0.0f;
  UNROLL for (int d = 0; d <= 2 * HALF; d++) sum += line[at + d * X_C];
  return sum;
}

// The squares of rows around row h of maps, down the columns.
INLINE void squares_down(float *restrict line, const X_T *restrict maps, int h) {
  for (int row = first_row(h); row < end_row(h); row++)
    for (int w = 0; w < X_W; w++)
      for (int c = 0; c < X_C; c++) {
        const float v = get(maps + AT(X, 0, c, row, w));
        float *to = line + AHEAD + w * X_C + c;
        *to = row == first_row(h) ? v * v : *to + v * v;
      }
}
