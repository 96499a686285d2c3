// Adam (Kingma and Ba 2015, algorithm 1), for many parameters (updates.cu): with g = gradient + weight_decay decay_mult
// w and t = step + 1,
//     m' = beta1 m + (1 - beta1) g,   s' = beta2 s + (1 - beta2) g^2,
//     w' = w - lr lr_mult (m' / (1 - beta1^t)) / (sqrt(s' / (1 - beta2^t)) + eps).
// A parameter's places: w, m, s, gradient, step, lr, beta1, beta2, eps, weight_decay, lr_mult, decay_mult; w', m', s'.

// 1 - beta^t without losing digits where beta^t is near 1.
__device__ __forceinline__ float correction(float beta, float t) { return 0.0f - expm1f(t * log1pf(beta - 1.0f)); }

extern "C" __global__ void __launch_bounds__(THREADS) adam(void *const *table) {
  const Share share = own_share();
  void *const *at_table = table + share.parameter * PLACES;
  const T0_T *w = (const T0_T *)at_table[0];
  const T1_T *m = (const T1_T *)at_table[1];
  const T2_T *s = (const T2_T *)at_table[2];
  const T3_T *gradient = (const T3_T *)at_table[3];
  T12_T *new_w = (T12_T *)at_table[12];
  T13_T *new_m = (T13_T *)at_table[13];
  T14_T *new_s = (T14_T *)at_table[14];
  const float beta1 = rate<T6_T>(at_table, 6), beta2 = rate<T7_T>(at_table, 7), eps = rate<T8_T>(at_table, 8);
  const float decay = rate<T9_T>(at_table, 9) * rate<T11_T>(at_table, 11);
  const float t = rate<T4_T>(at_table, 4) + 1.0f;
  const float step = rate<T5_T>(at_table, 5) * rate<T10_T>(at_table, 10) / correction(beta1, t);
  const float over = 1.0f / correction(beta2, t);
  over_share(share, [&](index_t at, auto width) {
    constexpr int N = decltype(width)::value;
    float a[N], b[N], c[N], g[N];
    get_chunk(a, w + at), get_chunk(b, m + at), get_chunk(c, s + at), get_chunk(g, gradient + at);
    for (int j = 0; j < N; j++) {
      const float slope = g[j] + decay * a[j];
      b[j] = beta1 * b[j] + (1.0f - beta1) * slope;
      c[j] = beta2 * c[j] + (1.0f - beta2) * slope * slope;
      a[j] -= step * b[j] / (sqrtf(c[j] * over) + eps);
    }
    put_chunk(new_m + at, b), put_chunk(new_s + at, c), put_chunk(new_w + at, a);
  });
}
