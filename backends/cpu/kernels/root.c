// Roots of windows' squares (kernels/window_sum.c).
INLINE float term(float v) { return v * v; }
INLINE float whole(float sum, int oh, int ow) { return sqrtf(sum); }
