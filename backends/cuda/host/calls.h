// What the runtime gives to kernels.

#pragma once

struct uint3 { unsigned x, y, z; };

extern "C" {
uint3 host_index(int which) __attribute__((const));        // 0 threadIdx, 1 blockIdx, 2 blockDim, 3 gridDim
void *host_dynamic_shared() __attribute__((const));        // `extern __shared__` arrays
void host_barrier(int line);                               // __syncthreads
int host_barrier_reduce(int line, int value, int what);    // ... which also counts (0), ands (1), ors (2)
void host_warp_barrier(unsigned mask, int line);           // __syncwarp
unsigned host_active_mask();
unsigned host_ballot(unsigned mask, int value, int line);
// `bytes` of `value` from lane `source` of those that `mask` names.
void host_shuffle(unsigned mask, void *value, int bytes, int kind, int distance, int width, int line);
void host_fence();
void host_atomic(const void *place, int bytes);            // says that an atomic operation on it follows
void host_trap(const char *what) __attribute__((noreturn));
void host_copy_async(void *shared, const void *global, int bytes, int valid);
void host_copy_async_commit();
void host_copy_async_wait(int pending);
void host_load_matrix(unsigned *registers, const void *row, int matrices, int transposed);
void host_mma_tf32(float *d, const unsigned *a, const unsigned *b);
void host_mma_bf16(float *d, const unsigned *a, const unsigned *b);
void host_launch(const unsigned *grid, const unsigned *block, unsigned dynamic_shared, void (*call)(void **),
                 void **arguments, void *in_static_shared);
}
