// Rows of so many bytes from one place to another: the first lies x_at or out_at bytes into its memory, the next one a
// gap further. Threads share pieces of rows.

#define PIECE (64 << 10)

void move_rows(
    const char *x, char *out, index_t rows, index_t length, index_t x_at, index_t x_gap, index_t out_at,
    index_t out_gap) {
  const index_t pieces = (length + PIECE - 1) / PIECE;
#pragma omp parallel for schedule(static) if (rows * length > 4 * SMALL)
  for (index_t i = 0; i < rows * pieces; i++) {
    const index_t row = i / pieces, at = i % pieces * PIECE;
    memcpy(out + out_at + row * out_gap + at, x + x_at + row * x_gap + at, least(PIECE, length - at));
  }
}
