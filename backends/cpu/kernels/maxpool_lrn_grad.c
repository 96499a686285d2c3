// The gradients of max pooling (kernels/gather.c), then of the normalisation across maps before it
// (kernels/across.c), row by row: what passes between them is never written. Threads take rows of y.
// Scratch: of each thread, one row of y with what windows read around it.

void maxpool_lrn_grad(int n, float *restrict scratch, GIVEN, const X_T *restrict x,
                      Y_T *restrict y EPILOGUE_PARAMETERS) {
#pragma omp parallel
  {
    float squares[BESIDE] = {0}, t[BESIDE] = {0}, *row = scratch + omp_get_thread_num() * (index_t)SCRATCH;
#pragma omp for collapse(2) schedule(static)
    for (int i = 0; i < n; i++)
      for (int h = 0; h < Y_H; h++) {
        gather(row, i, h, PASSED);
        for (int w = 0; w < Y_W; w++) {
          float *out = row + (LEFT + w) * (index_t)Y_C;
          normalize_grad(out, squares, t, x + AT(X, i, 0, h, w), X_SC);
          EPILOGUE_CHUNK(out, Y_C, i, 0, h, w);
          put_channels(y + AT(Y, i, 0, h, w), Y_SC, out, Y_C);
        }
      }
  }
}
