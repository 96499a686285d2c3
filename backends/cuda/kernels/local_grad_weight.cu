// The gradient of a locally connected layer's weights, a sum over the images alone:
//
//   w[k, c, i, j, y, x] = sum over n of  g[n, k, y, x] x[n, c, y S - P + i D, x S - P + j D]
//
// A thread takes one position, one tap, PER_KERNEL kernels and PER_CHANNEL channels of a group: neighbours read both operands
// (channels first) and write the weights, which are most of the traffic, side by side.

constexpr int SHARE = X_C / GROUPS, KERNELS = G_C / GROUPS, POSITIONS = G_H * G_W, TAPS = W_H * W_W;
constexpr int CHUNKS_C = (SHARE + PER_CHANNEL - 1) / PER_CHANNEL, CHUNKS_K = (KERNELS + PER_KERNEL - 1) / PER_KERNEL;

extern "C" __global__ void __launch_bounds__(128) local_grad_weight(const G_T *g, const X_T *x, W_T *w) {
  const index_t at = (index_t)blockIdx.x * 128 + threadIdx.x;
  if (at >= (index_t)POSITIONS * TAPS * CHUNKS_C * CHUNKS_K * GROUPS) return;
  const int position = (int)(at % POSITIONS), rest = (int)(at / POSITIONS);
  const int tap = rest % TAPS, first_c = rest / TAPS % CHUNKS_C * PER_CHANNEL;
  const int first_k = rest / TAPS / CHUNKS_C % CHUNKS_K * PER_KERNEL, group = rest / TAPS / CHUNKS_C / CHUNKS_K;
  const int oh = position / G_W, ow = position % G_W;
  const int h = oh * STRIDE_H - PAD_H + tap / W_W * DILATION_H, v = ow * STRIDE_W - PAD_W + tap % W_W * DILATION_W;
  const bool inside = (unsigned)h < (unsigned)X_H && (unsigned)v < (unsigned)X_W;
  const G_T *const grads = g + (group * KERNELS + first_k) * G_SC + oh * G_SH + ow * G_SW;
  const X_T *const images = x + (group * SHARE + first_c) * X_SC + h * X_SH + v * X_SW;

  float sum[PER_KERNEL][PER_CHANNEL] = {};
  const int images_met = inside ? X_N : 0;
#pragma unroll 2
  for (int n = 0; n < images_met; n++) {
    float pixel[PER_CHANNEL];
#pragma unroll
    for (int c = 0; c < PER_CHANNEL; c++) pixel[c] = first_c + c < SHARE ? get(images + (n * X_SN + c * X_SC)) : 0.0f;
#pragma unroll
    for (int k = 0; k < PER_KERNEL; k++) {
      const float grad = first_k + k < KERNELS ? get(grads + (n * G_SN + k * G_SC)) : 0.0f;
#pragma unroll
      for (int c = 0; c < PER_CHANNEL; c++) sum[k][c] = fmaf(grad, pixel[c], sum[k][c]);
    }
  }
#pragma unroll
  for (int k = 0; k < PER_KERNEL; k++) {
#pragma unroll
    for (int c = 0; c < PER_CHANNEL; c++) {
      if (first_k + k >= KERNELS || first_c + c >= SHARE) continue;
      const int kernel = group * KERNELS + first_k + k;
      put(w + (kernel * W_SN + (first_c + c) * W_SC + tap * W_SW + position), sum[k][c]);
    }
  }
}
