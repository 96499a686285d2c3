// out = epilogue(x), element by element: rows of LENGTH elements side by side, everything else in the same order or one
// row for all. Threads share pieces of rows, PIECE elements; who reads an element writes it, so `out` may lie over what
// it is made of.

void pointwise(index_t rows, index_t length, const X_T *x, OUT_T *out EPILOGUE_PARAMETERS) {
  const index_t pieces = (LENGTH + PIECE - 1) / PIECE;
#pragma omp parallel for schedule(static) if (rows * LENGTH > SMALL)
  for (index_t i = 0; i < rows * pieces; i++) {
    const index_t n = i / pieces, c = i % pieces * PIECE, at = n * LENGTH + c;
    const int count = (int)least(PIECE, LENGTH - c);
#if DRAWS  // chunks draw their random numbers many at a time
    float v[PIECE];
    for (int j = 0; j < count; j++) v[j] = get(x + at + j);
    EPILOGUE_CHUNK(v, count, (int)n, (int)c, 0, 0);
    for (int j = 0; j < count; j++) out[at + j] = v[j];
#else
    INDEPENDENT
    for (int j = 0; j < count; j++) out[at + j] = EPILOGUE(get(x + at + j), (int)n, (int)c + j, 0, 0);
#endif
  }
}
