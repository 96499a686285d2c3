// The gradient of local response normalisation within each map (kernels/within.c):
//   y = direct - 2 ALPHA BETA x (sum over the window of t), direct = g s^-BETA, t = direct x / s.
// Threads take bands of rows. Scratch: of each thread, a line of sums; then rings of the 2 HALF + 1 last lines of t and
// of direct, that of row h at h % (2 HALF + 1).

enum { LINES = 2 * HALF + 1 };

// Lines of t and direct of row h.
INLINE void prepare(float *restrict t, float *restrict direct, float *restrict line, const G_T *restrict g,
                    const X_T *restrict x, int h) {
  squares_down(line, x, h);
  for (int w = 0; w < X_W; w++)
    for (int c = 0; c < X_C; c++) {
      const int at = w * X_C + c;
      const float s = BIAS + ALPHA * along(line, at);
      const float v = get(g + AT(G, 0, c, h, w)) * power(s);
      direct[at] = v;
      t[AHEAD + at] = v * get(x + AT(X, 0, c, h, w)) * inverse(s);
    }
}

// The sums of t around row h, down the columns.
INLINE void down(float *restrict line, const float *restrict t, int h) {
  for (int row = first_row(h); row < end_row(h); row++)
    for (int k = AHEAD; k < LINE - AHEAD; k++) {
      const float v = t[row % LINES * LINE + k];
      line[k] = row == first_row(h) ? v : line[k] + v;
    }
}

void local_norm_grad(int n, float *restrict scratch, const G_T *restrict g, const X_T *restrict x,
                     Y_T *restrict y EPILOGUE_PARAMETERS) {
#pragma omp parallel
  {
    float *line = scratch + omp_get_thread_num() * (index_t)SCRATCH, *t = line + LINE, *direct = t + LINES * LINE;
    memset(line, 0, sizeof(float) * (1 + LINES) * LINE);
    index_t row, end;
    band((index_t)n * X_H, &row, &end);
    for (int made = 0, h = (int)(row % X_H), i = (int)(row / X_H); row < end; row++) {
      const X_T *maps = x + AT(X, i, 0, 0, 0);
      for (made = (int)most(made, first_row(h)); made < end_row(h); made++)
        prepare(t + made % LINES * LINE, direct + made % LINES * LINE, line, g + AT(G, i, 0, 0, 0), maps, made);
      down(line, t, h);
      for (int w = 0; w < X_W; w++) {
        float *out = direct + h % LINES * LINE + w * X_C;
        for (int c = 0; c < X_C; c++) {
          const float v = get(maps + AT(X, 0, c, h, w));
          out[c] -= 2.0f * ALPHA * BETA * v * along(line, w * X_C + c);
        }
        EPILOGUE_CHUNK(out, X_C, i, 0, h, w);
        put_channels(y + AT(Y, i, 0, h, w), Y_SC, out, X_C);
      }
      if (++h == X_H) h = made = 0, i++;
    }
  }
}
