// out[n] = the sum of exp(score - largest[n]) over row n (rows.c).

void exp_sum(int images, OUT_T *out, const SCORES_T *scores, const MAX_T *largest) {
#pragma omp parallel for schedule(static)
  for (int n = 0; n < images; n++) out[n] = row_exp_sum(scores + n * (index_t)SCORES_C, get(largest + n));
}
