// y = epilogue(A^T [U * (B^T x B)] A), a convolution at stride 1 by Winograd's algorithm: see winograd_tiles.c. U are
// the filters transformed, [point][group][kernels by 2 W][channels][2 W or what is left], made by winograd_filters.c.
// Tiles go in blocks of at most `block`. Either each thread has its own blocks and `scratch` of its own, or, where
// tiles are few (`together`), one block is shared: by tiles in the transforms, by points and kernels in the products.
// Scratch holds x transformed, [point][tile][wide], and the products, [point][tile][groups * kernels].

TRANSFORM(data, A, A)
TRANSFORM(output, A, M)

void winograd(int n, const float *x, int h, int w, index_t xn, index_t xc, index_t xh, index_t xw, int channels,
              int top, int left, const float *filters, index_t upoint, float *y, int yh, int yw, index_t yn, index_t yc,
              index_t ys, index_t yt, int kernels, int groups, float *scratch, int block,
              int together EPILOGUE_PARAMETERS) {
  const maps_t data = {h, w, xn, xc, xh, xw}, results = {yh, yw, yn, yc, ys, yt};
  const grid_t grid = grid_of(results);
  const int map = grid.down * grid.across, each = kernels / groups, depth = channels / groups;
  const index_t tiles = (index_t)n * map;
  const int padded = (each + W - 1) / W * W, pairs = (padded + 2 * W - 1) / (2 * W);
  const index_t wide = spread(channels), deep = spread(groups * padded);
  const index_t vpoint = block * wide + W, qpoint = block * deep + W;
#pragma omp parallel
  {
    const int thread = omp_get_thread_num(), threads = omp_get_num_threads();
    const int rank = together ? thread : 0, team = together ? threads : 1;
    float *v = scratch + (together ? 0 : thread * POINTS * (vpoint + qpoint)), *q = v + POINTS * vpoint;
    for (index_t first = together ? 0 : (index_t)thread * block; first < tiles; first += (index_t)threads * block) {
      const int count = (int)least(block, tiles - first);
      for (int t = rank; t < count; t += team) {
        const int image = (int)((first + t) / map), down = (int)((first + t) % map) / grid.across;
        const int across = (int)((first + t) % map) % grid.across;
        window(A, data_transform, x + image * xn, data, channels, down * M - top, across * M - left, v + t * wide,
               2 * W, vpoint);
      }
      if (together) {
#pragma omp barrier
      }
      const int units = POINTS * groups * pairs;
      for (int unit = (int)((index_t)units * rank / team); unit < (int)((index_t)units * (rank + 1) / team); unit++) {
        const int pair = unit % pairs, group = unit / pairs % groups, point = unit / pairs / groups;
        const float *u = filters + point * upoint + ((index_t)group * padded + pair * 2 * W) * depth;
        const float *from = v + point * vpoint + group * depth;
        float *to = q + point * qpoint + group * padded + pair * 2 * W;
        if (padded - pair * 2 * W > W)
          panels_2(count, depth, from, wide, u, to, deep, 0);
        else
          panels_1(count, depth, from, wide, u, to, deep, 0);
      }
      if (together) {
#pragma omp barrier
      }
      for (int t = rank; t < count; t += team) {
        const int image = (int)((first + t) / map), down = (int)((first + t) % map) / grid.across;
        const int across = (int)((first + t) % map) % grid.across;
        const int rows = (int)least(M, yh - down * M), columns = (int)least(M, yw - across * M);
        for (int group = 0; group < groups; group++)
          for (int k = 0; k < each; k += W) {
            float made[M][M][W];
            output_transform(q + t * deep + group * padded + k, A * qpoint, qpoint, made[0][0], W);
            const int channel = group * each + k, filled = (int)least(W, each - k);
            for (int i = 0; i < rows; i++)
              for (int j = 0; j < columns; j++) {
                const int row = down * M + i, column = across * M + j;
                const index_t at = image * yn + channel * yc + row * ys + column * yt;
                const int first = FLAT ? (int)at : channel;
                if (yc == 1 && filled == W) {
                  EPILOGUE_CHUNK(made[i][j], W, image, first, row, column);
                  STORE(y + at, LOAD(made[i][j]));
                } else {
                  EPILOGUE_CHUNK(made[i][j], filled, image, first, row, column);
                  for (int c = 0; c < filled; c++) y[at + c * yc] = made[i][j][c];
                }
              }
          }
      }
    }
  }
}
