// What kernels share that go over the classes of scores [n][SCORES_C] row by row: what is brought together of a row is
// so in LANES lanes, which vectors keep, and then of the lanes in order.

#define LANES 16
#define FULL (SCORES_C / LANES * LANES)  // classes that fill all lanes

INLINE float larger(float a, float b) { return (a > b) | (a != a) ? a : b; }  // NaN comes through

INLINE float row_max(const SCORES_T *row) {
  float lanes[LANES], largest = -INFINITY;
  for (int j = 0; j < LANES; j++) lanes[j] = -INFINITY;
  for (int c = 0; c < FULL; c += LANES)
    for (int j = 0; j < LANES; j++) lanes[j] = larger(lanes[j], get(row + c + j));
  for (int j = 0; j < LANES; j++) largest = larger(largest, lanes[j]);
  for (int c = FULL; c < SCORES_C; c++) largest = larger(largest, get(row + c));
  return largest;
}

// The sum of a row's exp(score - largest).
INLINE float row_exp_sum(const SCORES_T *row, float largest) {
  float lanes[LANES] = {}, sum = 0.0f;
  for (int c = 0; c < FULL; c += LANES)
    for (int j = 0; j < LANES; j++) lanes[j] += fast_exp(get(row + c + j) - largest);
  for (int c = FULL; c < SCORES_C; c++) lanes[c - FULL] += fast_exp(get(row + c) - largest);
  for (int j = 0; j < LANES; j++) sum += lanes[j];
  return sum;
}

// The sum of all rows' losses / count.
INLINE float mean_loss(int n, const float *losses, float count) {
  double sum = 0.0;
  for (int i = 0; i < n; i++) sum += losses[i];
  return (float)(sum / count);
}
