// Adam (Kingma and Ba 2015, algorithm 1), for many parameters (updates.c): with g = gradient + weight_decay decay_mult
// w and t = step + 1,
//     m' = beta1 m + (1 - beta1) g,   s' = beta2 s + (1 - beta2) g^2,
//     w' = w - lr lr_mult (m' / (1 - beta1^t)) / (sqrt(s' / (1 - beta2^t)) + eps).
// A parameter's places: w, m, s, gradient, step, lr, beta1, beta2, eps, weight_decay, lr_mult, decay_mult; w', m', s'.

// 1 - beta^t without losing digits where beta^t is near 1.
static float correction(float beta, float t) { return (float)-expm1((double)t * log1p((double)beta - 1.0)); }

static void update(float *const *places, index_t from, index_t to) {
  const float *w = places[0], *m = places[1], *s = places[2], *gradient = places[3];
  float *new_w = places[12], *new_m = places[13], *new_s = places[14];
  const float beta1 = *places[6], beta2 = *places[7], eps = *places[8], decay = *places[9] * *places[11];
  const float t = *(const T4_T *)places[4] + 1.0f;
  const float step = *places[5] * *places[10] / correction(beta1, t), over = 1.0f / correction(beta2, t);
  INDEPENDENT
  for (index_t i = from; i < to; i++) {
    const float slope = gradient[i] + decay * w[i];
    const float mean = beta1 * m[i] + (1.0f - beta1) * slope, square = beta2 * s[i] + (1.0f - beta2) * slope * slope;
    new_m[i] = mean;
    new_s[i] = square;
    new_w[i] = w[i] - step * mean / (sqrtf(square * over) + eps);
  }
}

void adam(float *const *table, SIZE_PARAMETERS) { over_parameters(table, (index_t[])SIZES, update); }
