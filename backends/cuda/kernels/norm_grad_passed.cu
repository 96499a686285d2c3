// The gradient of either local response normalisation in two kernels, of any number of channels and windows of any size. The
// first, what neighbours need of each other, through memory (norm_grad_summed.cu is the second):
//   p = g x s^(-BETA - 1),  s = BIAS + ALPHA (sum of x^2 over the window).
// A thread makes one unit of p, which lies as x does: V channels of one pixel. blockIdx.y goes over the images.

extern "C" __global__ void norm_grad_passed(const G_T *__restrict__ g, const X_T *__restrict__ x, P_T *__restrict__ p) {
  const int unit = blockIdx.x * blockDim.x + threadIdx.x;
  if (unit >= UNITS) return;
  const Position at = position<P_C, P_H, P_W>(unit);
  for (int n = blockIdx.y; n < P_N; n += gridDim.y) {
    float a[V], s[V], passed[V];
    get_chunk(a, x + (n * X_SN + at.c * X_SC + at.h * X_SH + at.w * X_SW));
    get_chunk(passed, g + (n * G_SN + at.c * G_SC + at.h * G_SH + at.w * G_SW));
    scales_at(s, a, x + n * X_SN, at);
#pragma unroll
    for (int k = 0; k < V; k++) passed[k] = passed[k] * power(s[k]) * a[k] * inverse(s[k]);
    put_chunk(p + (n * P_SN + at.c * P_SC + at.h * P_SH + at.w * P_SW), passed);
  }
}
