// L2 pooling: the root of the sum of squares.
#define TERM(v) ((v) * (v))
#define POOLED(sum, oh, ow) sqrtf(sum)
