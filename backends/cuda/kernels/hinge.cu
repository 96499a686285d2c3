// losses[n] = the sum over the wrong classes c of max(0, 1 + score[c] - score[label]), and of each score the margin's
// slope (1 where it is above 0, less the number of these at the label), or the mean loss's gradient: slope START /
// COUNT. A block is a row (rows.cu). `out` may not lie over `scores`. A label that is no class makes the loss NaN.

extern "C" __global__ void __launch_bounds__(THREADS)
    hinge(float *losses, OUT_T *out, const SCORES_T *scores, const int *label START_PARAMETER) {
  const int n = blockIdx.x, own = label[n];
  const SCORES_T *row = scores + n * (index_t)SCORES_C;
  const bool known = own >= 0 && own < SCORES_C;
  const float right = known ? get(row + own) : NAN, factor = GRADIENT ? START / COUNT : 1.0f;
  float loss = 0.0f, slopes = 0.0f;
  for (int c = threadIdx.x; c < SCORES_C; c += THREADS) {
    const float margin = 1.0f + get(row + c) - right, slope = margin > 0.0f ? 1.0f : 0.0f;
    if (c == own) continue;
    loss += relu(margin), slopes += slope;
    put(out + n * (index_t)SCORES_C + c, slope * factor);
  }
  loss = block_sum(loss), slopes = block_sum(slopes);
  if (threadIdx.x > 0) return;
  losses[n] = loss;
  if (known) put(out + n * (index_t)SCORES_C + own, -slopes * factor);
}
