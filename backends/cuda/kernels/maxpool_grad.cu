// The gradient of max pooling, gathered: y[n, c, h, w] = sum of g over the windows whose argmax is this pixel.
// A thread makes one unit of y: V channels of one pixel, from all windows over it. blockIdx.y goes over the images.

extern "C" __global__ void maxpool_grad(const G_T *__restrict__ g, const A_T *__restrict__ argmax,
                                        Y_T *__restrict__ y EPILOGUE_PARAMETERS) {
  const int unit = blockIdx.x * blockDim.x + threadIdx.x;
  if (unit >= UNITS) return;
  const Position at = position<Y_C, Y_H, Y_W>(unit);
  for (int n = blockIdx.y; n < Y_N; n += gridDim.y) {
    float sum[V];
    gather(sum, g, argmax, n, at.c, at.h, at.w);
    EPILOGUE_CHUNK(sum, n, at.c, at.h, at.w);
    put_chunk(y + (n * Y_SN + at.c * Y_SC + at.h * Y_SH + at.w * Y_SW), sum);
  }
}
