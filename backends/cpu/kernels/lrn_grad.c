// The gradient of local response normalisation across maps (kernels/across.c). Threads take rows.

void lrn_grad(int n, const G_T *restrict g, const X_T *restrict x, Y_T *restrict y EPILOGUE_PARAMETERS) {
#pragma omp parallel
  {
    float squares[BESIDE] = {0}, t[BESIDE] = {0}, out[X_C];
#pragma omp for collapse(2) schedule(static)
    for (int i = 0; i < n; i++)
      for (int h = 0; h < X_H; h++)
        for (int w = 0; w < X_W; w++) {
          get_channels(out, g + AT(G, i, 0, h, w), G_SC, X_C);
          normalize_grad(out, squares, t, x + AT(X, i, 0, h, w), X_SC);
          EPILOGUE_CHUNK(out, X_C, i, 0, h, w);
          put_channels(y + AT(Y, i, 0, h, w), Y_SC, out, X_C);
        }
  }
}
