// Local response normalisation across maps, then max pooling (sections 3.3 and 3.4 of the paper):
//   y[n, c, oh, ow] = max over the window of x s^-BETA, s = BIAS + ALPHA (sum of x^2 over the 2 HALF + 1 channels around).
// A block makes a tile of y: first its threads normalise the pixels that the tile's windows read into shared memory
// (tile.cu), -infinity beyond the map; then they pool from there. The normalised map itself is never written.
// blockIdx.x goes over the tiles, blockIdx.y over the images.

extern "C" __global__ void lrn_maxpool(const X_T *__restrict__ x, Y_T *__restrict__ y ARGMAX_PARAMETER) {
  extern __shared__ float shared[];
  const Tile tile = tile_of_block();
  for (int n = blockIdx.y; n < Y_N; n += gridDim.y) {
#pragma unroll 2
    for (int unit = threadIdx.x; unit < FROM_H * FROM_W * CHUNK / V; unit += blockDim.x) {
      const Position from = position<CHUNK, FROM_H, FROM_W>(unit);
      const int c = tile.c + from.c, h = tile.h * STRIDE_H - TOP + from.h, w = tile.w * STRIDE_W - LEFT + from.w;
      float a[V], s[V];
#pragma unroll
      for (int k = 0; k < V; k++) a[k] = -INFINITY;
      if (c < X_C && h >= 0 && h < X_H && w >= 0 && w < X_W) {
        const X_T *at = x + (n * X_SN + c * X_SC + h * X_SH + w * X_SW);
        get_chunk(a, at);
        scales<(int)X_SC>(s, a, at, c);
#pragma unroll
        for (int k = 0; k < V; k++) a[k] *= power(s[k]);
      }
      put_chunk(shared + in_tile(from.c, from.h, from.w), a);
    }
    __syncthreads();
    for (int unit = threadIdx.x; unit < TILE_H * TILE_W * CHUNK / V; unit += blockDim.x) {
      const Position at = position<CHUNK, TILE_H, TILE_W>(unit);
      const int c = tile.c + at.c, oh = tile.h + at.h, ow = tile.w + at.w;
      if (c >= Y_C || oh >= Y_H || ow >= Y_W) continue;
      float best[V];
      int cells[V];
#pragma unroll
      for (int k = 0; k < V; k++) best[k] = -INFINITY, cells[k] = first_cell(oh, ow);
#pragma unroll UNROLL_H
      for (int i = 0; i < SIZE_H; i++)
#pragma unroll UNROLL_W
        for (int j = 0; j < SIZE_W; j++) {
          float v[V];
          get_chunk(v, shared + in_tile(at.c, at.h * STRIDE_H + i, at.w * STRIDE_W + j));
#pragma unroll
          for (int k = 0; k < V; k++)
            if (better(v[k], best[k])) best[k] = v[k], cells[k] = i * SIZE_W + j;
        }
      put_chunk(y + (n * Y_SN + c * Y_SC + oh * Y_SH + ow * Y_SW), best);
      STORE_ARGMAX(cells, n, c, oh, ow);
    }
    __syncthreads();
  }
}
