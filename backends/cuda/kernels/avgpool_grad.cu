// The gradient of average pooling, gathered: y[n, c, h, w] = sum of g / cells over the windows that the pixel lies in.
// A thread makes one unit of y: V channels of one pixel. blockIdx.y goes over the images.

extern "C" __global__ void avgpool_grad(const G_T *__restrict__ g, Y_T *__restrict__ y EPILOGUE_PARAMETERS) {
  const int unit = blockIdx.x * blockDim.x + threadIdx.x;
  if (unit >= UNITS) return;
  const Position at = position<Y_C, Y_H, Y_W>(unit);
  for (int n = blockIdx.y; n < Y_N; n += gridDim.y) {
    float sum[V] = {};
    each_window(at.h, at.w, [&](int oh, int ow, int) {
      float v[V];
      get_chunk(v, g + (n * G_SN + at.c * G_SC + oh * G_SH + ow * G_SW));
      const float share = 1.0f / cells(oh, ow);
#pragma unroll
      for (int k = 0; k < V; k++) sum[k] += v[k] * share;
    });
    EPILOGUE_CHUNK(sum, n, at.c, at.h, at.w);
    put_chunk(y + (n * Y_SN + at.c * Y_SC + at.h * Y_SH + at.w * Y_SW), sum);
  }
}
