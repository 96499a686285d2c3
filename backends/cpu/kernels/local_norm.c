// Local response normalisation within each map (kernels/within.c). Threads take rows.
// Scratch: of each thread, one line.

void local_norm(int n, float *restrict scratch, const X_T *restrict x, Y_T *restrict y EPILOGUE_PARAMETERS) {
#pragma omp parallel
  {
    float out[X_C], *line = scratch + omp_get_thread_num() * (index_t)SCRATCH;
    memset(line, 0, sizeof(float) * LINE);
#pragma omp for collapse(2) schedule(static)
    for (int i = 0; i < n; i++)
      for (int h = 0; h < X_H; h++) {
        squares_down(line, x + AT(X, i, 0, 0, 0), h);
        for (int w = 0; w < X_W; w++) {
          const X_T *from = x + AT(X, i, 0, h, w);
          for (int c = 0; c < X_C; c++)
            out[c] = get(from + c * (index_t)X_SC) * power(BIAS + ALPHA * along(line, w * X_C + c));
          EPILOGUE_CHUNK(out, X_C, i, 0, h, w);
          put_channels(y + AT(Y, i, 0, h, w), Y_SC, out, X_C);
        }
      }
  }
}
