// The gradient of the mean of each map: y[n, c, h, w] = g[n, c] / (H W).
// A thread makes one unit of y: V channels of one pixel. blockIdx.y goes over the images.

extern "C" __global__ void global_avgpool_grad(const G_T *__restrict__ g, Y_T *__restrict__ y EPILOGUE_PARAMETERS) {
  const int unit = blockIdx.x * blockDim.x + threadIdx.x;
  if (unit >= UNITS) return;
  const Position at = position<Y_C, Y_H, Y_W>(unit);
  for (int n = blockIdx.y; n < Y_N; n += gridDim.y) {
    float share[V];
#pragma unroll
    for (int k = 0; k < V; k++) share[k] = get(g + (n * G_SN + (at.c + k) * G_SC)) / (Y_H * Y_W);
    EPILOGUE_CHUNK(share, n, at.c, at.h, at.w);
    put_chunk(y + (n * Y_SN + at.c * Y_SC + at.h * Y_SH + at.w * Y_SW), share);
  }
}
