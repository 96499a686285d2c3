// A block's tile: CHUNK channels of TILE_H x TILE_W results, from windows of SIZE_H x SIZE_W cells a stride apart, and of the
// FROM_H x FROM_W pixels that these read. blockIdx.x goes over the tiles of an image, the chunks fastest.

constexpr int FROM_H = (TILE_H - 1) * STRIDE_H + SIZE_H, FROM_W = (TILE_W - 1) * STRIDE_W + SIZE_W;
constexpr int CHUNKS = (MAP_C + CHUNK - 1) / CHUNK, TILES_W = (POOLED_W + TILE_W - 1) / TILE_W;

struct Tile { int c, h, w; };  // where it begins among the results
__device__ __forceinline__ Tile tile_of_block() {
  const int chunk = blockIdx.x % CHUNKS, tile = blockIdx.x / CHUNKS;
  return {chunk * CHUNK, tile / TILES_W * TILE_H, tile % TILES_W * TILE_W};
}

// Where a unit lies in shared memory, [FROM_H][FROM_W][CHUNK] floats where channels lie last, else [CHUNK][FROM_H][FROM_W].
__device__ __forceinline__ int in_tile(int c, int h, int w) {
  return LAST ? (h * FROM_W + w) * CHUNK + c : (c * FROM_H + h) * FROM_W + w;
}
