// The filter gradient from the sums of direct_weight.c, added up in order:
//
//   w[g groups_step + k targets_step + c depth_step + i rows_step + j columns_step]
//     = sum over splits of sums[split][g][k / BLOCK][i][j][c][k % BLOCK]
//
// Threads share out groups, blocks and taps. One kernel does for all layers.

enum { BLOCK = VECTORS * W, AT_ONCE = 16 };

void direct_sums(const float *sums, float *w, int splits, int groups, int targets, int depth, index_t groups_step,
                 index_t targets_step, index_t depth_step, index_t rows_step, index_t columns_step, int taps_h,
                 int taps_w) {
  const int blocks = (targets + BLOCK - 1) / BLOCK;
  const index_t each = (index_t)groups * blocks * taps_h * taps_w * depth * BLOCK;
#pragma omp parallel for collapse(4) schedule(static)
  for (int g = 0; g < groups; g++)
    for (int b = 0; b < blocks; b++)
      for (int i = 0; i < taps_h; i++)
        for (int j = 0; j < taps_w; j++) {
          const float *from = sums + ((((index_t)g * blocks + b) * taps_h + i) * taps_w + j) * depth * BLOCK;
          float *to = w + g * groups_step + (index_t)b * BLOCK * targets_step + i * rows_step + j * columns_step;
          const int count = least(BLOCK, targets - b * BLOCK);
          for (int c0 = 0; c0 < depth; c0 += AT_ONCE) {
            const int length = least(AT_ONCE, depth - c0);
            float total[AT_ONCE * BLOCK];
            memcpy(total, from + c0 * BLOCK, length * BLOCK * sizeof(float));
            for (int split = 1; split < splits; split++)
              for (int k = 0; k < length * BLOCK; k++) total[k] += from[split * each + c0 * BLOCK + k];
            for (int k = 0; k < count; k++)
              for (int c = 0; c < length; c++) to[k * targets_step + (c0 + c) * depth_step] = total[c * BLOCK + k];
          }
        }
}
