// A locally connected layer, or (BACKWARD) the gradient of its input:
//
//   y[n, k, h, w] = epilogue of the sum over c, i, j of x[n, c, h S - P + i D, w S - P + j D] weight[k, c, i, j, h, w]
//   y[n, c, h, w] = epilogue of the sum over k, i, j of x[n, k, p, q] weight[k, c, i, j, p, q]
//                   where p S - P + i D = h and q likewise
//
// Threads share out vectors of W pixels of y x groups x chunks of `images`. Each has `panel` floats: the pixels of x
// that these meet, [image / TJ][tap][channel][image % TJ][W], and the weights of TI channels of y,
// [tap][channel][TI][W].

enum { DEPTH = X_C / GROUPS, TARGETS = Y_C / GROUPS, TAPS = W_H * W_W, PIXELS = Y_H * Y_W };

INLINE void lanes(int first, int tap, Lanes *maps, Lanes *weights) {
  for (int l = 0; l < W; l++) {
    const int h = (first + l) / Y_W, w = (first + l) % Y_W, i = tap / W_W, j = tap % W_W;
    const int p = BACKWARD ? meeting(h, i, STRIDE_H, PAD_H, DILATION_H) : met(h, i, STRIDE_H, PAD_H, DILATION_H);
    const int q = BACKWARD ? meeting(w, j, STRIDE_W, PAD_W, DILATION_W) : met(w, j, STRIDE_W, PAD_W, DILATION_W);
    const int is_met = first + l < PIXELS && is_inside(p, q, X_H, X_W);
    maps->at[l] = is_met ? p * (index_t)X_SH + q * (index_t)X_SW : -1;
    weights->at[l] = is_met ? (BACKWARD ? p : h) * (index_t)W_SX + (BACKWARD ? q : w) * (index_t)W_SY : -1;
  }
}

void local(int n, const X_T *x, const W_T *weight, Y_T *y, float *panels, index_t panel,
           int images EPILOGUE_PARAMETERS) {
  const int chunks = (n + images - 1) / images;
#pragma omp parallel for collapse(3) schedule(dynamic)
  for (int first = 0; first < PIXELS; first += W)
    for (int g = 0; g < GROUPS; g++)
      for (int chunk = 0; chunk < chunks; chunk++) {
        float *const maps = panels + omp_get_thread_num() * panel;
        float *const weights = maps + (index_t)images * TAPS * DEPTH * W;
        Lanes map_lanes[TAPS], weight_lanes[TAPS];
        for (int tap = 0; tap < TAPS; tap++) lanes(first, tap, map_lanes + tap, weight_lanes + tap);
        const int image0 = chunk * images, count = least(images, n - image0);
        for (int image = 0; image < count; image++)
          for (int tap = 0; tap < TAPS; tap++)
            for (int s = 0; s < DEPTH; s++) {
              const index_t at = (((index_t)image / TJ * TAPS + tap) * DEPTH + s) * TJ + image % TJ;
              const X_T *from = x + (index_t)(image0 + image) * X_SN + (index_t)(g * DEPTH + s) * X_SC;
              take(maps + at * W, from, map_lanes + tap);
            }
        for (int r = 0; r < TARGETS; r += TI) {
          for (int tap = 0; tap < TAPS; tap++)
            for (int s = 0; s < DEPTH; s++)
              for (int i = 0; i < TI && r + i < TARGETS; i++) {
                const int kernel = BACKWARD ? g * DEPTH + s : g * TARGETS + r + i, channel = BACKWARD ? r + i : s;
                const W_T *from = weight + kernel * (index_t)W_SN + channel * (index_t)W_SC;
                from += tap / W_W * (index_t)W_SH + tap % W_W * (index_t)W_SW;
                take(weights + (((index_t)tap * DEPTH + s) * TI + i) * W, from, weight_lanes + tap);
              }
          for (int image = 0; image < count; image += TJ) {
            float sums[TI * TJ * W];
            product(weights, maps + (index_t)image * TAPS * DEPTH * W, sums, TAPS * DEPTH);
            for (int j = 0; j < TJ && image + j < count; j++)
              for (int l = 0; l < W && first + l < PIXELS; l++)
                for (int i = 0; i < TI && r + i < TARGETS; i++) {
                  const int at = image0 + image + j, c = g * TARGETS + r + i;
                  const int h = (first + l) / Y_W, w = (first + l) % Y_W;
                  y[at * (index_t)Y_SN + c * (index_t)Y_SC + h * (index_t)Y_SH + w * (index_t)Y_SW] =
                      EPILOGUE(sums[(i * TJ + j) * W + l], at, c, h, w);
                }
          }
        }
      }
}
