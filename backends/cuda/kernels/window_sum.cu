// Pooling by a sum: y[n, c, oh, ow] = POOLED(sum of TERM(x) over the window's part in the map, oh, ow), summed row by row.
// mean_window.cu and l2_window.cu say which sum.
// A thread makes one unit of y: V channels of one window. blockIdx.y goes over the images.

extern "C" __global__ void window_sum(const X_T *__restrict__ x, Y_T *__restrict__ y EPILOGUE_PARAMETERS) {
  const int unit = blockIdx.x * blockDim.x + threadIdx.x;
  if (unit >= UNITS) return;
  const Position at = position<Y_C, Y_H, Y_W>(unit);
  for (int n = blockIdx.y; n < Y_N; n += gridDim.y) {
    const X_T *maps = x + (n * X_SN + at.c * X_SC);
    float sum[V] = {}, row[V] = {};
    const auto add = [&](int h, int w, int) {
      float v[V];
      get_chunk(v, maps + (h * X_SH + w * X_SW));
#pragma unroll
      for (int k = 0; k < V; k++) row[k] += TERM(v[k]);
    };
    const auto end = [&] {
#pragma unroll
      for (int k = 0; k < V; k++) sum[k] += row[k], row[k] = 0.0f;
    };
    each_cell(at.h, at.w, add, end);
#pragma unroll
    for (int k = 0; k < V; k++) sum[k] = POOLED(sum[k], at.h, at.w);
    EPILOGUE_CHUNK(sum, n, at.c, at.h, at.w);
    put_chunk(y + (n * Y_SN + at.c * Y_SC + at.h * Y_SH + at.w * Y_SW), sum);
  }
}
