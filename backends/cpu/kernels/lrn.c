// Local response normalisation across maps (kernels/across.c). Threads take rows.

void lrn(int n, const X_T *restrict x, Y_T *restrict y EPILOGUE_PARAMETERS) {
#pragma omp parallel
  {
    float squares[BESIDE] = {0}, out[X_C];
#pragma omp for collapse(2) schedule(static)
    for (int i = 0; i < n; i++)
      for (int h = 0; h < X_H; h++)
        for (int w = 0; w < X_W; w++) {
          normalize(out, squares, x + AT(X, i, 0, h, w), X_SC);
          EPILOGUE_CHUNK(out, X_C, i, 0, h, w);
          put_channels(y + AT(Y, i, 0, h, w), Y_SC, out, X_C);
        }
  }
}
