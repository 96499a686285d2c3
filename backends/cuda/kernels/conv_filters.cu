// Filters w[kernel, channel, r, s] as the input gradient on tensor cores reads them (see conv_mma.cu):
//
//   f[class][group][channel][tap_h][tap_w][kernel of the group],
//
// the tap r = first + STRIDE_H * tap_h being that of the class with first = (class + PAD_H) % STRIDE_H; likewise s. Rows
// [tap_h][tap_w][kernel] begin PITCH apart and are filled as far as their class has taps; the kernels of a group are
// filled with zeros up to CHANNELS.
//
// A block takes 32 kernels x 32 channels of one tap of one group through shared memory, so that it reads and writes
// side by side.

constexpr int KERNELS = W_N / GROUPS;

extern "C" __global__ void __launch_bounds__(256) filters_by_channel(const W_T *__restrict__ w, F_T *__restrict__ f) {
  __shared__ float tile[32][33];  // [kernel][channel]
  const int fast = threadIdx.x % 32, slow = threadIdx.x / 32;
  const int first_kernel = blockIdx.z * 32, first_channel = blockIdx.y * 32;
  const int group = blockIdx.x / (W_H * W_W), r = blockIdx.x / W_W % W_H, s = blockIdx.x % W_W;
#pragma unroll
  for (int i = slow; i < 32; i += 8) {
    const int kernel = first_kernel + i, channel = first_channel + fast;
    const bool there = kernel < KERNELS && channel < W_C;
    const index_t at = (group * KERNELS + kernel) * W_SN + channel * W_SC + r * W_SH + s * W_SW;
    tile[i][fast] = there ? get(w + at) : 0.0f;
  }
  __syncthreads();
  const int first_h = r % STRIDE_H, first_w = s % STRIDE_W, taps_w = (W_W - first_w + STRIDE_W - 1) / STRIDE_W;
  const int class_h = (first_h + STRIDE_H - PAD_H % STRIDE_H) % STRIDE_H;
  const int class_w = (first_w + STRIDE_W - PAD_W % STRIDE_W) % STRIDE_W;
  const int tap = r / STRIDE_H * taps_w + s / STRIDE_W;
#pragma unroll
  for (int i = slow; i < 32; i += 8) {
    const int kernel = first_kernel + fast, channel = first_channel + i;
    if (kernel >= CHANNELS || channel >= W_C) continue;
    const index_t row = (index_t)((class_h * STRIDE_W + class_w) * GROUPS + group) * W_C + channel;
    put(f + row * PITCH + tap * CHANNELS + kernel, tile[fast][i]);
  }
}
