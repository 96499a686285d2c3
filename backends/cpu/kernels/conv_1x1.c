// y[p][k] = epilogue(sum over c of x[p][c] u[c][k]): a convolution by 1 x 1 windows at stride 1 is a matrix product
// over all pixels p of a batch, whose channels lie side by side. Its input gradient is the same with filters
// transposed.
//
// u lies in panels, [kernels/BLOCK][channels][BLOCK], filled up with zeros. Threads share chunks of PIXELS pixels, and
// `parts` of the panels where those are few. The channels of a chunk are copied together, DEPTH at a time: rows far
// apart would share a few sets of the cache. FLAT: the epilogue sees all results as one row; else it asks for channels
// only.

#define PIXELS (8 * ROWS)
#define DEPTH 512

void conv_1x1(index_t pixels, int channels, int kernels, int parts, const float *x, const float *u,
              float *y EPILOGUE_PARAMETERS) {
  const int panels = (kernels + BLOCK - 1) / BLOCK;
#pragma omp parallel for collapse(2) schedule(static)
  for (index_t first = 0; first < pixels; first += PIXELS)
    for (int part = 0; part < parts; part++) {
      const int count = (int)least(PIXELS, pixels - first);
      const int from = panels * part / parts, to = panels * (part + 1) / parts;
      float near[PIXELS][DEPTH + W];
      for (int c = 0; c < channels; c += DEPTH) {
        const int depth = (int)least(DEPTH, channels - c);
        for (int p = 0; p < count; p++) memcpy(near[p], x + (first + p) * channels + c, depth * sizeof(float));
        for (int k = from; k < to; k++)
          for (int p = 0; p < count; p += ROWS)
            tile_of(kernels - k * BLOCK, (int)least(ROWS, count - p), depth, near[p], DEPTH + W, 1,
                    u + ((index_t)k * channels + c) * BLOCK, y + (first + p) * kernels + k * BLOCK, kernels, c > 0);
      }
      const int k = from * BLOCK, some = (int)least(to * BLOCK, kernels) - k;
      for (int p = 0; p < count; p++) {
        const index_t at = (first + p) * kernels + k;
        EPILOGUE_CHUNK(y + at, some, 0, FLAT ? (int)at : k, 0, 0);
      }
    }
}
