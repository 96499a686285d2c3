// What the lanes of a warp do together, and asynchronous copies.

#include <cmath>
#include <cstring>

#include "runtime.h"

// --- meetings ---------------------------------------------------------------------------------------------------------

unsigned alive_lanes(unsigned warp) {
  unsigned mask = 0;
  for (unsigned i = warp * WARP; i < launch.threads && i < (warp + 1) * WARP; i++)
    if (launch.fibers[i].state != State::done) mask |= 1u << i % WARP;
  return mask;
}

static void finish(Meeting &meeting, unsigned warp) {
  meeting.count++;
  meeting.arrived = 0;
  for (unsigned i = warp * WARP; i < launch.threads && i < (warp + 1) * WARP; i++) {
    Fiber &fiber = launch.fibers[i];
    if (fiber.state == State::at_warp && fiber.meeting == &meeting) fiber.state = State::ready;
  }
}

void wake_meetings(unsigned warp) {
  for (Meeting *meeting : launch.warps[warp].meetings)
    if (meeting->arrived && meeting->arrived == (meeting->mask & alive_lanes(warp))) finish(*meeting, warp);
}

void forget_meetings() {
  for (Warp &warp : launch.warps)
    for (Meeting *meeting : warp.meetings) meeting->arrived = 0;
}

static Meeting &meeting_of(Warp &warp, unsigned mask) {
  for (Meeting *meeting : warp.meetings)
    if (meeting->mask == mask) return *meeting;
  warp.meetings.push_back(new Meeting);
  warp.meetings.back()->mask = mask;
  return *warp.meetings.back();
}

// Leaves `bytes` of `value` for the other lanes of `mask`, waits for them, and returns what all left: 64 bytes a lane.
static const unsigned char *meet(unsigned mask, const void *value, size_t bytes, int line, const void *pc) {
  Fiber &fiber = *launch.current;
  const unsigned left = launch.threads - fiber.warp * WARP;
  if (left < WARP) mask &= (1u << left) - 1;  // the last warp of a block may be a part of one
  if (!(mask >> fiber.lane & 1)) {
    report_here(pc, "a warp operation whose mask 0x%08x does not name the thread's own lane %u", mask, fiber.lane);
    end_launch();
  }
  Meeting &meeting = meeting_of(launch.warps[fiber.warp], mask);
  if (meeting.arrived && meeting.line != line) {
    report_here(pc, "divergent warp operation: other lanes wait at the one of line %d", meeting.line);
    end_launch();
  }
  meeting.line = fiber.line = line;
  unsigned char (*values)[64] = meeting.values[meeting.count & 1];
  memcpy(values[fiber.lane], value, bytes);
  meeting.arrived |= 1u << fiber.lane;
  if (meeting.arrived == (mask & alive_lanes(fiber.warp))) {
    finish(meeting, fiber.warp);
  } else {
    fiber.state = State::at_warp;
    fiber.meeting = &meeting;
    to_scheduler();
  }
  return values[0];
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

extern "C" unsigned host_active_mask() { return alive_lanes(launch.current->warp); }

extern "C" unsigned host_ballot(unsigned mask, int value, int line) {
  const unsigned mine = value != 0;
  const unsigned lanes = alive_lanes(launch.current->warp);
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
  const unsigned alive = alive_lanes(launch.current->warp);
  const unsigned char *values = meet(mask, value, (size_t)bytes, line, CALLER);
  if (!(mask & alive & 1u << source)) {
    report_here(CALLER, "a shuffle from lane %d, which is not in its mask 0x%08x or has returned", source, mask);
    end_launch();
  }
  memcpy(value, values + 64 * source, (size_t)bytes);
}

// --- tensor cores: the layout of fragments is that of the PTX manual's figures for m16n8k8 and m16n8k16 ---------------

static float as_float(unsigned bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static const unsigned char *fragments(const unsigned *a, const unsigned *b, const void *pc) {
  const unsigned mine[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
  return meet(0xffffffffu, mine, sizeof mine, -1, pc);
}

// Element (row, column) of this lane's d[i] is (group + 8 (i / 2), 2 member + i % 2), for lane = 4 group + member.
extern "C" void host_mma_tf32(float *d, const unsigned *a, const unsigned *b) {
  const unsigned group = launch.current->lane / 4, member = launch.current->lane % 4;
  const unsigned char *values = fragments(a, b, CALLER);
  for (unsigned i = 0; i < 4; i++) {
    const unsigned lower = i / 2, column = 2 * member + i % 2;
    double sum = d[i];
    for (unsigned k = 0; k < 8; k++) {  // tf32: the last 13 bits are not looked at
      const unsigned x = left_by<unsigned>(values, 4 * group + k % 4, lower + 2 * (k / 4)) & 0xffffe000u;
      const unsigned y = left_by<unsigned>(values, 4 * column + k % 4, 4 + k / 4) & 0xffffe000u;
      sum += (double)as_float(x) * as_float(y);
    }
    d[i] = (float)sum;
  }
}

extern "C" void host_mma_bf16(float *d, const unsigned *a, const unsigned *b) {
  const unsigned group = launch.current->lane / 4, member = launch.current->lane % 4;
  const unsigned char *values = fragments(a, b, CALLER);
  for (unsigned i = 0; i < 4; i++) {
    const unsigned lower = i / 2, column = 2 * member + i % 2;
    double sum = d[i];
    for (unsigned k = 0; k < 16; k++) {  // two to a register, the lower half first
      const unsigned half = k % 2, lane = k % 8 / 2, upper = k / 8;
      const unsigned x = left_by<unsigned short>(values, 4 * group + lane, 2 * (lower + 2 * upper) + half);
      const unsigned y = left_by<unsigned short>(values, 4 * column + lane, 2 * (4 + upper) + half);
      sum += (double)as_float(x << 16) * as_float(y << 16);
    }
    d[i] = (float)sum;
  }
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
  launch.current->open.push_back({shared, global, bytes, valid != 0, CALLER});
}

extern "C" void host_copy_async_commit() {
  launch.current->groups.push_back({});
  launch.current->groups.back().swap(launch.current->open);
}

extern "C" void host_copy_async_wait(int pending) {
  auto &groups = launch.current->groups;
  while (groups.size() > (size_t)pending) {
    for (const Copy &copy : groups.front()) carry_out(copy);
    groups.erase(groups.begin());
  }
}
