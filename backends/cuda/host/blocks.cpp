// The scheduler: the blocks of a launch one after another, of a block whichever threads can go on.

#include <algorithm>
#include <csetjmp>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <link.h>
#include <random>
#include <string>
#include <ucontext.h>

#include "runtime.h"

Launch launch;

enum Order { FORWARD, REVERSE, SHUFFLED };
static Order order = FORWARD;
static unsigned seed = 0;

// --- reports ----------------------------------------------------------------------------------------------------------

static std::string reported;

static void append(const char *format, va_list arguments) {
  char line[1024];
  vsnprintf(line, sizeof line, format, arguments);
  reported += line;
}

void report(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  append(format, arguments);
  va_end(arguments);
  reported += "\n";
}

// A place in the kernel's code, as an offset into its library that addr2line understands.
std::string place_of(const void *pc) {
  Dl_info module = {};
  if (!pc || !dladdr((const char *)pc - 1, &module)) return "@?";
  char text[32];
  snprintf(text, sizeof text, "@0x%zx", (size_t)((const char *)pc - 1 - (const char *)module.dli_fbase));
  return text;
}

void report_here(const void *pc, const char *format, ...) {
  const uint3 b = launch.block_index, t = launch.current->index;
  char where[128];
  snprintf(where, sizeof where, ": block (%u, %u, %u), thread (%u, %u, %u): ", b.x, b.y, b.z, t.x, t.y, t.z);
  reported += place_of(pc) + where;
  va_list arguments;
  va_start(arguments, format);
  append(format, arguments);
  va_end(arguments);
  reported += "\n";
}

// --- what a thread does -----------------------------------------------------------------------------------------------

static void (*kernel_call)(void **);
static void **kernel_arguments;

void to_scheduler() { switch_context(launch.current->stack.context, launch.scheduler); }

void end_launch() {
  launch.ended = true;
  launch.current->state = State::done;
  for (;;) to_scheduler();
}

// One fiber after another thread's end runs the next block's thread, so its stack is made once.
static void thread_main() {
  for (;;) {
    kernel_call(kernel_arguments);
    launch.current->state = State::done;
    launch.alive--;
    leave_warp(*launch.current);
    to_scheduler();
  }
}

static void resume(Fiber &fiber) {
  launch.current = &fiber;
  launch.in_kernel = true;
  switch_context(launch.scheduler, fiber.stack.context);
  launch.in_kernel = false;
}

extern "C" uint3 host_index(int which) {
  switch (which) {
    case 0: return launch.current->index;
    case 1: return launch.block_index;
    case 2: return launch.block;
    default: return launch.grid;
  }
}

extern "C" void *host_dynamic_shared() { return launch.dynamic_shared; }
extern "C" void host_fence() { launch.fenced = true; }

extern "C" void host_trap(const char *what) {
  report_here(CALLER, "%s", what);
  end_launch();
}

static void barrier(int line, const void *pc) {
  if (launch.waiting && launch.barrier_line != line) {
    report_here(pc, "divergent __syncthreads: other threads wait at the one of line %d", launch.barrier_line);
    end_launch();
  }
  launch.barrier_line = line;
  launch.current->line = line;
  launch.current->state = State::at_barrier;
  launch.waiting++;
  to_scheduler();
}

extern "C" void host_barrier(int line) { barrier(line, CALLER); }

extern "C" int host_barrier_reduce(int line, int value, int what) {
  const unsigned turn = launch.reduce_turn;
  int &result = launch.reduced[turn];
  if (launch.reduce_count == 0) result = what == 1;
  const int one = value != 0;
  result = what == 0 ? result + one : what == 1 ? (result & one) : (result | one);
  if (++launch.reduce_count == launch.alive) {
    launch.reduce_count = 0;
    launch.reduce_turn ^= 1;
  }
  barrier(line, CALLER);
  return launch.reduced[turn];
}

// --- a block ----------------------------------------------------------------------------------------------------------

static void poison_shared() {
  memset(launch.dynamic_shared, 0xFF, launch.dynamic_bytes);
  memset(launch.static_shared, 0xFF, launch.static_bytes);
}

static void begin_block(unsigned number) {
  const uint3 g = launch.grid;
  launch.block_number = number;
  launch.block_index = {number % g.x, number / g.x % g.y, number / g.x / g.y};
  launch.alive = launch.threads;
  launch.waiting = launch.reduce_count = 0;
  launch.fenced = false;
  launch.epoch++;
  poison_shared();
  begin_warps();
  for (Fiber &fiber : launch.fibers) {
    fiber.state = State::ready;
    fiber.copies.clear();
    fiber.groups.clear();
  }
  if (launch.check) begin_block_checks();
}

static void release_barrier() {
  launch.waiting = 0;
  launch.epoch++;
  for (Fiber &fiber : launch.fibers)
    if (fiber.state == State::at_barrier) fiber.state = State::ready;
}

static void report_stuck() {
  const uint3 b = launch.block_index;
  unsigned at_warp = 0, returned = 0;
  int line = 0;
  for (const Fiber &fiber : launch.fibers) {
    returned += fiber.state == State::done;
    if (fiber.state == State::at_warp) at_warp++, line = fiber.line;
  }
  report("deadlock in block (%u, %u, %u): %u threads wait at __syncthreads (line %d), %u at a warp operation (line %d), "
         "%u have returned", b.x, b.y, b.z, launch.waiting, launch.waiting ? launch.barrier_line : 0, at_warp, line,
         returned);
  launch.ended = true;
}

static void run_block(unsigned number, std::vector<unsigned> &turn, std::mt19937 &random) {
  begin_block(number);
  while (launch.alive && !launch.ended) {
    if (order == SHUFFLED) std::shuffle(turn.begin(), turn.end(), random);
    bool moved = false;
    for (unsigned thread : turn) {
      if (launch.fibers[thread].state != State::ready) continue;
      moved = true;
      resume(launch.fibers[thread]);
      if (launch.ended) return;
    }
    if (launch.waiting && launch.waiting == launch.alive) {
      if (launch.alive != launch.threads) {
        const uint3 b = launch.block_index;
        report("__syncthreads of line %d reached by %u of the %u threads of block (%u, %u, %u): the others have returned",
               launch.barrier_line, launch.alive, launch.threads, b.x, b.y, b.z);
        launch.ended = true;
        return;
      }
      release_barrier();
    } else if (!moved) {
      return report_stuck();
    }
  }
}

// --- faults: a report in place of the process's end -------------------------------------------------------------------

static sigjmp_buf after_fault;
static const int FAULTS[] = {SIGSEGV, SIGBUS, SIGFPE};
static struct sigaction before[3];

static const void *code_address(void *context) {
#if defined(__x86_64__)
  return (const char *)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] + 1;
#elif defined(__aarch64__)
  return (const char *)((ucontext_t *)context)->uc_mcontext.pc + 1;
#else
  return context = nullptr;
#endif
}

static void on_fault(int signal, siginfo_t *info, void *context) {
  if (!launch.in_kernel) {  // not ours
    for (int i = 0; i < 3; i++) sigaction(FAULTS[i], &before[i], nullptr);
    return;
  }
  launch.in_kernel = false;
  const char *address = (const char *)info->si_addr, *bottom = launch.current->stack.bottom;
  const bool stack = address < bottom && address >= bottom - 65536;
  const void *pc = code_address(context);
  if (signal == SIGFPE) report_here(pc, "integer division by zero");
  else if (stack) report_here(pc, "more than %zu bytes of stack", STACK_BYTES);
  else report_here(pc, "memory fault at %p", (const void *)address);
  siglongjmp(after_fault, 1);
}

static void catch_faults() {
  static char alternative[64 << 10];  // the fiber's stack may be what is full
  stack_t stack = {};
  stack.ss_sp = alternative;
  stack.ss_size = sizeof alternative;
  sigaltstack(&stack, nullptr);
  struct sigaction action = {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  for (int i = 0; i < 3; i++) sigaction(FAULTS[i], &action, &before[i]);
}

static void restore_faults() {
  for (int i = 0; i < 3; i++) sigaction(FAULTS[i], &before[i], nullptr);
}

// --- a launch ---------------------------------------------------------------------------------------------------------

constexpr size_t STATIC_LIMIT = (48 << 10) + 64, SHARED_LIMIT = (227 << 10) + 64;  // 64: what is not the kernel's

// Static shared arrays are the module's thread-local variables.
static int find_static_shared(dl_phdr_info *module, size_t, void *marker) {
  for (int i = 0; i < module->dlpi_phnum; i++) {
    const auto &segment = module->dlpi_phdr[i];
    char *start = (char *)module->dlpi_tls_data;
    if (segment.p_type != PT_TLS || !start || (char *)marker < start || (char *)marker >= start + segment.p_memsz) continue;
    launch.static_shared = start;
    launch.static_bytes = segment.p_memsz;
    return 1;
  }
  return 0;
}

static void begin_launch(const unsigned *grid, const unsigned *block, unsigned dynamic_shared, void *in_static_shared) {
  static std::vector<char> dynamic;
  const unsigned threads = block[0] * block[1] * block[2];
  const bool remake = launch.ended;   // fibers were left where they stood
  launch.ended = false;
  launch.grid = {grid[0], grid[1], grid[2]};
  launch.block = {block[0], block[1], block[2]};
  launch.threads = threads;
  launch.warps.resize((threads + WARP - 1) / WARP);
  static std::vector<Stack> stacks;   // kept from launch to launch
  for (size_t i = 0; i < launch.fibers.size(); i++) stacks[i] = launch.fibers[i].stack;
  const size_t made = stacks.size();
  if (threads > made) stacks.resize(threads);
  for (size_t i = remake ? 0 : made; i < stacks.size(); i++) make_stack(stacks[i], (unsigned)i, thread_main);
  launch.fibers.resize(threads);
  for (unsigned i = 0; i < threads; i++) {
    Fiber &fiber = launch.fibers[i];
    fiber.stack = stacks[i];
    fiber.number = i;
    fiber.lane = i % WARP;
    fiber.warp = i / WARP;
    fiber.index = {i % block[0], i / block[0] % block[1], i / block[0] / block[1]};
  }
  dynamic.resize(dynamic_shared + 256);
  launch.dynamic_shared = (char *)(((uintptr_t)dynamic.data() + 255) & ~(uintptr_t)255);
  launch.dynamic_bytes = dynamic_shared;
  launch.static_bytes = 0;
  dl_iterate_phdr(find_static_shared, in_static_shared);
  if (launch.static_bytes > STATIC_LIMIT || launch.static_bytes + dynamic_shared > SHARED_LIMIT) {
    report("no GPU has that much shared memory for a block: %zu bytes in declared arrays and %u dynamic",
           launch.static_bytes, dynamic_shared);
    launch.ended = true;
  }
}

// The GPU code is compiled to flush denormals to zero. Returns what was set before.
static unsigned flush_denormals() {
#if defined(__x86_64__)
  const unsigned before = __builtin_ia32_stmxcsr();
  __builtin_ia32_ldmxcsr(before | 0x8040);
  return before;
#else
  return 0;
#endif
}

static void restore_denormals([[maybe_unused]] unsigned before) {
#if defined(__x86_64__)
  __builtin_ia32_ldmxcsr(before);
#endif
}

extern "C" void host_launch(const unsigned *grid, const unsigned *block, unsigned dynamic_shared, void (*call)(void **),
                            void **arguments, void *in_static_shared) {
  static std::vector<unsigned> blocks, turn;  // static: a fault jumps over this function's end
  reported.clear();
  begin_launch(grid, block, dynamic_shared, in_static_shared);
  kernel_call = call;
  kernel_arguments = arguments;
  if (launch.check) begin_checks();
  static std::mt19937 random;
  random.seed(seed);
  blocks.resize((size_t)grid[0] * grid[1] * grid[2]);
  turn.resize(launch.threads);
  for (std::vector<unsigned> *numbers : {&blocks, &turn}) {
    for (size_t i = 0; i < numbers->size(); i++) (*numbers)[i] = (unsigned)i;
    if (order == REVERSE) std::reverse(numbers->begin(), numbers->end());
    if (order == SHUFFLED) std::shuffle(numbers->begin(), numbers->end(), random);
  }
  const unsigned denormals = flush_denormals();
  catch_faults();
  if (sigsetjmp(after_fault, 1)) {
    launch.ended = true;
  } else {
    for (size_t i = 0; i < blocks.size() && !launch.ended; i++) run_block(blocks[i], turn, random);
  }
  restore_faults();
  restore_denormals(denormals);
}

// --- for runner.py ----------------------------------------------------------------------------------------------------

extern "C" void host_configure(int new_order, unsigned new_seed, int check) {
  host_forget_regions();
  order = (Order)new_order;
  seed = new_seed;
  launch.check = check;
}

extern "C" const char *host_report() { return reported.c_str(); }
