// out[n] = the largest score of row n, or NaN if there is one (rows.c).

void largest(int images, OUT_T *out, const SCORES_T *scores) {
#pragma omp parallel for schedule(static)
  for (int n = 0; n < images; n++) out[n] = row_max(scores + n * (index_t)SCORES_C);
}
