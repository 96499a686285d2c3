// The gradient of local response normalisation across maps, for a block:
//   y = g s^-BETA - 2 ALPHA BETA a (sum over the window of t), t = g a s^(-BETA - 1), s = BIAS + ALPHA (sum of a^2).
// A block takes all channels of PIXELS pixels of an image, one after another in memory, a thread up to TURNS units of them:
// what it needs twice stays in registers, and t, which its neighbours need, goes to shared memory: [PIXELS][C] floats where
// channels lie last, else [C][PIXELS]. s is computed once for each element.

constexpr int BLOCK_UNITS = PIXELS * (X_C / V);
constexpr int T_SC = LAST ? 1 : PIXELS, T_SP = LAST ? X_C : 1;  // of t, from channel to channel and pixel to pixel

// Of a block's units: which pixel of the image, and the first channel.
struct Part { int pixel, inside, c; };
__device__ __forceinline__ Part part(int turn) {
  const int unit = turn * THREADS + threadIdx.x;
  constexpr int ACROSS = X_C / V;
  const int inside = LAST ? unit / ACROSS : unit % PIXELS, c = LAST ? unit % ACROSS * V : unit / PIXELS;
  const int pixel = blockIdx.x * PIXELS + inside;
  return {unit < BLOCK_UNITS && pixel < X_H * X_W ? pixel : -1, inside, c};
}

// read(g, c, pixel) gives the incoming gradient of a unit, write(y, c, pixel) takes what is to be passed on.
template <class Read, class Write>
__device__ __forceinline__ void lrn_tile(float *t, const X_T *__restrict__ image, Read read, Write write) {
  float a[TURNS][V], direct[TURNS][V];
#pragma unroll
  for (int turn = 0; turn < TURNS; turn++) {
    const Part here = part(turn);
    if (here.pixel < 0) continue;
    const X_T *from = image + (here.c * X_SC + here.pixel * X_SW);
    float s[V], passed[V];
    read(direct[turn], here.c, here.pixel);
    get_chunk(a[turn], from);
    scales<(int)X_SC>(s, a[turn], from, here.c);
#pragma unroll
    for (int k = 0; k < V; k++) {
      direct[turn][k] *= power(s[k]);
      passed[k] = direct[turn][k] * a[turn][k] * inverse(s[k]);
    }
    put_chunk(t + (here.inside * T_SP + here.c * T_SC), passed);
  }
  __syncthreads();
#pragma unroll
  for (int turn = 0; turn < TURNS; turn++) {
    const Part here = part(turn);
    if (here.pixel < 0) continue;
    const float *mine = t + (here.inside * T_SP + here.c * T_SC);
    float own[V], sum[V];
    get_chunk(own, mine);
    across(sum, own, here.c, [&](int offset) { return mine[offset * T_SC]; });
#pragma unroll
    for (int k = 0; k < V; k++) sum[k] = direct[turn][k] - 2.0f * ALPHA * BETA * a[turn][k] * sum[k];
    write(sum, here.c, here.pixel);
  }
}
