// out = EPILOGUE(x), element by element: every pointwise op, and whatever only moves elements (flatten, slice, concat,
// another layout, another stored type).
//
// OUT and X are given as [N, C, H, W] with any strides, X_AT and OUT_AT elements into their memory. A thread makes
// CHUNK channels side by side (16 bytes of the narrowest type, or 1 where they do not lie so); threads go through `out`
// in the order in which it lies: channels first of all where LAST, else columns. Each element is read before it is
// written by the same thread, so `out` may lie over `x` where both lie alike.

#if RAW  // nothing is computed: any type, as it is
template <class T> __device__ __forceinline__ void move_chunk(T *out, const T *x) {
  *(pack<CHUNK, T> *)out = *(const pack<CHUNK, T> *)x;
}
#define ONE(to, from, n, c, h, w) out[to] = x[from]
#define MANY(to, from, n, c, h, w) move_chunk(out + (to), x + (from))
#else
#define ONE(to, from, n, c, h, w) put(out + (to), EPILOGUE(get(x + (from)), n, c, h, w))
#define MANY(to, from, n, c, h, w)       \
  do {                                   \
    float v[CHUNK];                      \
    get_chunk(v, x + (from));            \
    EPILOGUE_CHUNK(v, n, c, h, w);       \
    put_chunk(out + (to), v);            \
  } while (0)
#endif

extern "C" __global__ void __launch_bounds__(THREADS) pointwise(OUT_T *out, const X_T *x EPILOGUE_PARAMETERS) {
  constexpr int CHUNKS = (OUT_C + CHUNK - 1) / CHUNK;  // of a row of channels
  thread_t rest = (thread_t)blockIdx.x * THREADS + threadIdx.x;  // of more than an int counts, where there are
  int n, c, h, w;
  if (LAST) {
    c = rest % CHUNKS * CHUNK, rest /= CHUNKS;
    w = rest % OUT_W, rest /= OUT_W;
    h = rest % OUT_H, n = rest / OUT_H;
  } else {
    w = rest % OUT_W, rest /= OUT_W;
    h = rest % OUT_H, rest /= OUT_H;
    c = rest % CHUNKS * CHUNK, n = rest / CHUNKS;
  }
  if (n >= OUT_N) return;
  const index_t to = OUT_AT + n * OUT_SN + c * OUT_SC + h * OUT_SH + w * OUT_SW;
  const index_t from = X_AT + n * X_SN + c * X_SC + h * X_SH + w * X_SW;
  if (CHUNK > 1 && c + CHUNK <= OUT_C) {
    MANY(to, from, n, c, h, w);
  } else {
    for (int j = 0; j < CHUNK && c + j < OUT_C; j++)
      ONE(to + j * OUT_SC, from + j * X_SC, n, c + j, h, w);
  }
}
