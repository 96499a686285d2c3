// losses[n] = -log softmax(scores[n])[label[n] - FIRST], and of each score its softmax, or the mean loss's gradient
// (softmax - [c is the label]) START / COUNT. A block is a row (rows.cu).
// Where these are not all classes the loss of a label elsewhere is 0; otherwise a label that is no class makes it NaN.
//
// log softmax = (score - largest) - log(sum of exp(score - largest)), so that nothing overflows. LARGEST and SUM are
// those of the row, found here or given. The row is read once from memory, then from the cache. `out` may lie over
// `scores`.

extern "C" __global__ void __launch_bounds__(THREADS)
    softmax(float *losses, OUT_T *out, const SCORES_T *scores, const int *label ROW_PARAMETERS START_PARAMETER) {
  const int n = blockIdx.x, own = label[n] - FIRST;
  const SCORES_T *row = scores + n * (index_t)SCORES_C;
  const float largest = LARGEST, log_sum = logf(SUM);
  const float factor = START / COUNT;
  if (threadIdx.x == 0 && (own < 0 || own >= SCORES_C)) losses[n] = ELSEWHERE;
  for (int c = threadIdx.x; c < SCORES_C; c += THREADS) {
    const float v = get(row + c) - largest - log_sum, probability = expf(v);
    if (c == own) losses[n] = -v;
    put(out + n * (index_t)SCORES_C + c, GRADIENT ? (probability - (c == own ? 1.0f : 0.0f)) * factor : probability);
  }
}
