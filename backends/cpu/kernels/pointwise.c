// out = epilogue(x), element by element, where both lie alike: n rows of C channels. One row is one image of a vector,
// or one pixel of a map (ROWS pixels to an image, COLUMNS to its line).

void pointwise(int n, const X_T *x, OUT_T *out EPILOGUE_PARAMETERS) {
#pragma omp parallel for collapse(2) schedule(static)
  for (int i = 0; i < n; i++)
    for (int h = 0; h < LINES; h++)
      for (int w = 0; w < COLUMNS; w++) {
        const index_t at = (((index_t)i * LINES + h) * COLUMNS + w) * CHANNELS;
        for (int c = 0; c < CHANNELS; c++) out[at + c] = EPILOGUE(get(x + at + c), i, c, h, w);
      }
}
