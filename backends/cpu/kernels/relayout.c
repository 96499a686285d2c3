// out = epilogue(x) for n images of CHANNELS x LINES x COLUMNS pixels that lie in two ways: X_AT and OUT_AT elements into
// their memory, by strides X_SN, X_SC, X_SH (lines) and X_SP (pixels of a line). A line may hold several rows of WIDTH.
//
// Threads share tiles of channels and pixels. A tile is read in the order in which it lies, and written so.

#define TILE 16
#define BLOCKS(length) (((length) + TILE - 1) / TILE)
#if RAW
typedef X_T value_t;  // any type, as it is
#else
typedef float value_t;
#endif

void relayout(int n, const X_T *x, OUT_T *out EPILOGUE_PARAMETERS) {
#pragma omp parallel for collapse(4) schedule(static) if ((index_t)n * CHANNELS * LINES * COLUMNS > SMALL)
  for (int i = 0; i < n; i++)
    for (int c_block = 0; c_block < BLOCKS(CHANNELS); c_block++)
      for (int line = 0; line < LINES; line++)
        for (int block = 0; block < BLOCKS(COLUMNS); block++) {
          const int c0 = c_block * TILE, p0 = block * TILE;
          const int channels = (int)least(TILE, CHANNELS - c0), pixels = (int)least(TILE, COLUMNS - p0);
          const X_T *from = x + X_AT + i * (index_t)X_SN + c0 * (index_t)X_SC + line * (index_t)X_SH + p0 * (index_t)X_SP;
          OUT_T *to = out + OUT_AT + i * (index_t)OUT_SN + c0 * (index_t)OUT_SC + line * (index_t)OUT_SH + p0 * (index_t)OUT_SP;
          value_t tile[TILE][TILE];
#define READ(c, p) tile[c][p] = (value_t)from[c * (index_t)X_SC + p * (index_t)X_SP]
#if X_SC < X_SP
          for (int p = 0; p < pixels; p++)
            for (int c = 0; c < channels; c++) READ(c, p);
#else
          for (int c = 0; c < channels; c++)
            for (int p = 0; p < pixels; p++) READ(c, p);
#endif
#define H (line + (p0 + p) / WIDTH)
#define WRITE(c, p) \
  to[c * (index_t)OUT_SC + p * (index_t)OUT_SP] = EPILOGUE(tile[c][p], i, c0 + c, H, (p0 + p) % WIDTH)
#if OUT_SC < OUT_SP
          for (int p = 0; p < pixels; p++) {
            INDEPENDENT
            for (int c = 0; c < channels; c++) WRITE(c, p);
          }
#else
          for (int c = 0; c < channels; c++) {
            INDEPENDENT
            for (int p = 0; p < pixels; p++) WRITE(c, p);
          }
#endif
        }
}
