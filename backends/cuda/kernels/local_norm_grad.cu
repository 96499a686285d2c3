// The gradient of local response normalisation within each map:
//   y = g s^-BETA - 2 ALPHA BETA x (sum over the window of t), t = g x s^(-BETA - 1), s = BIAS + ALPHA (sum of x^2).
// A block makes a tile of y: first its threads compute t for the tile and the HALF pixels around it into shared memory
// (tile.cu), 0 beyond the map; then they add up windows of it, and compute s once more. blockIdx.x goes over the tiles,
// blockIdx.y over the images.

extern "C" __global__ void local_norm_grad(const G_T *__restrict__ g, const X_T *__restrict__ x,
                                           Y_T *__restrict__ y EPILOGUE_PARAMETERS) {
  extern __shared__ float shared[];
  const Tile tile = tile_of_block();
  for (int n = blockIdx.y; n < Y_N; n += gridDim.y) {
    for (int unit = threadIdx.x; unit < FROM_H * FROM_W * CHUNK / V; unit += blockDim.x) {
      const Position from = position<CHUNK, FROM_H, FROM_W>(unit);
      const int c = tile.c + from.c, h = tile.h - HALF + from.h, w = tile.w - HALF + from.w;
      float t[V] = {}, a[V], s[V];
      if (c < X_C && h >= 0 && h < X_H && w >= 0 && w < X_W) {
        get_chunk(t, g + (n * G_SN + c * G_SC + h * G_SH + w * G_SW));
        get_chunk(a, x + (n * X_SN + c * X_SC + h * X_SH + w * X_SW));
        scales_within(s, x + (n * X_SN + c * X_SC), h, w);
#pragma unroll
        for (int k = 0; k < V; k++) t[k] *= a[k] * power(s[k]) * inverse(s[k]);
      }
      put_chunk(shared + in_tile(from.c, from.h, from.w), t);
    }
    __syncthreads();
    for (int unit = threadIdx.x; unit < TILE_H * TILE_W * CHUNK / V; unit += blockDim.x) {
      const Position at = position<CHUNK, TILE_H, TILE_W>(unit);
      const int c = tile.c + at.c, h = tile.h + at.h, w = tile.w + at.w;
      if (c >= Y_C || h >= Y_H || w >= Y_W) continue;
      float sum[V] = {}, a[V], s[V], v[V];
      for (int i = 0; i < SIZE_H; i++) {
        float row[V] = {};
        for (int j = 0; j < SIZE_W; j++) {
          get_chunk(v, shared + in_tile(at.c, at.h + i, at.w + j));
#pragma unroll
          for (int k = 0; k < V; k++) row[k] += v[k];
        }
#pragma unroll
        for (int k = 0; k < V; k++) sum[k] += row[k];
      }
      get_chunk(v, g + (n * G_SN + c * G_SC + h * G_SH + w * G_SW));
      get_chunk(a, x + (n * X_SN + c * X_SC + h * X_SH + w * X_SW));
      scales_within(s, x + (n * X_SN + c * X_SC), h, w);
#pragma unroll
      for (int k = 0; k < V; k++) v[k] = v[k] * power(s[k]) - 2.0f * ALPHA * BETA * a[k] * sum[k];
      EPILOGUE_CHUNK(v, n, c, h, w);
      put_chunk(y + (n * Y_SN + c * Y_SC + h * Y_SH + w * Y_SW), v);
    }
    __syncthreads();
  }
}
