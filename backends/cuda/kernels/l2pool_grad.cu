// The gradient of L2 pooling, gathered: y[n, c, h, w] = x (sum of g / output over the windows that the pixel lies in); a
// window of zeros passes nothing on.
// A thread makes one unit of y: V channels of one pixel. blockIdx.y goes over the images.

extern "C" __global__ void l2pool_grad(const G_T *__restrict__ g, const X_T *__restrict__ x, const O_T *__restrict__ output,
                                       Y_T *__restrict__ y EPILOGUE_PARAMETERS) {
  const int unit = blockIdx.x * blockDim.x + threadIdx.x;
  if (unit >= UNITS) return;
  const Position at = position<Y_C, Y_H, Y_W>(unit);
  for (int n = blockIdx.y; n < Y_N; n += gridDim.y) {
    float sum[V] = {}, own[V];
    each_window(at.h, at.w, [&](int oh, int ow, int) {
      float v[V], root[V];
      get_chunk(v, g + (n * G_SN + at.c * G_SC + oh * G_SH + ow * G_SW));
      get_chunk(root, output + (n * O_SN + at.c * O_SC + oh * O_SH + ow * O_SW));
#pragma unroll
      for (int k = 0; k < V; k++) sum[k] += root[k] != 0.0f ? v[k] / root[k] : 0.0f;
    });
    get_chunk(own, x + (n * X_SN + at.c * X_SC + at.h * X_SH + at.w * X_SW));
#pragma unroll
    for (int k = 0; k < V; k++) sum[k] *= own[k];
    EPILOGUE_CHUNK(sum, n, at.c, at.h, at.w);
    put_chunk(y + (n * Y_SN + at.c * Y_SC + at.h * Y_SH + at.w * Y_SW), sum);
  }
}
