// A locally connected layer: a convolution with weights of its own at every position.
//
//   y[n, k, y, x] = sum over c, i, j of  x[n, c, y S - P + i D, x S - P + j D] w[k, c, i, j, y, x]
//
// The weights are most of the traffic. A thread takes one position, PER_KERNEL kernels of a group and PER_IMAGE images:
// neighbours read weights and (channels first) pixels side by side, and each weight serves PER_IMAGE images. Blocks of
// the same weights and other images follow one another, and find them in the L2.

constexpr int SHARE = X_C / GROUPS, KERNELS = Y_C / GROUPS, POSITIONS = Y_H * Y_W;
constexpr int CHUNKS = (KERNELS + PER_KERNEL - 1) / PER_KERNEL;

extern "C" __global__ void __launch_bounds__(128) local(const X_T *x, const W_T *w, Y_T *y EPILOGUE_PARAMETERS) {
  const int at = blockIdx.x / IMAGE_CHUNKS * 128 + threadIdx.x, first_n = blockIdx.x % IMAGE_CHUNKS * PER_IMAGE;
  if (at >= POSITIONS * CHUNKS * GROUPS) return;
  const int position = at % POSITIONS, oh = position / Y_W, ow = position % Y_W;
  const int group = at / POSITIONS / CHUNKS, first_k = at / POSITIONS % CHUNKS * PER_KERNEL;
  const int top = oh * STRIDE_H - PAD_H, left = ow * STRIDE_W - PAD_W;
  const X_T *const images = x + first_n * X_SN + group * SHARE * X_SC;
  const W_T *const weights = w + (group * KERNELS + first_k) * W_SN + position;

  float sum[PER_KERNEL][PER_IMAGE] = {};
  for (int c = 0; c < SHARE; c++) {
#pragma unroll 3
    for (int tap = 0; tap < W_H * W_W; tap++) {
      const int h = top + tap / W_W * DILATION_H, v = left + tap % W_W * DILATION_W;
      const bool inside = (unsigned)h < (unsigned)X_H && (unsigned)v < (unsigned)X_W;
      float pixel[PER_IMAGE];
#pragma unroll
      for (int n = 0; n < PER_IMAGE; n++)
        pixel[n] = inside && first_n + n < X_N ? get(images + (n * X_SN + c * X_SC + h * X_SH + v * X_SW)) : 0.0f;
#pragma unroll
      for (int k = 0; k < PER_KERNEL; k++) {
        const float weight = first_k + k < KERNELS ? get(weights + (k * W_SN + c * W_SC + tap * W_SW)) : 0.0f;
#pragma unroll
        for (int n = 0; n < PER_IMAGE; n++) sum[k][n] = fmaf(weight, pixel[n], sum[k][n]);
      }
    }
  }
#pragma unroll
  for (int n = 0; n < PER_IMAGE; n++) {
#pragma unroll
    for (int k = 0; k < PER_KERNEL; k++) {
      const int image = first_n + n, kernel = group * KERNELS + first_k + k;
      if (image >= Y_N || first_k + k >= KERNELS) continue;
      put(y + (image * Y_SN + kernel * Y_SC + oh * Y_SH + ow * Y_SW), EPILOGUE(sum[k][n], image, kernel, oh, ow));
    }
  }
}
