// What kernels share that update many parameters in one launch. table[PLACES p + i] is the address of the i-th operand
// of parameter p or, after its operands, of its results; sizes and the first block of each parameter are constants.
//
// A block takes ELEMENTS elements of one parameter, a thread V side by side (16 bytes) at a time. All tensors of a
// parameter lie alike. A thread reads an element of every tensor before it writes there, so results may lie over their
// own operands.

constexpr int ELEMENTS = 16 * THREADS;

struct Share { int parameter; index_t first, size; };

// Which parameter a block works on, by bisection, and from which element on.
__device__ __forceinline__ Share own_share() {
  int low = 0, high = PARAMETERS;  // FIRST_BLOCK[low] <= block < FIRST_BLOCK[high]
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if ((int)blockIdx.x < FIRST_BLOCK[middle]) high = middle; else low = middle;
  }
  return {low, (blockIdx.x - FIRST_BLOCK[low]) * (index_t)ELEMENTS, SIZES[low]};
}

// A number in memory that the table names.
template <class T> __device__ __forceinline__ float rate(void *const *addresses, int place) {
  return get((const T *)addresses[place]);
}

// `update(at, width)` for all elements of a block, width a constant of type Width<V> or Width<1>.
template <int N> struct Width { static constexpr int value = N; };
template <class Update> __device__ __forceinline__ void over_share(const Share &share, Update update) {
#pragma unroll
  for (int i = 0; i < ELEMENTS / (V * THREADS); i++) {
    const index_t at = share.first + (i * THREADS + (int)threadIdx.x) * V;
    if (at + V <= share.size) update(at, Width<V>());
    else
      for (int j = 0; j < V; j++)
        if (at + j < share.size) update(at + j, Width<1>());
  }
}
