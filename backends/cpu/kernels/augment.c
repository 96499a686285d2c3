// Stored images to what the net sees, in one pass. Of result i, place[] being its row of `places`, a line is
//
//   Y[c][h][w] = (X[place[IMAGE]][c][place[TOP] + h][place[LEFT] + w] - M[c][..][..] + shift[i][c]) * factor
//
// or w counted from the other end, of the image or of the mean, where that is reflected. X are bytes or floats, rows of
// pixels or planes; M is of pixels, at place[MEAN_TOP] + h and place[MEAN_LEFT] + w, or of channels. Threads share lines.
//
// What lies otherwise than it is needed is copied to a row of its own first, TOGETHER channels at a time: each loop is
// one that compilers make shuffles of.

#define PLANES (X_SW == 1)
#define PIXELS (M_H * M_W > 1)

typedef struct { X_T of[TOGETHER][Y_W]; } rows_t;

INLINE void separate(const X_T *restrict x, rows_t *restrict rows) {
  for (int w = 0; w < Y_W; w++)
    for (int c = 0; c < TOGETHER; c++) rows->of[c][w] = x[w * X_SW + c * X_SC];
}

#define REVERSE(name, T) \
  INLINE const T *name(const T *restrict row, T *restrict reversed) { \
    for (int w = 0; w < Y_W; w++) reversed[w] = row[Y_W - 1 - w]; \
    return reversed; \
  }
REVERSE(reverse_x, X_T)
REVERSE(reverse_mean, M_T)

INLINE void line(const X_T *restrict x, const M_T *restrict mean, float shift, float factor, Y_T *restrict y) {
  for (int w = 0; w < Y_W; w++) y[w * Y_SW] = ((float)x[w] - mean[PIXELS * w] + shift) * factor;
}

void augment(
    int n, const X_T *images, const P_T *places, const S_T *shifts, const M_T *mean, Y_T *out, float factor) {
#pragma omp parallel for collapse(2) schedule(static) if ((index_t)n * Y_C * Y_H * Y_W > SMALL)
  for (int i = 0; i < n; i++)
    for (int h = 0; h < Y_H; h++) {
      const P_T *place = places + i * P_SN;
      const X_T *x = images + (index_t)place[IMAGE] * X_SN + (place[TOP] + h) * X_SH + place[LEFT] * X_SW;
      const M_T *m = mean + PIXELS * ((place[MEAN_TOP] + h) * M_SH + place[MEAN_LEFT]);
      rows_t rows;
      for (int c = 0; c < Y_C; c++) {
        if (!PLANES && c % TOGETHER == 0) separate(x + c * X_SC, &rows);
        const X_T *row = PLANES ? x + c * X_SC : rows.of[c % TOGETHER];
        const M_T *mean_row = m + c * M_SC;
        X_T reversed[Y_W];
        M_T mean_reversed[Y_W];
        if (place[FLIPPED]) row = reverse_x(row, reversed);
        if (PIXELS && place[MEAN_FLIPPED]) mean_row = reverse_mean(mean_row, mean_reversed);
        line(row, mean_row, shifts[i * S_SN + c], factor, out + i * (index_t)Y_SN + c * Y_SC + h * Y_SH);
      }
    }
}
