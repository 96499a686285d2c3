// out[column] = the sum of partials[block, column] over BLOCKS blocks.
//
// A block of 32 x LANES threads takes 32 columns; lane t adds up blocks t, t + LANES ..., then the lanes are added up
// in order. A column is a channel or, if there are POSITIONS a channel, a [position, channel] which goes to [channel,
// position].

constexpr int LANES = 16;

extern "C" __global__ void __launch_bounds__(32 * LANES) column_total(OUT_T *out, const float *partials) {
  __shared__ float shared[LANES * 32];
  const int lane = threadIdx.x / 32, column = blockIdx.x * 32 + threadIdx.x % 32;
  float sum = 0.0f;
  if (column < COLUMNS)
    for (int block = lane; block < BLOCKS; block += LANES) sum += partials[block * (index_t)COLUMNS + column];
  shared[threadIdx.x] = sum;
  __syncthreads();
  if (lane > 0 || column >= COLUMNS) return;
  sum = 0.0f;
  for (int t = 0; t < LANES; t++) sum += shared[t * 32 + threadIdx.x];
  constexpr int CHANNELS = COLUMNS / POSITIONS;
  put(out + (column % CHANNELS) * POSITIONS + column / CHANNELS, sum);
}
