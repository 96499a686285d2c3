// The second kernel of a normalisation's gradient, of what norm_grad_passed.cu has written:
//   y = g s^-BETA - 2 ALPHA BETA x (sum over the window of p).
// A thread makes one unit of y: V channels of one pixel. blockIdx.y goes over the images.

extern "C" __global__ void norm_grad_summed(const G_T *__restrict__ g, const X_T *__restrict__ x, const P_T *__restrict__ p,
                                            Y_T *__restrict__ y EPILOGUE_PARAMETERS) {
  const int unit = blockIdx.x * blockDim.x + threadIdx.x;
  if (unit >= UNITS) return;
  const Position at = position<Y_C, Y_H, Y_W>(unit);
  for (int n = blockIdx.y; n < Y_N; n += gridDim.y) {
    float a[V], s[V], v[V], sum[V];
    get_chunk(a, x + (n * X_SN + at.c * X_SC + at.h * X_SH + at.w * X_SW));
    get_chunk(v, g + (n * G_SN + at.c * G_SC + at.h * G_SH + at.w * G_SW));
    scales_at(s, a, x + n * X_SN, at);
    sums_at(sum, p + n * P_SN, at);
#pragma unroll
    for (int k = 0; k < V; k++) v[k] = v[k] * power(s[k]) - 2.0f * ALPHA * BETA * a[k] * sum[k];
    EPILOGUE_CHUNK(v, n, at.c, at.h, at.w);
    put_chunk(y + (n * Y_SN + at.c * Y_SC + at.h * Y_SH + at.w * Y_SW), v);
  }
}
