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
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define UNROLL _Pragma("GCC unroll 64")
#define INDEPENDENT _Pragma("GCC ivdep")  // a turn of the loop writes on nothing that another one reads
#endif
#define INLINE static inline __attribute__((always_inline))
#define KERNEL static __attribute__((noinline))  // inlined into its loops, it would spill what it keeps in registers

#define get(p) ((float)*(p))
#define SMALL 16384  // elements that are not worth waking threads for

INLINE float relu(float v) { return v < 0.0f ? 0.0f : v; }  // NaN passes
INLINE float rsqrtf(float v) { return 1.0f / sqrtf(v); }
INLINE index_t least(index_t a, index_t b) { return a < b ? a : b; }
INLINE index_t most(index_t a, index_t b) { return a < b ? b : a; }

// e^x to 1.1 units in the last place, subnormal results too: x = k ln 2 + r with |r| <= ln 2 / 2, a polynomial in r
// (the coefficients are Cephes'), times 2^k in two halves, which both are normal numbers. Loops of it vectorise.
INLINE float power_of_two(int k) {
  const union { uint32_t bits; float value; } power = {(uint32_t)(k + 127) << 23};
  return power.value;
}
INLINE float fast_exp(float x) {
  x = x < -104.0f ? -104.0f : x;  // NaN passes
  x = x > 89.0f ? 89.0f : x;
  // 1.5 * 2^23: k, and no fraction
  const union { float value; int32_t bits; } rounded = {x * 1.44269504f + 12582912.0f};
  const float whole = rounded.value - 12582912.0f;
  const int k = rounded.bits - 0x4B400000;
  const float r = (x - whole * 0.693145751953125f) - whole * 1.42860677e-6f;
  float sum = 1.9875691500e-4f;
  sum = sum * r + 1.3981999507e-3f;
  sum = sum * r + 8.3334519073e-3f;
  sum = sum * r + 4.1665795894e-2f;
  sum = sum * r + 1.6666665459e-1f;
  sum = sum * r + 5.0000001201e-1f;
  return (sum * r * r + r + 1.0f) * power_of_two(k >> 1) * power_of_two(k - (k >> 1));
}

// tanh x to 1.4 units in the last place: near zero a polynomial (Cephes' again), elsewhere 1 - 2 / (e^2x + 1).
INLINE float fast_tanh(float x) {
  const float size = fabsf(x), square = size * size;
  float sum = -5.70498872745e-3f;
  sum = sum * square + 2.06390887954e-2f;
  sum = sum * square - 5.37397155531e-2f;
  sum = sum * square + 1.33314422036e-1f;
  sum = sum * square - 3.33332819422e-1f;
  const float near = sum * square * size + size, far = 1.0f - 2.0f / (fast_exp(2.0f * size) + 1.0f);
  return copysignf(size < 0.625f ? near : far, x);
}
#define tanhf fast_tanh

// Philox4x32-10: a counter of four words becomes four random ones; seed is the key. Words are the lower halves of 64
// bits.
typedef struct { uint64_t a, b, c, d; } philox_t;
INLINE philox_t philox(philox_t v, index_t seed) {
  uint32_t low = (uint32_t)seed, high = (uint32_t)((uint64_t)seed >> 32);
  UNROLL for (int round = 0; round < 10; round++) {
    const uint64_t even = (uint64_t)(uint32_t)v.a * 0xD2511F53u, odd = (uint64_t)(uint32_t)v.c * 0xCD9E8D57u;
    v = (philox_t){(odd >> 32) ^ v.b ^ low, odd, (even >> 32) ^ v.d ^ high, even};
    low += 0x9E3779B9u;
    high += 0xBB67AE85u;
  }
  return v;
}

// Word `index % 4` of the block `index / 4`. What the numbers are for is the counter's last word.
INLINE uint32_t random_word(index_t seed, uint32_t stream, uint32_t step, uint32_t domain, index_t index) {
  const philox_t v = philox((philox_t){(uint32_t)(index >> 2), stream, step, domain}, seed);
  const int word = (int)(index & 3);
  return (uint32_t)(word == 0 ? v.a : word == 1 ? v.b : word == 2 ? v.c : v.d);
}

// The same for `count` indexes from one on, DRAWN at most, in `words`; returned is where the first one lies. Blocks are
// worked on side by side, and all four words of each are used.
#define DRAWN 256
#define WORDS (DRAWN + 4)
INLINE const uint32_t *random_words(
    index_t seed, uint32_t stream, uint32_t step, uint32_t domain, index_t index, int count, uint32_t *words) {
  const int skipped = (int)(index & 3), blocks = (skipped + count + 3) / 4;
  for (int block = 0; block < blocks; block++) {
    const philox_t v = philox((philox_t){(uint32_t)(index >> 2) + (uint32_t)block, stream, step, domain}, seed);
    words[4 * block] = (uint32_t)v.a;
    words[4 * block + 1] = (uint32_t)v.b;
    words[4 * block + 2] = (uint32_t)v.c;
    words[4 * block + 3] = (uint32_t)v.d;
  }
  return words + skipped;
}
