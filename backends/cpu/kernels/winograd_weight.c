// dw = G^T S G, S = the sum over tiles of (A dy A^T) * (B^T x B): the gradient of a convolution's filters by Winograd's
// algorithm, see winograd_tiles.c. Tiles go in blocks of at most `block`: their windows of x and of dy are transformed
// into `scratch`, [point][tile][wide] and [point][tile][groups * kernels], and multiplied into sums [point][group]
// [kernels by 2 W][channels][2 W or what is left]. Either each thread has its own blocks, scratch and sums, which are
// then added up in order, or (`together`) all threads share each block: by tiles, then by points and kernels.

TRANSFORM(data, A, A)
TRANSFORM(gradient, M, A)
TRANSFORM(weight, A, R)

void winograd_weight(int n, const float *dy, int yh, int yw, index_t yn, index_t yc, index_t ys, index_t yt,
                     int kernels, const float *x, int h, int w, index_t xn, index_t xc, index_t xh, index_t xw,
                     int channels, int top, int left, float *dw, index_t wn, index_t wc, index_t wh, index_t ww,
                     int groups, float *scratch, int block, int together) {
  const maps_t data = {h, w, xn, xc, xh, xw}, results = {yh, yw, yn, yc, ys, yt};
  const grid_t grid = grid_of(results);
  const int map = grid.down * grid.across, each = kernels / groups, depth = channels / groups;
  const index_t tiles = (index_t)n * map;
  const int padded = (each + W - 1) / W * W, pairs = (padded + 2 * W - 1) / (2 * W);
  const int rows = (depth + STEP - 1) / STEP * STEP;
  const index_t wide = spread(channels), pitch = (index_t)block * 2 * W;
  const index_t vpoint = block * wide + W, dpoint = groups * pairs * pitch + W;
  const index_t spoint = (index_t)groups * padded * rows + W, sums = POINTS * spoint;
  const index_t own = sums + POINTS * (vpoint + dpoint);
#pragma omp parallel
  {
    const int thread = omp_get_thread_num(), threads = omp_get_num_threads();
    const int rank = together ? thread : 0, team = together ? threads : 1;
    const int used = together ? 1 : (int)least(threads, (tiles + block - 1) / block);
    float *sum = scratch + (together ? 0 : thread * own), *v = sum + sums, *d = v + POINTS * vpoint;
    const index_t start = together ? 0 : (index_t)thread * block;
    for (index_t first = start; first < tiles; first += (index_t)(together ? 1 : threads) * block) {
      const int count = (int)least(block, tiles - first);
      for (int t = rank; t < count; t += team) {
        const int image = (int)((first + t) / map), down = (int)((first + t) % map) / grid.across;
        const int across = (int)((first + t) % map) % grid.across;
        window(A, data_transform, x + image * xn, data, channels, down * M - top, across * M - left, v + t * wide,
               2 * W, vpoint);
        for (int group = 0; group < groups; group++)
          window(M, gradient_transform, dy + image * yn + group * each * yc, results, each, down * M, across * M,
                 d + group * pairs * pitch + t * 2 * W, pitch, dpoint);
      }
      if (together) {
#pragma omp barrier
      }
      const int units = POINTS * groups * pairs;
      for (int unit = (int)((index_t)units * rank / team); unit < (int)((index_t)units * (rank + 1) / team); unit++) {
        const int pair = unit % pairs * 2 * W, group = unit / pairs % groups, point = unit / pairs / groups;
        const float *from = v + point * vpoint + group * depth;
        const float *by = d + point * dpoint + (group * pairs + pair / (2 * W)) * pitch;
        float *to = sum + point * spoint + (index_t)(group * padded + pair) * rows;
        if (padded - pair > W)
          panels_2(depth, count, from, wide, by, to, 2 * W, first > start);
        else
          panels_1(depth, count, from, wide, by, to, W, first > start);
      }
      if (together) {
#pragma omp barrier
      }
    }
#pragma omp barrier
    if (used > 1) {
      const index_t begin = sums / W * thread / threads * W, end = sums / W * (thread + 1) / threads * W;
      for (int other = 1; other < used; other++)
        for (index_t i = begin; i < end; i += W)
          STORE(scratch + i, LOAD(scratch + i) + LOAD(scratch + other * own + i));
#pragma omp barrier
    }
#pragma omp for collapse(2) schedule(static)
    for (int part = 0; part < groups * (padded / W); part++)
      for (int piece = 0; piece < (depth + W - 1) / W; piece++) {
        const int group = part / (padded / W), kernel = part % (padded / W) * W, count = (int)least(W, each - kernel);
        const int pair = kernel / (2 * W) * (2 * W), breadth = (int)least(2 * W, padded - pair);
        const int from = piece * W, some = (int)least(W, depth - from);
        float taps[W][R][R][W];
        for (int c = 0; c < some; c++) {
          const float *at = scratch + (index_t)(group * padded + pair) * rows + (from + c) * breadth + kernel - pair;
          weight_transform(at, A * spoint, spoint, taps[c][0][0], W);
        }
        for (int k = 0; k < count; k++)
          for (int i = 0; i < R; i++)
            for (int j = 0; j < R; j++) {
              float *to = dw + (group * each + kernel + k) * wn + from * wc + i * wh + j * ww;
              for (int c = 0; c < some; c++) to[c * wc] = taps[c][i][j][k];
            }
      }
  }
}
