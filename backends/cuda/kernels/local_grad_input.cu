// The gradient of a locally connected layer's input: each pixel gathers from the outputs that it had a part in.
//
//   x[n, c, y, x] = sum over k, i, j of  g[n, k, oy, ox] w[k, c, i, j, oy, ox],  oy = (y + P - i D) / S and ox likewise,
//                   where both are whole
//
// A thread takes one pixel, PER_CHANNEL channels of a group and PER_IMAGE images; see local.cu. With a stride, the
// neighbours that a tap does not reach skip it.

constexpr int SHARE = X_C / GROUPS, KERNELS = G_C / GROUPS, PIXELS = X_H * X_W;
constexpr int CHUNKS = (SHARE + PER_CHANNEL - 1) / PER_CHANNEL;

extern "C" __global__ void __launch_bounds__(128) local_grad_input(const G_T *g, const W_T *w, X_T *x EPILOGUE_PARAMETERS) {
  const int at = blockIdx.x / IMAGE_CHUNKS * 128 + threadIdx.x, first_n = blockIdx.x % IMAGE_CHUNKS * PER_IMAGE;
  if (at >= PIXELS * CHUNKS * GROUPS) return;
  const int h = at % PIXELS / X_W, v = at % X_W;
  const int group = at / PIXELS / CHUNKS, first_c = at / PIXELS % CHUNKS * PER_CHANNEL;
  const G_T *const grads = g + first_n * G_SN + group * KERNELS * G_SC;
  const W_T *const weights = w + group * KERNELS * W_SN + first_c * W_SC;

  float sum[PER_CHANNEL][PER_IMAGE] = {};
  for (int tap = 0; tap < W_H * W_W; tap++) {
    const int down = h + PAD_H - tap / W_W * DILATION_H, right = v + PAD_W - tap % W_W * DILATION_W;
    const int oh = down / STRIDE_H, ow = right / STRIDE_W;
    if (down < 0 || right < 0 || oh >= G_H || ow >= G_W || down % STRIDE_H || right % STRIDE_W) continue;
#pragma unroll 4
    for (int k = 0; k < KERNELS; k++) {
      float grad[PER_IMAGE];
#pragma unroll
      for (int n = 0; n < PER_IMAGE; n++)
        grad[n] = first_n + n < X_N ? get(grads + (n * G_SN + k * G_SC + oh * G_SH + ow * G_SW)) : 0.0f;
#pragma unroll
      for (int c = 0; c < PER_CHANNEL; c++) {
        const index_t weight_at = k * W_SN + c * W_SC + tap * W_SW + oh * W_SX + ow * W_SY;
        const float weight = first_c + c < SHARE ? get(weights + weight_at) : 0.0f;
#pragma unroll
        for (int n = 0; n < PER_IMAGE; n++) sum[c][n] = fmaf(weight, grad[n], sum[c][n]);
      }
    }
  }
#pragma unroll
  for (int n = 0; n < PER_IMAGE; n++) {
#pragma unroll
    for (int c = 0; c < PER_CHANNEL; c++) {
      const int image = first_n + n, channel = group * SHARE + first_c + c;
      if (image >= X_N || first_c + c >= SHARE) continue;
      put(x + (image * X_SN + channel * X_SC + h * X_SH + v * X_SW), EPILOGUE(sum[c][n], image, channel, h, v));
    }
  }
}
