// v' = momentum v - lr lr_mult (gradient + weight_decay decay_mult w); w' = w + v' (Krizhevsky et al. 2012, section 5),
// for many parameters (updates.cu). A parameter's places: w, v, gradient, lr, momentum, weight_decay, lr_mult,
// decay_mult; w', v'.

extern "C" __global__ void __launch_bounds__(THREADS) sgd(void *const *table) {
  const Share share = own_share();
  void *const *at_table = table + share.parameter * PLACES;
  const T0_T *w = (const T0_T *)at_table[0];
  const T1_T *v = (const T1_T *)at_table[1];
  const T2_T *gradient = (const T2_T *)at_table[2];
  T8_T *new_w = (T8_T *)at_table[8];
  T9_T *new_v = (T9_T *)at_table[9];
  const float step = rate<T3_T>(at_table, 3) * rate<T6_T>(at_table, 6), momentum = rate<T4_T>(at_table, 4);
  const float decay = rate<T5_T>(at_table, 5) * rate<T7_T>(at_table, 7);
  over_share(share, [&](index_t at, auto width) {
    constexpr int N = decltype(width)::value;
    float a[N], b[N], g[N];
    get_chunk(a, w + at), get_chunk(b, v + at), get_chunk(g, gradient + at);
    for (int j = 0; j < N; j++) {
      b[j] = momentum * b[j] - step * (g[j] + decay * a[j]);
      a[j] += b[j];
    }
    put_chunk(new_v + at, b), put_chunk(new_w + at, a);
  });
}
