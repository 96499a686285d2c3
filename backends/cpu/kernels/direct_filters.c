// Filters as direct convolution reads them, f[group][target / BLOCK][i][j][depth][target % BLOCK], zeros at the end:
//
//   f[g, t, i, j, d] = w[g groups_step + t targets_step + d depth_step + (tap_h + i step_h) rows_step
//                        + (tap_w + j step_w) columns_step]
//
// Threads share out groups, blocks and taps. One kernel does for all layers.

enum { BLOCK = VECTORS * W, AT_ONCE = 64 };

void direct_filters(const float *w, float *f, int groups, int targets, int depth, index_t groups_step,
                    index_t targets_step, index_t depth_step, index_t rows_step, index_t columns_step, int taps_h,
                    int tap_h, int step_h, int taps_w, int tap_w, int step_w) {
  const int blocks = (targets + BLOCK - 1) / BLOCK;
#pragma omp parallel for collapse(4) schedule(static)
  for (int g = 0; g < groups; g++)
    for (int b = 0; b < blocks; b++)
      for (int i = 0; i < taps_h; i++)
        for (int j = 0; j < taps_w; j++) {
          const float *from = w + g * groups_step + (index_t)b * BLOCK * targets_step;
          from += (tap_h + i * step_h) * rows_step + (tap_w + j * step_w) * columns_step;
          float *to = f + ((((index_t)g * blocks + b) * taps_h + i) * taps_w + j) * depth * BLOCK;
          const int count = least(BLOCK, targets - b * BLOCK);
          if (targets_step == 1)
            for (int d = 0; d < depth; d++) {
              for (int t = 0; t < count; t++) to[d * BLOCK + t] = from[d * depth_step + t];
              for (int t = count; t < BLOCK; t++) to[d * BLOCK + t] = 0.0f;
            }
          else
            for (int d0 = 0; d0 < depth; d0 += AT_ONCE) {
              const int d1 = least(d0 + AT_ONCE, depth);
              for (int t = 0; t < count; t++)
                for (int d = d0; d < d1; d++) to[d * BLOCK + t] = from[t * targets_step + d * depth_step];
              for (int t = count; t < BLOCK; t++)
                for (int d = d0; d < d1; d++) to[d * BLOCK + t] = 0.0f;
            }
        }
}
