// y[n][k] = epilogue(sum over c of x[n][c] w[k][c]): n images, `channels` c, `kernels` k.
//
// The images are the columns of panels (x is small and packed, transposed), so that the weights, which are read once,
// are read as they lie. DEPTH channels at a time keep the panels in the second cache. `sums` [kernels][images] holds
// what is added up; at the end it is transposed. A few images are worth no panel: there each sum is a dot product, with
// vectors along the channels. Threads have a share of the kernels each.

#define FEW 4
#define MOST_DEPTH 1024

KERNEL void dots(int images, int channels, index_t from, index_t to, const float *restrict x, const float *restrict w,
                 float *restrict sums, index_t sums_row) {
  for (index_t k = from; k < to; k++)
    for (int n = 0; n < images; n++) {
      const float *a = x + (index_t)n * channels, *b = w + k * channels;
      vec sum[4] = {{0}};
      int c = 0;
      for (; c + 4 * W <= channels; c += 4 * W)
        UNROLL for (int v = 0; v < 4; v++) sum[v] += LOAD(a + c + v * W) * LOAD(b + c + v * W);
      float total = 0.0f;
      for (; c < channels; c++) total += a[c] * b[c];
      const vec joined = (sum[0] + sum[1]) + (sum[2] + sum[3]);
      for (int j = 0; j < W; j++) total += joined[j];
      sums[k * sums_row + n] = total;
    }
}

void fc(int images, int channels, int kernels, int depth, const float *x, const float *w, float *y, float *panels,
        float *sums EPILOGUE_PARAMETERS) {
  const int count = (images + BLOCK - 1) / BLOCK;
  const index_t sums_row = images <= FEW ? images : count * BLOCK;
#pragma omp parallel
  {
    index_t from, to;
    if (images > FEW) {
#pragma omp for schedule(static)
      for (int c = 0; c < channels; c += 64)  // [panel][channels][BLOCK]
        for (int p = 0; p < count; p++)
          pack_transposed((int)least(64, channels - c), x + c, channels, p * BLOCK, images,
                          panels + ((index_t)p * channels + c) * BLOCK);
    }
    share(kernels, &from, &to);
    if (images <= FEW) {
      dots(images, channels, from, to, x, w, sums, sums_row);
    } else {
      for (int c = 0; c < channels; c += depth)
        for (index_t k = from; k < to; k += ROWS) {
          const int rows = (int)least(ROWS, to - k), here = (int)least(depth, channels - c);
          float near[ROWS][MOST_DEPTH + W];  // rows far apart, as weights lie, would share a few sets of the cache
          for (int i = 0; i < rows; i++) {
            const float *row = w + (k + i) * channels + c, *next = row + ROWS * (index_t)channels;
            memcpy(near[i], row, here * sizeof(float));
            for (int j = 0; j < here; j += 16) __builtin_prefetch(next + j);
          }
          for (int p = 0; p < count; p++)
            tile(rows, here, near[0], MOST_DEPTH + W, 1, panels + ((index_t)p * channels + c) * BLOCK,
                 sums + k * sums_row + p * BLOCK, sums_row, c > 0);
        }
    }
    // Each thread brings its own kernels to where they belong.
    for (index_t k = from; k < to; k += 64) {
      const int here = (int)least(64, to - k);
      for (int n = 0; n < images; n++) {
        float row[64];
        for (int j = 0; j < here; j++) row[j] = sums[(k + j) * sums_row + n];
        EPILOGUE_CHUNK(row, here, n, (int)k, 0, 0);
        memcpy(y + (index_t)n * kernels + k, row, here * sizeof(float));
      }
    }
  }
}
