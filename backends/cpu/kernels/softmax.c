// mean = the sum of -log softmax(scores[n])[label[n] - FIRST] over all rows / count, and of each score its softmax,
// or the mean loss's gradient (softmax - [c is the label]) START / grad_count (rows.c).
// Where these are not all classes the loss of a label elsewhere is 0; otherwise a label that is no class makes it NaN.
//
// log softmax = (score - largest) - log(sum of exp(score - largest)), so that nothing overflows. LARGEST and SUM are
// those of the row, found here or given. A thread makes whole rows; `losses` is scratch, [images]. `out` may lie over
// `scores`.

void softmax(int images, float count, float grad_count, float *losses, float *mean, OUT_T *out, const SCORES_T *scores,
             const int *label ROW_PARAMETERS START_PARAMETER) {
  const float factor = GRADIENT ? START / grad_count : 1.0f;
#pragma omp parallel for schedule(static)
  for (int n = 0; n < images; n++) {
    const int own = label[n] - FIRST;
    const SCORES_T *row = scores + n * (index_t)SCORES_C;
    OUT_T *out_row = out + n * (index_t)SCORES_C;
    const float largest = LARGEST, log_sum = logf(SUM);
    const int known = own >= 0 && own < SCORES_C;
    losses[n] = known ? log_sum - (get(row + own) - largest) : ELSEWHERE;
    INDEPENDENT for (int c = 0; c < SCORES_C; c++) out_row[c] = fast_exp(get(row + c) - largest - log_sum) * factor;
    if (GRADIENT && known) out_row[own] -= factor;
  }
  *mean = mean_loss(images, losses, count);
}
