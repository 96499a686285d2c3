// Stacks of fibers, and the switch from one to another: the registers that a call must keep are pushed, the stack pointer
// exchanged, and the other's popped. (swapcontext would ask the kernel for the signal mask each time: 20 times slower.)

#include <sys/mman.h>
#include <unistd.h>

#include "runtime.h"

#if defined(__x86_64__) && !defined(HOST_UCONTEXT)

extern "C" void host_switch(void **from, void *to);
asm(R"(
.text
.globl host_switch
.type host_switch, @function
host_switch:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
.size host_switch, .-host_switch
)");

// Six registers, the address that `ret` takes, and a return address for `entry`, which has none to go to.
static void *first_frame(char *top, void (*entry)()) {
  void **frame = (void **)top - 8;
  for (int i = 0; i < 8; i++) frame[i] = nullptr;
  frame[6] = (void *)entry;
  return frame;
}

#elif defined(__aarch64__) && !defined(HOST_UCONTEXT)

extern "C" void host_switch(void **from, void *to);
asm(R"(
.text
.globl host_switch
.type host_switch, %function
host_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size host_switch, .-host_switch
)");

static void *first_frame(char *top, void (*entry)()) {
  void **frame = (void **)(top - 160);
  for (int i = 0; i < 20; i++) frame[i] = nullptr;
  frame[11] = (void *)entry;  // x30
  return frame;
}

#else
#include <ucontext.h>

static void host_switch(void **from, void *to) {
  if (!*from) *from = new ucontext_t;
  swapcontext((ucontext_t *)*from, (ucontext_t *)to);
}

static void *first_frame(char *top, void (*entry)()) {
  ucontext_t *context = new ucontext_t;
  getcontext(context);
  context->uc_stack.ss_sp = top - STACK_BYTES + 4096;
  context->uc_stack.ss_size = STACK_BYTES - 4096;
  context->uc_link = nullptr;
  makecontext(context, entry, 0);
  return context;
}

#endif

void switch_context(Context &from, Context &to) { host_switch(&from.at, to.at); }

void make_stack(Stack &stack, unsigned number, void (*entry)()) {
  if (!stack.bottom) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *memory = (char *)mmap(nullptr, STACK_BYTES + page, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == (char *)MAP_FAILED) __builtin_trap();
    mprotect(memory, page, PROT_NONE);
    stack.bottom = memory + page;
  }
  // The tops of the stacks begin at different offsets in a page, or they would all fall into the same sets of the cache.
  char *top = stack.bottom + STACK_BYTES - (number * 320 & 4095) / 16 * 16;
  stack.context.at = first_frame(top, entry);
}
