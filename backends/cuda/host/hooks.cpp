// How accesses come to be looked at: g++ puts calls of these functions into a kernel. With -fsanitize=thread one for each
// access to memory that is not surely a thread's own, with -fsanitize=bounds and others one where something is wrong.
// The libraries that usually have these functions are not linked.

#include "runtime.h"

static void access(const void *place, size_t bytes, Access how, const void *pc, bool aligned = true) {
  if (!launch.in_kernel) return;
  if (aligned) must_be_aligned(place, bytes, how == Access::read ? "read" : "write", pc);
  look_at(place, bytes, how, pc);
}

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void **, void *) {}
void __tsan_read_range(void *p, size_t bytes) { access(p, bytes, Access::read, CALLER, false); }
void __tsan_write_range(void *p, size_t bytes) { access(p, bytes, Access::write, CALLER, false); }

#define HOOKS(BYTES)                                                                                         \
  void __tsan_read##BYTES(void *p) { access(p, BYTES, Access::read, CALLER); }                               \
  void __tsan_write##BYTES(void *p) { access(p, BYTES, Access::write, CALLER); }                             \
  void __tsan_volatile_read##BYTES(void *p) { access(p, BYTES, Access::read, CALLER); }                      \
  void __tsan_volatile_write##BYTES(void *p) { access(p, BYTES, Access::write, CALLER); }                    \
  void __tsan_unaligned_read##BYTES(void *p) { access(p, BYTES, Access::read, CALLER, false); }              \
  void __tsan_unaligned_write##BYTES(void *p) { access(p, BYTES, Access::write, CALLER, false); }
HOOKS(1) HOOKS(2) HOOKS(4) HOOKS(8) HOOKS(16)

void host_atomic(const void *place, int bytes) {
  if (launch.check) access(place, (size_t)bytes, Access::atomic, CALLER);
}

struct Location { const char *file; unsigned line, column; };
struct TypeMismatch { Location location; void *type; unsigned char log2_alignment, kind; };

void __ubsan_handle_out_of_bounds(void *, size_t index) {
  report_here(CALLER, "index %lld is outside its array", (long long)index);
  end_launch();
}

void __ubsan_handle_type_mismatch_v1(TypeMismatch *what, const void *place) {
  must_be_aligned(place, (size_t)1 << what->log2_alignment, "access", CALLER);
}

void __ubsan_handle_divrem_overflow(void *, size_t, size_t divisor) {
  report_here(CALLER, divisor ? "quotient of integers that overflows" : "integer division by zero");
  end_launch();
}

static void overflow(const void *pc) {
  report_here(pc, "integer overflow");
  end_launch();
}
void __ubsan_handle_add_overflow(void *, size_t, size_t) { overflow(CALLER); }
void __ubsan_handle_sub_overflow(void *, size_t, size_t) { overflow(CALLER); }
void __ubsan_handle_mul_overflow(void *, size_t, size_t) { overflow(CALLER); }
void __ubsan_handle_negate_overflow(void *, size_t) { overflow(CALLER); }

}
