// From stored images to what the net sees, in one pass: with (top, left, flipped) and a colour shift for each image,
//
//   Y[n][c][h][w] = (X[n][c][top + h][left + u] - mean + shift[n][c]) * FACTOR,  u = flipped ? Y_W - 1 - w : w
//
// X are bytes, rows of pixels or planes; Y is laid out and stored as the net wants it. A cell outside of the stored image
// counts as one of the mean. The mean is of channels (M_H = M_W = 1), or of pixels: subtracted where the pixel was
// stored or, CENTRED, the middle of the mean image from the middle of any crop, as the 2012 code did; then MEAN_FLIPS says
// whether it is reflected as the image is.
//
// Grid: x elements of an image, y images. A thread makes 4 elements of Y, 256 apart, so that neighbours write side by side.
// What changes from batch to batch lies in memory, none of it in arguments, so that a captured graph can be replayed.

constexpr bool PIXELS = M_H * M_W > 1;
constexpr int ELEMENTS = Y_C * Y_H * Y_W;

extern "C" __global__ void __launch_bounds__(256)
    augment(const X_T *__restrict__ images, const P_T *__restrict__ places, const S_T *__restrict__ shifts,
            const M_T *__restrict__ mean, Y_T *__restrict__ out) {
  constexpr bool LAST = Y_SC == 1;
  for (int n = blockIdx.y; n < Y_N; n += gridDim.y) {
    const int top = places[n * P_SN], left = places[n * P_SN + 1];
    const bool flipped = places[n * P_SN + 2] != 0;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int at = (blockIdx.x * 4 + i) * 256 + threadIdx.x;
      if (at >= ELEMENTS) break;
      const int c = LAST ? at % Y_C : at / (Y_H * Y_W), pixel = LAST ? at / Y_C : at % (Y_H * Y_W);
      const int h = pixel / Y_W, w = pixel % Y_W, u = flipped ? Y_W - 1 - w : w;
      const int row = top + h, column = left + u;
      const int mean_row = CENTRED ? (M_H - Y_H) / 2 + h : row;
      const int mean_column = CENTRED ? (M_W - Y_W) / 2 + (MEAN_FLIPS ? u : w) : column;
      const bool inside = (unsigned)row < (unsigned)X_H && (unsigned)column < (unsigned)X_W;
      float v = 0.0f;
      if (inside) {
        v = get(images + n * X_SN + c * X_SC + row * X_SH + column * X_SW);
        v -= get(mean + c * M_SC + (PIXELS ? mean_row * M_SH + mean_column * M_SW : 0));
      }
      put(out + n * Y_SN + at, (v + get(shifts + n * S_SN + c)) * FACTOR);
    }
  }
}
