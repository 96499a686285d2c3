// Windows of SIZE_H x SIZE_W cells over a map of MAP_H x MAP_W, from (-TOP, -LEFT) on, a stride apart: POOLED_H x POOLED_W.

constexpr int REACH_H = (SIZE_H + STRIDE_H - 1) / STRIDE_H, REACH_W = (SIZE_W + STRIDE_W - 1) / STRIDE_W;  // over a pixel
constexpr bool WHOLE = TOP == 0 && LEFT == 0 && (POOLED_H - 1) * STRIDE_H + SIZE_H <= MAP_H &&
                       (POOLED_W - 1) * STRIDE_W + SIZE_W <= MAP_W;  // no window reads beyond the map
constexpr int UNROLL_H = SIZE_H * SIZE_W <= 25 ? SIZE_H : 1, UNROLL_W = SIZE_H * SIZE_W <= 25 ? SIZE_W : 1;
constexpr int UNROLL_REACH_H = REACH_H * REACH_W <= 9 ? REACH_H : 1, UNROLL_REACH_W = REACH_H * REACH_W <= 9 ? REACH_W : 1;

// f(h, w, cell) for each pixel of the map in window (oh, ow), row by row, and `row()` after each row.
template <class F, class R> __device__ __forceinline__ void each_cell(int oh, int ow, F f, R row) {
#pragma unroll UNROLL_H
  for (int i = 0; i < SIZE_H; i++) {
    const int h = oh * STRIDE_H - TOP + i;
    if (!WHOLE && (h < 0 || h >= MAP_H)) continue;
#pragma unroll UNROLL_W
    for (int j = 0; j < SIZE_W; j++) {
      const int w = ow * STRIDE_W - LEFT + j;
      if (WHOLE || (w >= 0 && w < MAP_W)) f(h, w, i * SIZE_W + j);
    }
    row();
  }
}

// f(oh, ow, cell) for each window that pixel (h, w) lies in, as this cell of it: REACH_H x REACH_W at most.
template <class F> __device__ __forceinline__ void each_window(int h, int w, F f) {
#pragma unroll UNROLL_REACH_H
  for (int a = 0; a < REACH_H; a++) {
    const int oh = (h + TOP) / STRIDE_H - a, i = h + TOP - oh * STRIDE_H;
    if (oh < 0 || oh >= POOLED_H || i >= SIZE_H) continue;
#pragma unroll UNROLL_REACH_W
    for (int b = 0; b < REACH_W; b++) {
      const int ow = (w + LEFT) / STRIDE_W - b, j = w + LEFT - ow * STRIDE_W;
      if (ow >= 0 && ow < POOLED_W && j < SIZE_W) f(oh, ow, i * SIZE_W + j);
    }
  }
}

// The first cell of window (oh, ow) that lies in the map.
__device__ __forceinline__ int first_cell(int oh, int ow) {
  const int i = TOP - oh * STRIDE_H, j = LEFT - ow * STRIDE_W;
  return (i < 0 ? 0 : i) * SIZE_W + (j < 0 ? 0 : j);
}

// Whether a value takes the place of the best so far: the first of equals stays, and so does the first NaN.
__device__ __forceinline__ bool better(float value, float best) { return !(value <= best) && best == best; }

// Cells of N windows side by side, as bytes or ints.
template <int N, class T> __device__ __forceinline__ void get_cells(int (&cells)[N], const T *from) {
  const pack<N, T> part = *(const pack<N, T> *)from;
#pragma unroll
  for (int k = 0; k < N; k++) cells[k] = part.v[k];
}
template <int N, class T> __device__ __forceinline__ void put_cells(T *to, const int (&cells)[N]) {
  pack<N, T> part;
#pragma unroll
  for (int k = 0; k < N; k++) part.v[k] = (T)cells[k];
  *(pack<N, T> *)to = part;
}
