// Windows' means (kernels/window_sum.c): each cell by itself, the sum over the cells that count.
INLINE float term(float v) { return v; }
INLINE float whole(float sum, int oh, int ow) { return sum / cells(oh, ow); }
