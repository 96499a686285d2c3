// The gradient of a locally connected layer's weights, a sum over the images alone:
//
//   weight[k, c, i, j, h, w] = sum over n of grad[n, k, h, w] x[n, c, h S - P + i D, w S - P + j D]
//
// Threads share out vectors of W positions x groups. Each has `panel` floats: of some `images` the gradient,
// [kernel / TI][image][TI][W], and what TJ channels meet with a tap, [image][TJ][W]. Sums of later images are added to
// those of earlier ones in the result.

enum { CHANNELS = X_C / GROUPS, KERNELS = G_C / GROUPS, TAPS = W_H * W_W, POSITIONS = G_H * G_W };

void local_weight(int n, const G_T *grad, const X_T *x, W_T *weight, float *panels, index_t panel, int images) {
#pragma omp parallel for collapse(2) schedule(dynamic)
  for (int first = 0; first < POSITIONS; first += W)
    for (int g = 0; g < GROUPS; g++) {
      float *const grads = panels + omp_get_thread_num() * panel;
      float *const maps = grads + (index_t)(KERNELS + TI - 1) / TI * TI * images * W;
      Lanes grad_lanes, map_lanes[TAPS];
      for (int l = 0; l < W; l++) {
        const int h = (first + l) / G_W, w = (first + l) % G_W, is_there = first + l < POSITIONS;
        grad_lanes.at[l] = is_there ? h * (index_t)G_SH + w * (index_t)G_SW : -1;
        for (int tap = 0; tap < TAPS; tap++) {
          const int p = met(h, tap / W_W, STRIDE_H, PAD_H, DILATION_H);
          const int q = met(w, tap % W_W, STRIDE_W, PAD_W, DILATION_W);
          map_lanes[tap].at[l] = is_there && is_inside(p, q, X_H, X_W) ? p * (index_t)X_SH + q * (index_t)X_SW : -1;
        }
      }
      for (int image0 = 0; image0 < n; image0 += images) {
        const int count = least(images, n - image0);
        for (int k = 0; k < KERNELS; k++)
          for (int image = 0; image < count; image++)
            take(grads + (((index_t)k / TI * images + image) * TI + k % TI) * W,
                 grad + (index_t)(image0 + image) * G_SN + (index_t)(g * KERNELS + k) * G_SC, &grad_lanes);
        for (int tap = 0; tap < TAPS; tap++)
          for (int c = 0; c < CHANNELS; c += TJ) {
            for (int image = 0; image < count; image++)
              for (int j = 0; j < TJ && c + j < CHANNELS; j++)
                take(maps + ((index_t)image * TJ + j) * W,
                     x + (index_t)(image0 + image) * X_SN + (index_t)(g * CHANNELS + c + j) * X_SC, map_lanes + tap);
            for (int k = 0; k < KERNELS; k += TI) {
              float sums[TI * TJ * W];
              product(grads + (index_t)k * images * W, maps, sums, count);
              for (int i = 0; i < TI && k + i < KERNELS; i++)
                for (int j = 0; j < TJ && c + j < CHANNELS; j++) {
                  W_T *to = weight + (g * KERNELS + k + i) * (index_t)W_SN + (c + j) * (index_t)W_SC;
                  to += tap / W_W * (index_t)W_SH + tap % W_W * (index_t)W_SW + first;
                  for (int l = 0; l < W && first + l < POSITIONS; l++)
                    to[l] = (image0 ? to[l] : 0.0f) + sums[(i * TJ + j) * W + l];
                }
            }
          }
      }
    }
}
