// dw[k][c] = sum over n of dy[n][k] x[n][c]: n images, `channels` c, `kernels` k.
//
// Rows of tiles are kernels: dy is packed so that a tile's rows lie side by side, [kernels/ROWS][images][ROWS]; x is
// packed into panels, [channels/BLOCK][images][BLOCK]. Threads have a share of the panels each, and take GROUP of them
// at a time, which stay in the second cache.

void fc_grad_weight(int images, int channels, int kernels, int group, const float *dy, const float *x, float *dw,
                    float *tiles, float *panels) {
  const index_t count = (channels + BLOCK - 1) / BLOCK;
#pragma omp parallel
  {
#pragma omp for schedule(static)
    for (int k = 0; k < kernels; k += ROWS) {
      const int rows = (int)least(ROWS, kernels - k);
      for (int n = 0; n < images; n++)
        for (int i = 0; i < rows; i++) tiles[(index_t)k * images + n * rows + i] = dy[(index_t)n * kernels + k + i];
    }
    index_t from, to;
    share(count, &from, &to);
    for (index_t p = from; p < to; p++)
      pack(images, x, channels, (int)p * BLOCK, channels, panels + p * images * BLOCK);
    for (index_t p0 = from; p0 < to; p0 += group)
      for (int k = 0; k < kernels; k += ROWS)
        for (index_t p = p0; p < least(p0 + group, to); p++) {
          const int rows = (int)least(ROWS, kernels - k);
          tile_of(channels - (int)p * BLOCK, rows, images, tiles + (index_t)k * images, 1, rows,
                  panels + p * images * BLOCK, dw + (index_t)k * channels + p * BLOCK, channels, 0);
        }
  }
}
