// What kernels share that update several parameters in one call: table[PLACES p + i] is the address of the i-th operand
// of parameter p or, after its operands, of its results. All tensors of a parameter lie alike, and results may lie over
// their own operands.

#define SHARED 16  // elements of a cache line, which no two threads write on

typedef void update_t(float *const *places, index_t from, index_t to);

// `update` for elements from .. to of each parameter: threads share the lines of all parameters, one behind another.
INLINE void over_parameters(float *const *table, const index_t *sizes, update_t update) {
  index_t lines = 0;
  for (int p = 0; p < PARAMETERS; p++) lines += (sizes[p] + SHARED - 1) / SHARED;
#pragma omp parallel if (lines > SMALL / SHARED)
  {
    const index_t threads = omp_get_num_threads(), own = omp_get_thread_num();
    index_t first = lines * own / threads, end = lines * (own + 1) / threads;
    for (int p = 0; p < PARAMETERS; p++) {
      const index_t from = most(first, 0) * SHARED, to = least(end * SHARED, sizes[p]);
      if (from < to) update(table + (index_t)PLACES * p, from, to);
      first -= (sizes[p] + SHARED - 1) / SHARED;
      end -= (sizes[p] + SHARED - 1) / SHARED;
    }
  }
}
