// The runtime that kernels call: each thread of a block is a fiber with a small stack of its own, all on one thread of
// the operating system, one block after another. A fiber runs until it waits (a barrier, a warp operation) or returns.
//
// fibers.cpp   stacks and the switch from one to another
// blocks.cpp   the scheduler, __syncthreads, what ends a launch, faults
// warps.cpp    __syncwarp, shuffles, ballots, cp.async, ldmatrix, mma
// checks.cpp   check mode: what every access is tested for
// hooks.cpp    the calls that g++ inserts for check mode

#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "calls.h"

// --- fibers -----------------------------------------------------------------------------------------------------------

constexpr size_t STACK_BYTES = 128 << 10;  // touched pages alone cost memory
constexpr unsigned WARP = 32;

// Where a fiber stopped: on x86-64 and aarch64 its stack pointer, elsewhere a ucontext.
struct Context { void *at = nullptr; };

struct Stack {
  char *bottom = nullptr;  // above a page that nobody may touch
  Context context;
};

void make_stack(Stack &stack, unsigned number, void (*entry)());  // allocates it the first time; `entry` never returns
void switch_context(Context &from, Context &to);

// --- a launch ---------------------------------------------------------------------------------------------------------

enum class State { ready, at_barrier, at_warp, done };

struct Copy { void *shared; const void *global; int bytes; bool valid; const void *pc; };

// Lanes of a warp that meet for an operation, by their mask. Each leaves a value; the last to come wakes the others. Two
// sets of values by turns, since the first may be at the next meeting before the last has read.
struct Meeting {
  unsigned mask = 0, arrived = 0, count = 0;
  int line = 0;
  alignas(64) unsigned char values[2][WARP][64];
};

struct Fiber {
  Stack stack;
  State state = State::done;
  unsigned number = 0, lane = 0, warp = 0;
  uint3 index = {};
  int line = 0;                // of what it waits for
  Meeting *meeting = nullptr;  // at which it waits
  std::vector<Copy> copies;    // cp.async not carried out yet, and how many are in each committed group
  std::vector<size_t> groups;
};

struct Warp {
  std::vector<Meeting *> meetings;
  unsigned alive = 0;  // lanes that have not returned
  unsigned epoch = 1;  // __syncwarps so far
};

struct Launch {
  uint3 grid = {}, block = {}, block_index = {};
  unsigned threads = 0, block_number = 0;
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  Fiber *current = nullptr;
  Context scheduler;
  unsigned alive = 0, waiting = 0;  // threads not returned; those of them at the barrier
  int barrier_line = 0;
  int reduced[2] = {0, 0};          // by __syncthreads_count and so on, by turns
  unsigned reduce_count = 0, reduce_turn = 0;
  unsigned epoch = 1;               // barriers so far, of all blocks
  bool fenced = false;              // this block has executed __threadfence
  bool ended = false;               // by an error
  volatile bool in_kernel = false;
  char *dynamic_shared = nullptr;
  size_t dynamic_bytes = 0;
  char *static_shared = nullptr;
  size_t static_bytes = 0;
  bool check = false;
};

extern Launch launch;

void to_scheduler();              // the current fiber waits
[[noreturn]] void end_launch();   // the current fiber ends everything
void leave_warp(const Fiber &fiber);  // it has returned: others need not wait for it
void begin_warps();                   // of a block: all lanes are there, none waits

// --- reports ----------------------------------------------------------------------------------------------------------

// A line of the report. Addresses of code are written `@0x...`, and become file and line in runner.py.
void report(const char *format, ...) __attribute__((format(printf, 1, 2)));
void report_here(const void *pc, const char *format, ...) __attribute__((format(printf, 2, 3)));  // which thread, and where
std::string place_of(const void *pc);
void must_be_aligned(const void *place, size_t bytes, const char *what, const void *pc);
#define CALLER __builtin_return_address(0)

// --- checks (nothing outside check mode) ------------------------------------------------------------------------------

enum class Access { read, write, atomic };
void look_at(const void *place, size_t bytes, Access access, const void *pc);
void forget_content(const void *place, size_t bytes);  // from now on it counts as never written
void begin_checks();  // of a launch
void begin_block_checks();
extern "C" void host_forget_regions();
