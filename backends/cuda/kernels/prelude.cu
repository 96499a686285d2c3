// What all kernels share: stored types, random numbers, small mathematics. The host runner compiles this too.

typedef long long index_t;
typedef float f32_t;
typedef int i32_t;
typedef long long i64_t;
typedef unsigned char u8_t;
struct tf32_t { float value; };           // rounded to 10 bits of mantissa when written
struct bf16_t { unsigned short bits; };   // the upper half of a float, rounded to nearest even when written

#ifdef __CUDACC_RTC__
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fffffff)
#endif

// Rounded to nearest, ties away from zero, as cvt.rna.tf32.f32 does; NaN and infinity stay.
__device__ __forceinline__ float round_tf32(float v) {
  const unsigned bits = __float_as_uint(v);
  const bool finite = (bits & 0x7f800000u) != 0x7f800000u;
  return finite ? __uint_as_float((bits + 0x1000u) & 0xffffe000u) : v;
}

__device__ __forceinline__ unsigned short bf16_bits(float v) {
  const unsigned bits = __float_as_uint(v);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return (unsigned short)((bits >> 16) | 0x40u);  // NaN stays NaN
  return (unsigned short)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// One element of any stored type, as a float.
__device__ __forceinline__ float get(const f32_t *p) { return *p; }
__device__ __forceinline__ float get(const tf32_t *p) { return p->value; }
__device__ __forceinline__ float get(const bf16_t *p) { return __uint_as_float((unsigned)p->bits << 16); }
__device__ __forceinline__ float get(const u8_t *p) { return (float)*p; }
__device__ __forceinline__ float get(const i32_t *p) { return (float)*p; }
__device__ __forceinline__ float get(const i64_t *p) { return (float)*p; }
__device__ __forceinline__ void put(f32_t *p, float v) { *p = v; }
__device__ __forceinline__ void put(tf32_t *p, float v) { p->value = round_tf32(v); }
__device__ __forceinline__ void put(bf16_t *p, float v) { p->bits = bf16_bits(v); }

// V elements side by side, at most 16 bytes at a time; V is a power of two, and the first is aligned to as many.
template <int COUNT, class T> struct alignas(sizeof(T) * COUNT) pack { T v[COUNT]; };
template <int V, class T> __device__ __forceinline__ void get_chunk(float (&v)[V], const T *p) {
  constexpr int COUNT = V * sizeof(T) > 16 ? 16 / sizeof(T) : V;
#pragma unroll
  for (int i = 0; i < V; i += COUNT) {
    const pack<COUNT, T> part = *(const pack<COUNT, T> *)(p + i);
#pragma unroll
    for (int j = 0; j < COUNT; j++) v[i + j] = get(part.v + j);
  }
}
template <int V, class T> __device__ __forceinline__ void put_chunk(T *p, const float (&v)[V]) {
  constexpr int COUNT = V * sizeof(T) > 16 ? 16 / sizeof(T) : V;
#pragma unroll
  for (int i = 0; i < V; i += COUNT) {
    pack<COUNT, T> part;
#pragma unroll
    for (int j = 0; j < COUNT; j++) put(part.v + j, v[i + j]);
    *(pack<COUNT, T> *)(p + i) = part;
  }
}

// max(v, 0), letting NaN through.
__device__ __forceinline__ float relu(float v) { return v < 0.0f ? 0.0f : v; }

// Philox4x32-10: word `index % 4` of the block `index / 4`. What the numbers are for is the counter's last word.
__device__ __forceinline__ unsigned random_word(index_t seed, unsigned stream, unsigned step, unsigned domain, index_t index) {
  unsigned c0 = (unsigned)(index >> 2), c1 = stream, c2 = step, c3 = domain;
  unsigned k0 = (unsigned)seed, k1 = (unsigned)((unsigned long long)seed >> 32);
#pragma unroll
  for (int round = 0; round < 10; round++) {
    const unsigned long long even = (unsigned long long)c0 * 0xD2511F53u, odd = (unsigned long long)c2 * 0xCD9E8D57u;
    c0 = (unsigned)(odd >> 32) ^ c1 ^ k0;
    c1 = (unsigned)odd;
    c2 = (unsigned)(even >> 32) ^ c3 ^ k1;
    c3 = (unsigned)even;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  const int word = (int)(index & 3);
  return word == 0 ? c0 : word == 1 ? c1 : word == 2 ? c2 : c3;
}
