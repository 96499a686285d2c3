// How many cells the mean of window (oh, ow) is over: those in the map or, with COUNT_PAD, in the padded map of PADDED_H x
// PADDED_W; what rounding up reads beyond that never counts.
__device__ __forceinline__ int clipped(int start, int size, int low, int high) {
  return (start + size < high ? start + size : high) - (start > low ? start : low);
}
__device__ __forceinline__ float cells(int oh, int ow) {
  const int rows = COUNT_PAD ? clipped(oh * STRIDE_H, SIZE_H, 0, PADDED_H) : clipped(oh * STRIDE_H - TOP, SIZE_H, 0, MAP_H);
  const int columns = COUNT_PAD ? clipped(ow * STRIDE_W, SIZE_W, 0, PADDED_W) : clipped(ow * STRIDE_W - LEFT, SIZE_W, 0, MAP_W);
  return (float)(rows * columns);
}
