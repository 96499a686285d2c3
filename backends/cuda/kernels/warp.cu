// Instructions that a warp executes together, and asynchronous copies: the one file with inline PTX. On the host its
// runtime stands in for them. Fragments lie in registers as the PTX manual draws them for m16n8k8 (tf32) and m16n8k16
// (bf16): for lane = 4 g + t, with rows of A and D, columns of B:
//   D: d[0] (g, 2t), d[1] (g, 2t+1), d[2] (g+8, 2t), d[3] (g+8, 2t+1)
//   tf32: A: a[0] (g, t), a[1] (g+8, t), a[2] (g, t+4), a[3] (g+8, t+4); B: b[0] (t, g), b[1] (t+4, g)
//   bf16, two to a register, the lower column (of B: row) in the lower half:
//         A: a[0] (g, 2t), a[1] (g+8, 2t), a[2] (g, 2t+8), a[3] (g+8, 2t+8); B: b[0] (2t, g), b[1] (2t+8, g)
// All but the first two functions need sm_80; on older GPUs they are not there.

// Nearest tf32, ties away from zero, as the bits of a float.
__device__ __forceinline__ unsigned to_tf32(float v) {
#if !defined(ALEXNET_IR_HOST) && __CUDA_ARCH__ >= 800
  unsigned bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(v));
  return bits;
#else
  return __float_as_uint(round_tf32(v));
#endif
}

// Two bf16 in a register.
__device__ __forceinline__ unsigned pack_bf16(float low, float high) {
  return (unsigned)bf16_bits(low) | (unsigned)bf16_bits(high) << 16;
}

#ifdef ALEXNET_IR_HOST

__device__ __forceinline__ void copy_async_16(void *shared, const void *global, bool valid) {
  host_copy_async(shared, global, 16, valid);
}
__device__ __forceinline__ void copy_async_4(void *shared, const void *global, bool valid) {
  host_copy_async(shared, global, 4, valid);
}
__device__ __forceinline__ void copy_async_commit() { host_copy_async_commit(); }
template <int N> __device__ __forceinline__ void copy_async_wait() { host_copy_async_wait(N); }

__device__ __forceinline__ void load_matrix_x4(unsigned (&r)[4], const void *row) { host_load_matrix(r, row, 4, 0); }
__device__ __forceinline__ void load_matrix_x4_transposed(unsigned (&r)[4], const void *row) {
  host_load_matrix(r, row, 4, 1);
}
__device__ __forceinline__ void load_matrix_x2(unsigned (&r)[2], const void *row) { host_load_matrix(r, row, 2, 0); }
__device__ __forceinline__ void load_matrix_x2_transposed(unsigned (&r)[2], const void *row) {
  host_load_matrix(r, row, 2, 1);
}

__device__ __forceinline__ void mma_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  host_mma_tf32(d, a, b);
}
__device__ __forceinline__ void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  host_mma_bf16(d, a, b);
}

#elif __CUDA_ARCH__ >= 800

// Of a generic address: its place in the window of shared memory.
__device__ __forceinline__ unsigned shared_address(const void *p) { return (unsigned)__cvta_generic_to_shared(p); }

// 16 or 4 bytes from global to shared memory, both aligned so; zeros where not valid, `global` is then not read.
__device__ __forceinline__ void copy_async_16(void *shared, const void *global, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
               "r"(valid ? 16 : 0)
               : "memory");
}
__device__ __forceinline__ void copy_async_4(void *shared, const void *global, bool valid) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(shared)), "l"(global),
               "r"(valid ? 4 : 0)
               : "memory");
}
// The copies since the last commit are a group.
__device__ __forceinline__ void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until all but the last N groups of this thread are there.
template <int N> __device__ __forceinline__ void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// 8x8 matrices of 2-byte elements; lane 8 i + j names row j of matrix i in shared memory, 16 bytes, aligned so. Of each
// matrix lane l gets the elements (l / 4, 2 (l % 4)) and the next, or those of its transpose.
__device__ __forceinline__ void load_matrix_x4(unsigned (&r)[4], const void *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
__device__ __forceinline__ void load_matrix_x4_transposed(unsigned (&r)[4], const void *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
__device__ __forceinline__ void load_matrix_x2(unsigned (&r)[2], const void *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(row))
               : "memory");
}
__device__ __forceinline__ void load_matrix_x2_transposed(unsigned (&r)[2], const void *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(row))
               : "memory");
}

// d [16, 8] += a [16, 8] b [8, 8], tf32: of operands the last 13 bits are not looked at.
__device__ __forceinline__ void mma_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
               "{%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
// d [16, 8] += a [16, 16] b [16, 8], bf16.
__device__ __forceinline__ void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
               "{%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#endif
