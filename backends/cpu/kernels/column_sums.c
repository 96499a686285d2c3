// The sums for each column, over a part's rows, of one or two terms (SUMS; columns.c): of FIRST and of SECOND, which
// say VALUE, GRAD or DISTANCE, that from the column's mean. They go to sums[SUMS][X_C].
//
// Rounding errors do not grow with the number of rows: RUN rows are added up in floats, these in doubles.

#define RUN 32
#define VALUE get(x_row + c * X_SC)
#define GRAD get(g_row + c * G_SC)
#define DISTANCE (VALUE - mean[start + c])

INLINE void part_sums(int first, int last, const G_T *g, const X_T *x, const float *mean, double *sums) {
  for (int start = 0; start < X_C; start += BLOCK) {
    const int length = BLOCK_LENGTH(start);
    double all[SUMS][BLOCK] = {};
    for (int from = first; from < last; from += RUN) {
      float run[SUMS][BLOCK] = {};
      for (int row = from; row < least(from + RUN, last); row++) {
        const G_T *g_row = g + ROW(G, row) + start * (index_t)G_SC;
        const X_T *x_row = x + ROW(X, row) + start * (index_t)X_SC;
        for (int c = 0; c < length; c++) {
          run[0][c] += FIRST;
          if (SUMS > 1) run[SUMS - 1][c] += SECOND;
        }
      }
      for (int k = 0; k < SUMS; k++)
        for (int c = 0; c < length; c++) all[k][c] += run[k][c];
    }
    for (int k = 0; k < SUMS; k++) memcpy(sums + k * X_C + start, all[k], length * sizeof(double));
  }
}
