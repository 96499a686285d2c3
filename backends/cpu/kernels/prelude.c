// What all kernels share: stored types, vectors, random numbers, small mathematics. W, the floats of a vector, is
// defined before it.

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#else
static int omp_get_thread_num(void) { return 0; }
static int omp_get_num_threads(void) { return 1; }
#endif

typedef ptrdiff_t index_t;
typedef float f32_t;
typedef int32_t i32_t;
typedef int64_t i64_t;
typedef uint8_t u8_t;

// W floats, wherever they lie; arithmetic on them is element by element.
typedef float vec __attribute__((vector_size(4 * W), aligned(4), may_alias));
#define LOAD(p) (*(const vec *)(p))
#define STORE(p, v) (*(vec *)(p) = (v))

#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 64")
#endif
#define INLINE static inline __attribute__((always_inline))
#define KERNEL static __attribute__((noinline))  // inlined into its loops, it would spill what it keeps in registers

#define get(p) ((float)*(p))

INLINE float relu(float v) { return v < 0.0f ? 0.0f : v; }  // NaN passes
INLINE float rsqrtf(float v) { return 1.0f / sqrtf(v); }
INLINE index_t least(index_t a, index_t b) { return a < b ? a : b; }
INLINE index_t most(index_t a, index_t b) { return a < b ? b : a; }

// Philox4x32-10: word `index % 4` of the block `index / 4`. What the numbers are for is the counter's last word.
INLINE uint32_t random_word(index_t seed, uint32_t stream, uint32_t step, uint32_t domain, index_t index) {
  uint32_t c0 = (uint32_t)(index >> 2), c1 = stream, c2 = step, c3 = domain;
  uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)((uint64_t)seed >> 32);
  UNROLL for (int round = 0; round < 10; round++) {
    const uint64_t even = (uint64_t)c0 * 0xD2511F53u, odd = (uint64_t)c2 * 0xCD9E8D57u;
    c0 = (uint32_t)(odd >> 32) ^ c1 ^ k0;
    c1 = (uint32_t)odd;
    c2 = (uint32_t)(even >> 32) ^ c3 ^ k1;
    c3 = (uint32_t)even;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  const int word = (int)(index & 3);
  return word == 0 ? c0 : word == 1 ? c1 : word == 2 ? c2 : c3;
}
