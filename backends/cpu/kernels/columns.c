// What kernels share that go over a value [n][X_C][X_H][X_W] by rows and columns: a row is an (n, h, w), a column a
// channel (or, where a value is taken as [n][c h w], a position).
//
// Rows are cut into `parts` runs side by side, whoever works on them: what a part has summed up lies in scratch, in
// double precision, and parts are brought together in order. Columns are taken BLOCK at a time, so that what is summed
// up for each stays in the cache.

#define BLOCK (X_C < 1024 ? X_C : 1024)
#define BLOCK_LENGTH(start) (X_C % BLOCK == 0 ? BLOCK : (int)least(BLOCK, X_C - (start)))

// Elements from a tensor's first to the first of a row.
#define ROW(T, row) \
  ((row) / (X_H * X_W) * (index_t)T##_SN + (row) / X_W % X_H * (index_t)T##_SH + (row) % X_W * (index_t)T##_SW)

INLINE int part_start(int part, int parts, int rows) { return (int)((int64_t)rows * part / parts); }
