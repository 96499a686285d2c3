// What the kernels of locally connected layers share: W positions at a time, the lanes of a vector, each with weights
// of its own. Operands are copied into panels of vectors, of which `product` multiplies TI with TJ, sums in registers.

// sums[i][j] = sum over d of a[d][i] b[d][j], all vectors.
KERNEL void product(const float *a, const float *b, float *sums, int depth) {
  vec sum[TI][TJ];
  UNROLL for (int i = 0; i < TI; i++)
    UNROLL for (int j = 0; j < TJ; j++) sum[i][j] = (vec){0};
  for (int d = 0; d < depth; d++, a += TI * W, b += TJ * W) {
    vec row[TI];
    UNROLL for (int i = 0; i < TI; i++) row[i] = LOAD(a + i * W);
    UNROLL for (int j = 0; j < TJ; j++) {
      const vec column = LOAD(b + j * W);
      UNROLL for (int i = 0; i < TI; i++) sum[i][j] += row[i] * column;
    }
  }
  UNROLL for (int i = 0; i < TI; i++)
    UNROLL for (int j = 0; j < TJ; j++) STORE(sums + (i * TJ + j) * W, sum[i][j]);
}

// Where the lanes of a vector lie in a tensor, in elements; -1 where nothing does.
typedef struct {
  index_t at[W];
} Lanes;

INLINE void take(float *to, const float *from, const Lanes *lanes) {
  for (int l = 0; l < W; l++) to[l] = lanes->at[l] < 0 ? 0.0f : from[lanes->at[l]];
}

// Which cell the window at `position` meets with this tap, or which window meets the cell `position` with it, or -1.
INLINE int met(int position, int tap, int stride, int pad, int dilation) {
  return position * stride - pad + tap * dilation;
}
INLINE int meeting(int position, int tap, int stride, int pad, int dilation) {
  const int start = position + pad - tap * dilation;
  return start < 0 || start % stride ? -1 : start / stride;
}
INLINE int is_inside(int h, int w, int height, int width) { return h >= 0 && w >= 0 && h < height && w < width; }
