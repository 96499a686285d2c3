// Local response normalisation across maps: y = x s^-BETA, s = BIAS + ALPHA (sum of x^2 over the 2 HALF + 1 channels around).
// A thread makes one unit of y: V channels of one pixel; it reads the HALF channels on each side of them too, which threads
// of the same warp read at the same time. blockIdx.y goes over the images.

extern "C" __global__ void lrn(const X_T *__restrict__ x, Y_T *__restrict__ y EPILOGUE_PARAMETERS) {
  const int unit = blockIdx.x * blockDim.x + threadIdx.x;
  if (unit >= UNITS) return;
  const Position at = position<Y_C, Y_H, Y_W>(unit);
  for (int n = blockIdx.y; n < Y_N; n += gridDim.y) {
    const X_T *from = x + (n * X_SN + at.c * X_SC + at.h * X_SH + at.w * X_SW);
    float a[V], s[V];
    get_chunk(a, from);
    scales<(int)X_SC>(s, a, from, at.c);
#pragma unroll
    for (int k = 0; k < V; k++) a[k] *= power(s[k]);
    EPILOGUE_CHUNK(a, n, at.c, at.h, at.w);
    put_chunk(y + (n * Y_SN + at.c * Y_SC + at.h * Y_SH + at.w * Y_SW), a);
  }
}
