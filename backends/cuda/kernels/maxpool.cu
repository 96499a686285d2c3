// Max pooling, the windows overlapping where they are larger than the stride (section 3.4 of the paper):
//   y[n, c, oh, ow] = max over the cells of the window that lie in the map; argmax is that cell, the first of equals.
// A thread makes one unit of y: V channels of one window, in registers. blockIdx.y goes over the images.

extern "C" __global__ void maxpool(const X_T *__restrict__ x, Y_T *__restrict__ y, A_T *__restrict__ argmax) {
  const int unit = blockIdx.x * blockDim.x + threadIdx.x;
  if (unit >= UNITS) return;
  const Position at = position<Y_C, Y_H, Y_W>(unit);
  for (int n = blockIdx.y; n < Y_N; n += gridDim.y) {
    const X_T *maps = x + (n * X_SN + at.c * X_SC);
    float best[V];
    int cells[V];
#pragma unroll
    for (int k = 0; k < V; k++) best[k] = -INFINITY, cells[k] = first_cell(at.h, at.w);
    const auto compare = [&](int h, int w, int cell) {
      float v[V];
      get_chunk(v, maps + (h * X_SH + w * X_SW));
#pragma unroll
      for (int k = 0; k < V; k++)
        if (better(v[k], best[k])) best[k] = v[k], cells[k] = cell;
    };
    each_cell(at.h, at.w, compare, [] {});
    put_chunk(y + (n * Y_SN + at.c * Y_SC + at.h * Y_SH + at.w * Y_SW), best);
    put_cells(argmax + (n * A_SN + at.c * A_SC + at.h * A_SH + at.w * A_SW), cells);
  }
}
