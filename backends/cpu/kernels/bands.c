// A thread's band of the rows of all images, one below another: consecutive ones, so that what two of them need is made
// once.
INLINE void band(index_t rows, index_t *first, index_t *end) {
  const index_t thread = omp_get_thread_num(), threads = omp_get_num_threads();
  *first = rows * thread / threads;
  *end = rows * (thread + 1) / threads;
}
