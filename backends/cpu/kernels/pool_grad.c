// The gradient of a pooling (kernels/gather.c): y = whole(sum over the windows of what they pass). Threads take rows
// of y. Scratch: of each thread, one row of y with what windows read around it.

void pool_grad(int n, float *restrict scratch, GIVEN, Y_T *restrict y EPILOGUE_PARAMETERS) {
#pragma omp parallel for collapse(2) schedule(static)
  for (int i = 0; i < n; i++)
    for (int h = 0; h < Y_H; h++) {
      float *row = scratch + omp_get_thread_num() * (index_t)SCRATCH;
      gather(row, i, h, PASSED);
      for (int w = 0; w < Y_W; w++) {
        float *sum = row + (LEFT + w) * (index_t)Y_C;
        for (int c = 0; c < Y_C; c++) sum[c] = whole(sum[c], i, c, h, w, PASSED);
        EPILOGUE_CHUNK(sum, Y_C, i, 0, h, w);
        put_channels(y + AT(Y, i, 0, h, w), Y_SC, sum, Y_C);
      }
    }
}
