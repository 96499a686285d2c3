// Stored images to what the net sees, in one pass. Of result n, place[] being its row of `places`, it makes
//
//   Y[c][h][w] = (X[place[IMAGE]][c][place[TOP] + h][place[LEFT] + u] - M[c][..][..] + shift[n][c]) * factor
//
// where u is w, or Y_W - 1 - w if it is reflected. X are bytes or floats, rows of pixels or planes; M is of pixels, at
// place[MEAN_TOP] + h and place[MEAN_LEFT] + (as above, by a reflection of its own), or of channels. Y is laid out and
// stored as the net wants it.
//
// Grid: x elements of an image, y images. A thread makes 4 elements of Y, 256 apart, so that neighbours write side by side.
// What changes from batch to batch lies in memory, none of it in arguments, so that a captured graph can be replayed.

constexpr bool PIXELS = M_H * M_W > 1;
constexpr int ELEMENTS = Y_C * Y_H * Y_W;

extern "C" __global__ void __launch_bounds__(256)
    augment(const X_T *__restrict__ images, const P_T *__restrict__ places, const S_T *__restrict__ shifts,
            const M_T *__restrict__ mean, Y_T *__restrict__ out, float factor) {
  constexpr bool LAST = Y_SC == 1;
  for (int n = blockIdx.y; n < Y_N; n += gridDim.y) {
    const P_T *place = places + n * P_SN;
    const X_T *x = images + place[IMAGE] * X_SN + place[TOP] * X_SH + place[LEFT] * X_SW;
    const M_T *m = mean + (PIXELS ? place[MEAN_TOP] * M_SH + place[MEAN_LEFT] : 0);
    const bool flipped = place[FLIPPED] != 0, mean_flipped = place[MEAN_FLIPPED] != 0;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int at = (blockIdx.x * 4 + i) * 256 + threadIdx.x;
      if (at >= ELEMENTS) break;
      const int c = LAST ? at % Y_C : at / (Y_H * Y_W), pixel = LAST ? at / Y_C : at % (Y_H * Y_W);
      const int h = pixel / Y_W, w = pixel % Y_W, reflected = Y_W - 1 - w;
      float v = get(x + c * X_SC + h * X_SH + (flipped ? reflected : w) * X_SW);
      v -= get(m + c * M_SC + (PIXELS ? h * M_SH + (mean_flipped ? reflected : w) : 0));
      put(out + n * Y_SN + at, (v + get(shifts + n * S_SN + c)) * factor);
    }
  }
}
