// What kernels share that reduce over the rows of a value [N, C, H, W], a row being an (n, h, w) and a column a channel
// (or, where a value is taken as [N, C H W], a position).
//
// A block is TX x TY threads; thread (tx, ty) goes over rows FIRST + ty, + TY, + 2 TY ... of the SPAN rows of its
// block, and V columns side by side (16 bytes where they lie so; then a warp reads whole lines). Whatever is added up
// is so in one order: of rows in runs of RUN, of runs in a thread, of threads in a block, of blocks in a second kernel.

constexpr int RUN = 32;

#define OFFSET(T, n, c, h, w) ((n) * T##_SN + (c) * T##_SC + (h) * T##_SH + (w) * T##_SW)
// Elements from the start of a tensor to the row and column.
#define AT(T, row, column) OFFSET(T, (row) / (X_H * X_W), column, (row) / X_W % X_H, (row) % X_W)

template <class T> __device__ __forceinline__ void get_columns(float (&v)[V], const T *p) {
  if constexpr (V > 1) get_chunk(v, p); else v[0] = get(p);
}
template <class T> __device__ __forceinline__ void get_vector(float (&v)[V], const T *p, int column) {
#pragma unroll
  for (int j = 0; j < V; j++) v[j] = column + j < X_C ? get(p + column + j) : 0.0f;
}

__device__ __forceinline__ int own_column() { return (blockIdx.x * TX + threadIdx.x % TX) * V; }
__device__ __forceinline__ int own_lane() { return threadIdx.x / TX; }
__device__ __forceinline__ int first_row() { return blockIdx.y * SPAN; }
__device__ __forceinline__ int last_row() { return min(first_row() + SPAN, ROWS); }

// One or two sums for each column: `terms(row, sums)` adds those of a row to float sums[K][V]; they go to first[block,
// column] and second[block, column].
template <int K, class Terms> __device__ __forceinline__ void column_sums(float *first, float *second, Terms terms) {
  __shared__ float shared[TY * K * TX * V];  // [TY][K][TX V]
  constexpr int WIDTH = K * TX * V;
  const int column = own_column(), lane = own_lane();
  float sums[K][V] = {};
  if (column < X_C)
    for (int start = first_row() + lane; start < last_row(); start += RUN * TY) {
      float run[K][V] = {};
      const int stop = min(start + RUN * TY, last_row());
#pragma unroll 4
      for (int row = start; row < stop; row += TY) terms(row, run);
      for (int k = 0; k < K; k++)
        for (int j = 0; j < V; j++) sums[k][j] += run[k][j];
    }
  for (int k = 0; k < K; k++)
    for (int j = 0; j < V; j++) shared[lane * WIDTH + (k * TX + threadIdx.x % TX) * V + j] = sums[k][j];
  __syncthreads();
  for (int i = threadIdx.x; i < WIDTH; i += TX * TY) {
    const int k = i / (TX * V), at = blockIdx.x * TX * V + i % (TX * V);
    float sum = 0.0f;
    for (int t = 0; t < TY; t++) sum += shared[t * WIDTH + i];
    float *out = k == 0 ? first : second;
    if (at < X_C) out[blockIdx.y * (index_t)X_C + at] = sum;
  }
}
