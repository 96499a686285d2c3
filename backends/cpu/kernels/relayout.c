// out = epilogue(x) for n images that lie in two ways: LINES of A x B elements each, of which one axis are the channels
// (B if CHANNELS_INNER) and the other the pixels of a line, which may hold several rows of WIDTH. X_AT and OUT_AT
// elements into their memory they lie by strides X_SN (images), X_SL (lines), X_SA and X_SB; in `out`, B is the axis of
// the smaller stride.
//
// Threads share tiles of TILE_A x TILE_B elements: long rows where x lies in the same order, else pieces that are
// turned over on the way, SQUARE x SQUARE elements at a time where they have 4 bytes (TURNED).

#define BLOCKS(length, tile) (((length) + (tile) - 1) / (tile))
#define SQUARE 4
typedef uint32_t bits_t __attribute__((vector_size(4 * SQUARE), aligned(4), may_alias));
#ifdef __clang__
#define MIXED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define MIXED(a, b, ...) __builtin_shuffle(a, b, (bits_t){__VA_ARGS__})
#endif

#if CHANNELS_INNER
#define STORED(v) EPILOGUE(v, i, b0 + b, line + (a0 + a) / WIDTH, (a0 + a) % WIDTH)
#else
#define STORED(v) EPILOGUE(v, i, a0 + a, line + (b0 + b) / WIDTH, (b0 + b) % WIDTH)
#endif

// to[a][b] = from[b][a], SQUARE rows of each.
INLINE void turn(const X_T *from, value_t *to, index_t from_row, index_t to_row) {
  bits_t v[SQUARE], pairs[SQUARE];
  UNROLL for (int i = 0; i < SQUARE; i++) v[i] = *(const bits_t *)(from + i * from_row);
  UNROLL for (int i = 0; i < 2; i++) {
    pairs[i] = MIXED(v[i], v[i + 2], 0, 4, 1, 5);
    pairs[i + 2] = MIXED(v[i], v[i + 2], 2, 6, 3, 7);
  }
  UNROLL for (int i = 0; i < 2; i++) {
    *(bits_t *)(to + 2 * i * to_row) = MIXED(pairs[2 * i], pairs[2 * i + 1], 0, 4, 1, 5);
    *(bits_t *)(to + (2 * i + 1) * to_row) = MIXED(pairs[2 * i], pairs[2 * i + 1], 2, 6, 3, 7);
  }
}

void relayout(int n, const X_T *x, OUT_T *out EPILOGUE_PARAMETERS) {
#pragma omp parallel for collapse(4) schedule(static) if ((index_t)n * LINES * A * B > SMALL)
  for (int i = 0; i < n; i++)
    for (int line = 0; line < LINES; line++)
      for (int a_block = 0; a_block < BLOCKS(A, TILE_A); a_block++)
        for (int b_block = 0; b_block < BLOCKS(B, TILE_B); b_block++) {
          const int a0 = a_block * TILE_A, as = (int)least(TILE_A, A - a0);
          const int b0 = b_block * TILE_B, bs = (int)least(TILE_B, B - b0);
          const X_T *from = x + X_AT + i * X_SN + line * X_SL + a0 * X_SA + b0 * X_SB;
          OUT_T *to = out + OUT_AT + i * OUT_SN + line * OUT_SL + a0 * OUT_SA + b0 * OUT_SB;
#if TURNED
          value_t tile[TILE_A][TILE_B];
          if (as < SQUARE || bs < SQUARE) {
            for (int b = 0; b < bs; b++)
              for (int a = 0; a < as; a++) tile[a][b] = from[a + b * X_SB];
          } else {
            for (int b = 0; b < bs; b += SQUARE)
              for (int a = 0; a < as; a += SQUARE) {  // the last ones lie over others where they do not come out even
                const index_t here = least(a, as - SQUARE), there = least(b, bs - SQUARE);
                turn(from + here + there * X_SB, &tile[here][there], X_SB, TILE_B);
              }
          }
          for (int a = 0; a < as; a++) {
            INDEPENDENT
            for (int b = 0; b < bs; b++) to[a * OUT_SA + b * OUT_SB] = STORED(tile[a][b]);
          }
#else
          for (int a = 0; a < as; a++) {
            INDEPENDENT
            for (int b = 0; b < bs; b++) to[a * OUT_SA + b * OUT_SB] = STORED((value_t)from[a * X_SA + b * X_SB]);
          }
#endif
        }
}
