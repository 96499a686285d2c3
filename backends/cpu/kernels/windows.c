// Windows of SIZE_H x SIZE_W cells over a map of MAP_H x MAP_W, from (-TOP, -LEFT) on, a stride apart: POOLED_H x
// POOLED_W.

// Of a window that begins at `start` along an axis: its first cell in a map of this length, and the one after its last.
INLINE int first_cell(int start) { return start < 0 ? -start : 0; }
INLINE int end_cell(int start, int size, int length) { return start + size > length ? length - start : size; }

// Along the rows, the first window over row h of a map, and the one after the last.
INLINE int first_over(int h) { return h + TOP < SIZE_H ? 0 : (h + TOP - SIZE_H) / STRIDE_H + 1; }
INLINE int end_over(int h) { return (int)least(POOLED_H, (h + TOP) / STRIDE_H + 1); }
