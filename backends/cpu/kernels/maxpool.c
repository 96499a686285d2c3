// Max pooling, the windows overlapping where they are larger than the stride (section 3.4 of the paper):
//   y[n, c, oh, ow] = max over the cells of the window that lie in the map; argmax is that cell.
// Threads take rows of y, of CHUNK channels each.

void maxpool(int n, const X_T *restrict x, Y_T *restrict y ARGMAX_PARAMETER) {
#pragma omp parallel for collapse(3) schedule(static)
  for (int i = 0; i < n; i++)
    for (int oh = 0; oh < POOLED_H; oh++)
      for (int c = 0; c < Y_C; c += CHUNK) {
        const int count = (int)least(CHUNK, Y_C - c), h = oh * STRIDE_H - TOP, end = end_cell(h, SIZE_H, MAP_H);
        const X_T *maps = x + AT(X, i, c, 0, 0);
        for (int ow = 0; ow < POOLED_W; ow++) {
          const int w = ow * STRIDE_W - LEFT, left = first_cell(w), right = end_cell(w, SIZE_W, MAP_W);
          float best[CHUNK];
          int cells[CHUNK];
          start(best, cells, count, first_cell(h) * SIZE_W + left);
          for (int row = first_cell(h); row < end; row++)
            compare_row(best, cells, maps + AT(X, 0, 0, h + row, w), X_SC, X_SW, count, left, right,
                        row * SIZE_W);
          put_channels(y + AT(Y, i, c, oh, ow), Y_SC, best, count);
          STORE_ARGMAX(cells, count, i, c, oh, ow);
        }
      }
}
