// dx[n][c] = epilogue(sum over k of dy[n][k] w[k][c]): n images, `channels` c, `kernels` k.
//
// Rows of tiles are images: dy is packed so that a tile's rows lie side by side, [images/ROWS][kernels][ROWS]. Of the
// weights, DEPTH kernels x GROUP panels at a time are packed into a buffer of the thread that stays in its second
// cache. Threads have a share of the panels of channels each.

void fc_grad_input(int images, int channels, int kernels, int depth, int group, const float *dy, const float *w,
                   float *dx, float *tiles, float *buffers EPILOGUE_PARAMETERS) {
  const index_t panels = (channels + BLOCK - 1) / BLOCK;
#pragma omp parallel
  {
#pragma omp for schedule(static)
    for (int n = 0; n < images; n += ROWS) {
      const int rows = (int)least(ROWS, images - n);
      for (int k = 0; k < kernels; k++)
        for (int i = 0; i < rows; i++) tiles[(index_t)n * kernels + k * rows + i] = dy[(index_t)(n + i) * kernels + k];
    }
    index_t from, to;
    share(panels, &from, &to);
    float *buffer = buffers + (index_t)omp_get_thread_num() * depth * group * BLOCK;
    for (index_t p0 = from; p0 < to; p0 += group) {
      const index_t p1 = least(p0 + group, to);
      for (int k = 0; k < kernels; k += depth) {
        const int count = (int)least(depth, kernels - k);
        for (int i = 0; i < count; i++)
          for (index_t p = p0; p < p1; p++)
            pack(1, w + (index_t)(k + i) * channels, channels, (int)p * BLOCK, channels,
                 buffer + ((p - p0) * depth + i) * BLOCK);
        for (int n = 0; n < images; n += ROWS) {
          const int rows = (int)least(ROWS, images - n);
          for (index_t p = p0; p < p1; p++)
            tile_of(channels - (int)p * BLOCK, rows, count, tiles + (index_t)n * kernels + (index_t)k * rows, 1, rows,
                    buffer + (p - p0) * depth * BLOCK, dx + (index_t)n * channels + p * BLOCK, channels, k > 0);
        }
      }
      const int c = (int)p0 * BLOCK, here = (int)least(channels, p1 * BLOCK) - c;
      for (int n = 0; n < images; n++) EPILOGUE_CHUNK(dx + (index_t)n * channels + c, here, n, c, 0, 0);
    }
  }
}
