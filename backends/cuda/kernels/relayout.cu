// X copied into Y, which may be stored as another type, in another order of its axes, and be longer along axes: what X does
// not have is filled with zeros.
//
// TRANSPOSED: where channels lie side by side in the one, pixels do in the other. A block takes 32 channels of 32 pixels
// through shared memory, so that it both reads and writes side by side; the pitch of 33 keeps a column off a single bank.
// Otherwise a thread takes one element of Y, in the order of memory.

#if TRANSPOSED

// By place in a tile: pixels along x where they lie side by side, channels where those do.
__device__ __forceinline__ int channel(int slow, int fast, bool last) { return blockIdx.y * 32 + (last ? fast : slow); }
__device__ __forceinline__ int pixel(int slow, int fast, bool last) { return blockIdx.x * 32 + (last ? slow : fast); }

extern "C" __global__ void __launch_bounds__(256) relayout(const X_T *x, Y_T *y) {
  __shared__ float tile[32][33];  // [slow of x][fast of x]
  constexpr int PIXELS = Y_H * Y_W;
  constexpr bool LAST = X_SC == 1;
  const int n = blockIdx.z, fast = threadIdx.x % 32;
#pragma unroll
  for (int slow = threadIdx.x / 32; slow < 32; slow += 8) {
    const int c = channel(slow, fast, LAST), p = pixel(slow, fast, LAST);
    if (p < PIXELS) tile[slow][fast] = n < X_N && c < X_C ? get(x + n * X_SN + c * X_SC + p * X_SW) : 0.0f;
  }
  __syncthreads();
#pragma unroll
  for (int slow = threadIdx.x / 32; slow < 32; slow += 8) {
    const int c = channel(slow, fast, !LAST), p = pixel(slow, fast, !LAST);
    if (p < PIXELS && c < Y_C) put(y + n * Y_SN + c * Y_SC + p * Y_SW, tile[fast][slow]);
  }
}

#else

extern "C" __global__ void __launch_bounds__(256) relayout(const X_T *x, Y_T *y) {
  constexpr bool LAST = Y_SC == 1;
  const index_t at = (index_t)blockIdx.x * 256 + threadIdx.x;
  if (at >= COUNT) return;
  const int inner = (int)(at % Y_SN), n = (int)(at / Y_SN);
  const int pixel = LAST ? inner / Y_C : inner % (Y_H * Y_W), c = LAST ? inner % Y_C : inner / (Y_H * Y_W);
  const int h = pixel / Y_W, w = pixel % Y_W;
  const bool there = n < X_N && c < X_C && h < X_H && w < X_W;
  put(y + at, there ? get(x + n * X_SN + c * X_SC + h * X_SH + w * X_SW) : 0.0f);
}

#endif
