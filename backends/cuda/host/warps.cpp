// What the lanes of a warp do together, and asynchronous copies.

#include <algorithm>
#include <cstring>

#include "runtime.h"

// --- meetings ---------------------------------------------------------------------------------------------------------

static void finish(Meeting &meeting, unsigned warp) {
  meeting.count++;
  meeting.arrived = 0;
  for (unsigned i = warp * WARP; i < launch.threads && i < (warp + 1) * WARP; i++) {
    Fiber &fiber = launch.fibers[i];
    if (fiber.state == State::at_warp && fiber.meeting == &meeting) fiber.state = State::ready;
  }
}

void leave_warp(const Fiber &fiber) {
  Warp &warp = launch.warps[fiber.warp];
  warp.alive &= ~(1u << fiber.lane);
  for (Meeting *meeting : warp.meetings)
    if (meeting->arrived && meeting->arrived == (meeting->mask & warp.alive)) finish(*meeting, fiber.warp);
}

void begin_warps() {
  unsigned left = launch.threads;
  for (Warp &warp : launch.warps) {
    warp.alive = left < WARP ? (1u << left) - 1 : 0xffffffffu;
    left -= std::min(left, WARP);
    for (Meeting *meeting : warp.meetings) meeting->arrived = 0;
  }
}

static Meeting &meeting_of(Warp &warp, unsigned mask) {
  for (Meeting *meeting : warp.meetings)
    if (meeting->mask == mask) return *meeting;
  warp.meetings.push_back(new Meeting);
  warp.meetings.back()->mask = mask;
  return *warp.meetings.back();
}

// Lets `leave` put something into the meeting's memory for the other lanes of `mask`, waits for them, and returns that
// memory with what all left.
template <class Leave>
static unsigned char *meet_and(unsigned mask, int line, const void *pc, Leave leave) {
  Fiber &fiber = *launch.current;
  Warp &warp = launch.warps[fiber.warp];
  const unsigned left = launch.threads - fiber.warp * WARP;
  if (left < WARP) mask &= (1u << left) - 1;  // the last warp of a block may be a part of one
  if (!(mask >> fiber.lane & 1)) {
    report_here(pc, "a warp operation whose mask 0x%08x does not name the thread's own lane %u", mask, fiber.lane);
    end_launch();
  }
  Meeting &meeting = meeting_of(warp, mask);
  if (meeting.arrived && meeting.line != line) {
    report_here(pc, "divergent warp operation: other lanes wait at the one of line %d", meeting.line);
    end_launch();
  }
  meeting.line = fiber.line = line;
  unsigned char *values = meeting.values[meeting.count & 1][0];
  leave(values);
  meeting.arrived |= 1u << fiber.lane;
  if (meeting.arrived == (mask & warp.alive)) {
    finish(meeting, fiber.warp);
  } else {
    fiber.state = State::at_warp;
    fiber.meeting = &meeting;
    to_scheduler();
  }
  return values;
}

// The same where each lane leaves `bytes` of `value`, 64 bytes from the next lane's.
static const unsigned char *meet(unsigned mask, const void *value, size_t bytes, int line, const void *pc) {
  const unsigned lane = launch.current->lane;
  return meet_and(mask, line, pc, [=](unsigned char *values) { memcpy(values + 64 * lane, value, bytes); });
}

template <class T> static T left_by(const unsigned char *values, unsigned lane, unsigned number = 0) {
  T value;
  memcpy(&value, values + 64 * lane + number * sizeof(T), sizeof(T));
  return value;
}

// --- warp operations --------------------------------------------------------------------------------------------------

extern "C" void host_warp_barrier(unsigned mask, int line) {
  unsigned &epoch = launch.warps[launch.current->warp].epoch;
  const unsigned before = epoch, nothing = 0;
  meet(mask, &nothing, sizeof nothing, line, CALLER);
  if (epoch == before) epoch++;  // the first to leave
}

extern "C" unsigned host_active_mask() { return launch.warps[launch.current->warp].alive; }

extern "C" unsigned host_ballot(unsigned mask, int value, int line) {
  const unsigned mine = value != 0;
  const unsigned lanes = launch.warps[launch.current->warp].alive;
  const unsigned char *values = meet(mask, &mine, sizeof mine, line, CALLER);
  unsigned result = 0;
  for (unsigned lane = 0; lane < WARP; lane++)
    if (mask & lanes & 1u << lane) result |= left_by<unsigned>(values, lane) << lane;
  return result;
}

enum { FROM, DOWN, UP, XOR };

extern "C" void host_shuffle(unsigned mask, void *value, int bytes, int kind, int distance, int width, int line) {
  const int lane = (int)launch.current->lane, first = lane & ~(width - 1), place = lane & (width - 1);
  int source = lane;
  if (kind == FROM) source = first + (distance & (width - 1));
  if (kind == DOWN && place + distance < width) source = lane + distance;
  if (kind == UP && place >= distance) source = lane - distance;
  if (kind == XOR && ((place ^ distance) & ~(width - 1)) == 0) source = first + (place ^ distance);
  const unsigned alive = launch.warps[launch.current->warp].alive;
  const unsigned char *values = meet(mask, value, (size_t)bytes, line, CALLER);
  if (!(mask & alive & 1u << source)) {
    report_here(CALLER, "a shuffle from lane %d, which is not in its mask 0x%08x or has returned", source, mask);
    end_launch();
  }
  memcpy(value, values + 64 * source, (size_t)bytes);
}

// --- tensor cores: the layout of fragments is that of the PTX manual's figures for m16n8k8 and m16n8k16 ---------------

typedef float Four __attribute__((vector_size(16)));

// What a meeting's memory is for a product: the operands, b transposed.
struct Operands { alignas(16) float a[16][16], b[8][16]; };
static_assert(sizeof(Operands) <= sizeof(Meeting::values[0]));

static float as_float(unsigned bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static float dot(const float *x, const float *y, int depth) {
  Four sum = {};
  for (int k = 0; k < depth; k += 4) sum += *(const Four *)(x + k) * *(const Four *)(y + k);
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

// Lane 4 g + t leaves its fragments' elements where they belong, and takes its d[i]: row g + 8 (i / 2), column 2 t + i % 2.
template <class Leave> static void product(float *d, int depth, const void *pc, Leave leave) {
  const unsigned g = launch.current->lane / 4, t = launch.current->lane % 4;
  const Operands &operands = *(Operands *)meet_and(0xffffffffu, -1, pc, [=](unsigned char *values) {
    leave(*(Operands *)values, g, t);
  });
  for (unsigned i = 0; i < 4; i++) d[i] += dot(operands.a[g + 8 * (i / 2)], operands.b[2 * t + i % 2], depth);
}

extern "C" void host_mma_tf32(float *d, const unsigned *a, const unsigned *b) {
  const auto value = [](unsigned bits) { return as_float(bits & 0xffffe000u); };  // the last 13 bits are not looked at
  product(d, 8, CALLER, [=](Operands &operands, unsigned g, unsigned t) {
    for (unsigned i = 0; i < 4; i++) operands.a[g + 8 * (i % 2)][t + 4 * (i / 2)] = value(a[i]);
    for (unsigned i = 0; i < 2; i++) operands.b[g][t + 4 * i] = value(b[i]);
  });
}

extern "C" void host_mma_bf16(float *d, const unsigned *a, const unsigned *b) {
  const auto put = [](float *pair, unsigned bits) {  // two to a register, the lower half first
    pair[0] = as_float(bits << 16);
    pair[1] = as_float(bits & 0xffff0000u);
  };
  product(d, 16, CALLER, [=](Operands &operands, unsigned g, unsigned t) {
    for (unsigned i = 0; i < 4; i++) put(&operands.a[g + 8 * (i % 2)][2 * t + 8 * (i / 2)], a[i]);
    for (unsigned i = 0; i < 2; i++) put(&operands.b[g][2 * t + 8 * i], b[i]);
  });
}

// Lanes 8 i .. 8 i + 7 name the rows of matrix i, 8 elements of 2 bytes each. Lane l gets of each matrix the elements
// (l / 4, 2 (l % 4)) and (l / 4, 2 (l % 4) + 1), or those of its transpose.
extern "C" void host_load_matrix(unsigned *registers, const void *row, int matrices, int transposed) {
  const unsigned lane = launch.current->lane;
  unsigned char mine[16] = {};
  if (lane < 8u * (unsigned)matrices) {
    must_be_aligned(row, 16, "row of ldmatrix", CALLER);
    if (launch.check) look_at(row, 16, Access::read, CALLER);
    memcpy(mine, row, 16);
  }
  const unsigned char *values = meet(0xffffffffu, mine, sizeof mine, -2, CALLER);
  for (unsigned i = 0; i < (unsigned)matrices; i++) {
    unsigned pair[2];
    for (unsigned j = 0; j < 2; j++) {
      const unsigned r = lane / 4, c = 2 * (lane % 4) + j;
      pair[j] = transposed ? left_by<unsigned short>(values, 8 * i + c, r) : left_by<unsigned short>(values, 8 * i + r, c);
    }
    registers[i] = pair[0] | pair[1] << 16;
  }
}

// --- asynchronous copies: at the latest moment that is allowed, the wait for them. What is read before is poison -------

static void carry_out(const Copy &copy) {
  const size_t bytes = (size_t)copy.bytes;
  if (launch.check) {
    if (copy.valid) look_at(copy.global, bytes, Access::read, copy.pc);
    look_at(copy.shared, bytes, Access::write, copy.pc);
  }
  if (copy.valid) memcpy(copy.shared, copy.global, bytes);
  else memset(copy.shared, 0, bytes);
}

extern "C" void host_copy_async(void *shared, const void *global, int bytes, int valid) {
  must_be_aligned(shared, (size_t)bytes, "target of cp.async", CALLER);
  if (valid) must_be_aligned(global, (size_t)bytes, "source of cp.async", CALLER);
  if (launch.check) {
    look_at(shared, (size_t)bytes, Access::write, CALLER);
    forget_content(shared, (size_t)bytes);
  }
  memset(shared, 0xFF, (size_t)bytes);
  launch.current->copies.push_back({shared, global, bytes, valid != 0, CALLER});
}

extern "C" void host_copy_async_commit() {
  Fiber &fiber = *launch.current;
  size_t before = 0;
  for (size_t count : fiber.groups) before += count;
  fiber.groups.push_back(fiber.copies.size() - before);
}

extern "C" void host_copy_async_wait(int pending) {
  Fiber &fiber = *launch.current;
  if (fiber.groups.size() <= (size_t)pending) return;
  const auto last = fiber.groups.end() - pending;
  size_t count = 0;
  for (auto group = fiber.groups.begin(); group != last; group++) count += *group;
  for (size_t i = 0; i < count; i++) carry_out(fiber.copies[i]);
  fiber.copies.erase(fiber.copies.begin(), fiber.copies.begin() + (ptrdiff_t)count);
  fiber.groups.erase(fiber.groups.begin(), last);
}
