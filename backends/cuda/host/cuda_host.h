// The part of CUDA C++ that kernels use, for an ordinary C++ compiler: put before a kernel's source by runner.py. A thread
// of a block is a fiber of the runtime (runtime.h), so that what waits (barriers, warp operations) is a call of it.
//
// No standard header is included: this text is compiled with every kernel, and they would cost more than all the rest.

#pragma once
#define ALEXNET_IR_HOST 1

#include "calls.h"

struct dim3 { unsigned x, y, z; };

#define threadIdx (host_index(0))
#define blockIdx (host_index(1))
#define blockDim (host_index(2))
#define gridDim (host_index(3))
#define warpSize 32

// --- qualifiers -------------------------------------------------------------------------------------------------------

#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __shared__ thread_local  // static therefore, and one piece of memory that the runtime finds: the module's TLS
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __grid_constant__
#define HOST_UNCHECKED __attribute__((no_sanitize("thread"), noinline))  // its accesses are not the kernel's

// --- vectors ----------------------------------------------------------------------------------------------------------

#define HOST_VECTORS(T, NAME, ALIGN2, ALIGN4)                                                      \
  struct __attribute__((aligned(ALIGN2))) NAME##2 { T x, y; };                                     \
  struct NAME##3 { T x, y, z; };                                                                   \
  struct __attribute__((aligned(ALIGN4))) NAME##4 { T x, y, z, w; };                               \
  static inline NAME##2 make_##NAME##2(T x, T y) { return {x, y}; }                                \
  static inline NAME##3 make_##NAME##3(T x, T y, T z) { return {x, y, z}; }                        \
  static inline NAME##4 make_##NAME##4(T x, T y, T z, T w) { return {x, y, z, w}; }
#define uint3 host_uint3  // is there already
HOST_VECTORS(float, float, 8, 16)
HOST_VECTORS(int, int, 8, 16)
HOST_VECTORS(unsigned, uint, 8, 16)
HOST_VECTORS(unsigned char, uchar, 2, 4)
HOST_VECTORS(signed char, char, 2, 4)
HOST_VECTORS(unsigned short, ushort, 4, 8)
HOST_VECTORS(short, short, 4, 8)
HOST_VECTORS(double, double, 16, 16)
HOST_VECTORS(long long, longlong, 16, 16)
#undef uint3

// --- barriers, warps --------------------------------------------------------------------------------------------------

#define __syncthreads() host_barrier(__LINE__)
#define __syncthreads_count(value) host_barrier_reduce(__LINE__, (value), 0)
#define __syncthreads_and(value) host_barrier_reduce(__LINE__, (value), 1)
#define __syncthreads_or(value) host_barrier_reduce(__LINE__, (value), 2)
static __forceinline__ void host_syncwarp(int line, unsigned mask = 0xffffffffu) { host_warp_barrier(mask, line); }
#define __syncwarp(...) host_syncwarp(__LINE__, ##__VA_ARGS__)
#define __threadfence() host_fence()
#define __threadfence_block() ((void)0)
#define __trap() host_trap("__trap")
#define __activemask() host_active_mask()
#define __ballot_sync(mask, value) host_ballot(mask, (value), __LINE__)
#define __any_sync(mask, value) (host_ballot(mask, (value), __LINE__) != 0)
#define __all_sync(mask, value) (host_ballot(mask, !(value), __LINE__) == 0)

template <class T>
static __forceinline__ T host_shuffled(int line, int kind, unsigned mask, T value, int distance, int width = 32) {
  host_shuffle(mask, &value, sizeof(T), kind, distance, width, line);
  return value;
}
#define __shfl_sync(...) host_shuffled(__LINE__, 0, __VA_ARGS__)
#define __shfl_down_sync(...) host_shuffled(__LINE__, 1, __VA_ARGS__)
#define __shfl_up_sync(...) host_shuffled(__LINE__, 2, __VA_ARGS__)
#define __shfl_xor_sync(...) host_shuffled(__LINE__, 3, __VA_ARGS__)

// --- atomics: threads are fibers of one, so that a plain update will do -----------------------------------------------

template <class T> struct HostType { typedef T type; };
#define HOST_ATOMIC(NAME, EXPRESSION)                                                                            \
  template <class T> HOST_UNCHECKED static T host_##NAME(T *p, typename HostType<T>::type v) {                   \
    const T old = *p;                                                                                            \
    *p = EXPRESSION;                                                                                             \
    return old;                                                                                                  \
  }                                                                                                              \
  template <class T> static __forceinline__ T NAME(T *p, typename HostType<T>::type v) {                         \
    host_atomic(p, sizeof(T));                                                                                   \
    return host_##NAME(p, v);                                                                                    \
  }
HOST_ATOMIC(atomicAdd, old + v)
HOST_ATOMIC(atomicSub, old - v)
HOST_ATOMIC(atomicMax, old > v ? old : v)
HOST_ATOMIC(atomicMin, old < v ? old : v)
HOST_ATOMIC(atomicExch, v)
HOST_ATOMIC(atomicAnd, old & v)
HOST_ATOMIC(atomicOr, old | v)
HOST_ATOMIC(atomicXor, old ^ v)
HOST_ATOMIC(atomicInc, old >= v ? 0 : old + 1)
template <class T> HOST_UNCHECKED static T host_swap(T *p, T expected, T v) {
  const T old = *p;
  if (old == expected) *p = v;
  return old;
}
template <class T>
static __forceinline__ T atomicCAS(T *p, typename HostType<T>::type expected, typename HostType<T>::type v) {
  host_atomic(p, sizeof(T));
  return host_swap<T>(p, expected, v);
}

// --- loads, bits ------------------------------------------------------------------------------------------------------

#define HOST_LOAD(NAME) template <class T> static __forceinline__ T NAME(const T *p) { return *p; }
HOST_LOAD(__ldg) HOST_LOAD(__ldcs) HOST_LOAD(__ldcg) HOST_LOAD(__ldca) HOST_LOAD(__ldlu) HOST_LOAD(__ldcv)
#define HOST_STORE(NAME) template <class T> static __forceinline__ void NAME(T *p, typename HostType<T>::type v) { *p = v; }
HOST_STORE(__stcs) HOST_STORE(__stcg) HOST_STORE(__stwb) HOST_STORE(__stwt)

#define HOST_BITS(NAME, FROM, TO)                      \
  static __forceinline__ TO NAME(FROM v) {             \
    TO bits;                                           \
    __builtin_memcpy(&bits, &v, sizeof(bits));         \
    return bits;                                       \
  }
HOST_BITS(__float_as_int, float, int)
HOST_BITS(__float_as_uint, float, unsigned)
HOST_BITS(__int_as_float, int, float)
HOST_BITS(__uint_as_float, unsigned, float)
HOST_BITS(__double_as_longlong, double, long long)
HOST_BITS(__longlong_as_double, long long, double)

static __forceinline__ int __popc(unsigned v) { return __builtin_popcount(v); }
static __forceinline__ int __popcll(unsigned long long v) { return __builtin_popcountll(v); }
static __forceinline__ int __clz(int v) { return v ? __builtin_clz((unsigned)v) : 32; }
static __forceinline__ int __clzll(long long v) { return v ? __builtin_clzll((unsigned long long)v) : 64; }
static __forceinline__ int __ffs(int v) { return __builtin_ffs(v); }
static __forceinline__ int __ffsll(long long v) { return __builtin_ffsll(v); }
static __forceinline__ unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long long)a * b >> 32); }
static __forceinline__ int __mulhi(int a, int b) { return (int)((long long)a * b >> 32); }
static __forceinline__ unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return (unsigned long long)((unsigned __int128)a * b >> 64);
}
static __forceinline__ unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
  const unsigned long long both = (unsigned long long)b << 32 | a;
  unsigned result = 0;
  for (int i = 0; i < 4; i++) result |= (unsigned)(both >> 8 * (selector >> 4 * i & 7) & 0xff) << 8 * i;
  return result;
}

// --- mathematics ------------------------------------------------------------------------------------------------------

#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
#define isnan(v) __builtin_isnan(v)
#define isinf(v) __builtin_isinf(v)
#define isfinite(v) __builtin_isfinite(v)
#define signbit(v) __builtin_signbit(v)
#define __builtin_assume(v) ((void)0)

#define HOST_MATH1(NAME) extern "C" double NAME(double) noexcept; extern "C" float NAME##f(float) noexcept;
HOST_MATH1(exp) HOST_MATH1(exp2) HOST_MATH1(expm1) HOST_MATH1(log) HOST_MATH1(log2) HOST_MATH1(log10) HOST_MATH1(log1p)
HOST_MATH1(sqrt) HOST_MATH1(cbrt) HOST_MATH1(sin) HOST_MATH1(cos) HOST_MATH1(tan) HOST_MATH1(tanh) HOST_MATH1(atan)
HOST_MATH1(erf) HOST_MATH1(fabs) HOST_MATH1(floor) HOST_MATH1(ceil) HOST_MATH1(trunc) HOST_MATH1(round)
HOST_MATH1(rint) HOST_MATH1(nearbyint) HOST_MATH1(sinh) HOST_MATH1(cosh)
#define HOST_MATH2(NAME) extern "C" double NAME(double, double) noexcept; extern "C" float NAME##f(float, float) noexcept;
HOST_MATH2(pow) HOST_MATH2(fmax) HOST_MATH2(fmin) HOST_MATH2(fmod) HOST_MATH2(copysign) HOST_MATH2(atan2) HOST_MATH2(fdim)
extern "C" double fma(double, double, double) noexcept;
extern "C" float fmaf(float, float, float) noexcept;
extern "C" float ldexpf(float, int) noexcept;
extern "C" int printf(const char *, ...);

#define HOST_FLOAT1(NAME, EXPRESSION) static __forceinline__ float NAME(float a) { return EXPRESSION; }
HOST_FLOAT1(rsqrtf, 1.0f / sqrtf(a)) HOST_FLOAT1(__frsqrt_rn, 1.0f / sqrtf(a)) HOST_FLOAT1(__fsqrt_rn, sqrtf(a))
HOST_FLOAT1(__frcp_rn, 1.0f / a) HOST_FLOAT1(__saturatef, a > 0.0f ? (a < 1.0f ? a : 1.0f) : 0.0f)
HOST_FLOAT1(__expf, expf(a)) HOST_FLOAT1(__exp10f, powf(10.0f, a)) HOST_FLOAT1(exp10f, powf(10.0f, a))
HOST_FLOAT1(__logf, logf(a)) HOST_FLOAT1(__log2f, log2f(a)) HOST_FLOAT1(__sinf, sinf(a)) HOST_FLOAT1(__cosf, cosf(a))
#define HOST_FLOAT2(NAME, EXPRESSION) static __forceinline__ float NAME(float a, float b) { return EXPRESSION; }
HOST_FLOAT2(__fadd_rn, a + b) HOST_FLOAT2(__fsub_rn, a - b) HOST_FLOAT2(__fmul_rn, a * b) HOST_FLOAT2(__fdiv_rn, a / b)
HOST_FLOAT2(__fdividef, a / b) HOST_FLOAT2(__powf, powf(a, b))
static __forceinline__ float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static __forceinline__ double rsqrt(double a) { return 1.0 / sqrt(a); }
static __forceinline__ int __float2int_rn(float a) { return (int)rintf(a); }
static __forceinline__ int __float2int_rz(float a) { return (int)a; }
static __forceinline__ int __float2int_rd(float a) { return (int)floorf(a); }
static __forceinline__ int __float2int_ru(float a) { return (int)ceilf(a); }
static __forceinline__ float __int2float_rn(int a) { return (float)a; }
static __forceinline__ int abs(int a) { return a < 0 ? -a : a; }
static __forceinline__ long long abs(long long a) { return a < 0 ? -a : a; }
static __forceinline__ float abs(float a) { return fabsf(a); }

// As in CUDA, of floats max and min prefer the operand that is no NaN.
static __forceinline__ float host_max(float a, float b) { return fmaxf(a, b); }
static __forceinline__ double host_max(double a, double b) { return fmax(a, b); }
template <class T> static __forceinline__ T host_max(T a, T b) { return a > b ? a : b; }
static __forceinline__ float host_min(float a, float b) { return fminf(a, b); }
static __forceinline__ double host_min(double a, double b) { return fmin(a, b); }
template <class T> static __forceinline__ T host_min(T a, T b) { return a < b ? a : b; }
template <class A, class B> static __forceinline__ auto max(A a, B b) -> decltype(a + b) {
  typedef decltype(a + b) Common;
  return host_max((Common)a, (Common)b);
}
template <class A, class B> static __forceinline__ auto min(A a, B b) -> decltype(a + b) {
  typedef decltype(a + b) Common;
  return host_min((Common)a, (Common)b);
}

// --- how runner.py calls a kernel -------------------------------------------------------------------------------------

struct HostParameter { char kind, element; short size, element_size; };  // kind: p(ointer), f(loat), i(nt), u(nsigned), s(truct)

template <class T> struct HostKind { static const char value = 's'; };
#define HOST_KIND(T, KIND) template <> struct HostKind<T> { static const char value = KIND; };
HOST_KIND(float, 'f') HOST_KIND(double, 'f') HOST_KIND(int, 'i') HOST_KIND(long, 'i') HOST_KIND(long long, 'i')
HOST_KIND(short, 'i') HOST_KIND(signed char, 'i') HOST_KIND(unsigned, 'u') HOST_KIND(unsigned long, 'u')
HOST_KIND(unsigned long long, 'u') HOST_KIND(unsigned short, 'u') HOST_KIND(unsigned char, 'u') HOST_KIND(bool, 'u')
template <class T> struct HostKind<const T> : HostKind<T> {};

template <class T> struct HostParameterOf { static HostParameter get() { return {HostKind<T>::value, 0, sizeof(T), 0}; } };
template <class T> struct HostParameterOf<T *> { static HostParameter get() { return {'p', HostKind<T>::value, 8, sizeof(T)}; } };
template <> struct HostParameterOf<void *> { static HostParameter get() { return {'p', 's', 8, 1}; } };
template <> struct HostParameterOf<const void *> { static HostParameter get() { return {'p', 's', 8, 1}; } };

template <class... P> static int host_signature_of(void (*)(P...), HostParameter *out) {
  const HostParameter all[] = {HostParameterOf<P>::get()..., HostParameter()};
  for (unsigned i = 0; i < sizeof...(P); i++) out[i] = all[i];
  return sizeof...(P);
}

template <int... I> struct HostNumbers {};
template <int N, int... I> struct HostCount : HostCount<N - 1, N - 1, I...> {};
template <int... I> struct HostCount<0, I...> { typedef HostNumbers<I...> numbers; };
template <class... P, int... I>
HOST_UNCHECKED static void host_call_with(void (*kernel)(P...), void **arguments, HostNumbers<I...>) {
  kernel(*(P *)arguments[I]...);
}
template <class... P> HOST_UNCHECKED static void host_call(void (*kernel)(P...), void **arguments) {
  host_call_with(kernel, arguments, typename HostCount<sizeof...(P)>::numbers());
}

// Entry points of the library: the parameters' kinds, and a launch.
static thread_local int host_marker;  // lies where static shared arrays lie
#define HOST_KERNEL(KERNEL)                                                                                     \
  HOST_UNCHECKED static void host_call_kernel(void **arguments) { host_call(KERNEL, arguments); }               \
  extern "C" int host_signature(HostParameter *out) { return host_signature_of(KERNEL, out); }                  \
  extern "C" void host_launch_kernel(const unsigned *grid, const unsigned *block, unsigned dynamic_shared,      \
                                     void **arguments) {                                                        \
    host_launch(grid, block, dynamic_shared, host_call_kernel, arguments, &host_marker);                        \
  }
