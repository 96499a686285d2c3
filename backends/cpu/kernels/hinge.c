// mean = the sum over all rows n and wrong classes c of max(0, 1 + score[c] - score[label[n]]) / count, and of each
// score the margin's slope (1 where it is above 0, less the number of these at the label), or the mean loss's gradient:
// slope START / grad_count (rows.c). A label that is no class makes the loss NaN.
//
// A thread makes whole rows; `losses` is scratch, [images].

void hinge(int images, float count, float grad_count, float *losses, float *mean, OUT_T *out, const SCORES_T *scores,
           const int *label START_PARAMETER) {
  const float factor = GRADIENT ? START / grad_count : 1.0f;
#pragma omp parallel for schedule(static)
  for (int n = 0; n < images; n++) {
    const int own = label[n], known = own >= 0 && own < SCORES_C;
    const SCORES_T *row = scores + n * (index_t)SCORES_C;
    OUT_T *out_row = out + n * (index_t)SCORES_C;
    const float right = known ? get(row + own) : NAN;
    float losses_of[LANES] = {}, slopes_of[LANES] = {}, loss = 0.0f, slopes = 0.0f;
    for (int start = 0; start < SCORES_C; start += LANES)
      for (int j = 0; j < least(LANES, SCORES_C - start); j++) {
        const float margin = 1.0f + get(row + start + j) - right, slope = margin > 0.0f ? 1.0f : 0.0f;
        losses_of[j] += start + j == own ? 0.0f : relu(margin);
        slopes_of[j] += start + j == own ? 0.0f : slope;
        out_row[start + j] = slope * factor;
      }
    for (int j = 0; j < LANES; j++) loss += losses_of[j], slopes += slopes_of[j];
    losses[n] = loss;
    if (known) out_row[own] = -slopes * factor;
  }
  *mean = mean_loss(images, losses, count);
}
