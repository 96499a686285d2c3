// Y[k][c][r][s] = the sum over slices of S[slice x K + k][column of (r, s, c)]: the slices of a product whose depth was
// split, added up in an order that depends on their number alone. A thread sums one element of Y, neighbours along the
// channels, with loads of 8 slices on their way at a time.
//
// The slices may come of an input that was folded by BLOCK_H x BLOCK_W (space to depth: a tap of S is a block of taps
// of Y, side by side in its channels), or that had channels of zeros added; columns and rows that Y does not have are
// not read.

extern "C" __global__ void __launch_bounds__(128) reduce_slices(const S_T *__restrict__ slices, Y_T *__restrict__ out) {
  constexpr index_t SLICE = S_N / SLICES * S_SN;
  const int at = blockIdx.x * 128 + threadIdx.x;
  const int c = at % Y_C, s = at / Y_C % Y_W, r = at / (Y_C * Y_W) % Y_H, k = at / (Y_C * Y_W * Y_H);
  if (k >= Y_N) return;
  const int channel = (r % BLOCK_H * BLOCK_W + s % BLOCK_W) * Y_C + c;
  const S_T *first = slices + k * S_SN + channel * S_SC + r / BLOCK_H * S_SH + s / BLOCK_W * S_SW;
  float part[8] = {};
  for (int slice = 0; slice < SLICES; slice += 8)
#pragma unroll
    for (int i = 0; i < 8; i++)
      if (slice + i < SLICES) part[i] += get(first + (slice + i) * SLICE);
  const float sum = ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
  put(out + k * Y_SN + c * Y_SC + r * Y_SH + s * Y_SW, sum);
}
