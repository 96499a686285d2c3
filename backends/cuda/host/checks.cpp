// Check mode: every access of a kernel is looked at (hooks.cpp says how they come here). Each word of memory that may be
// touched has a cell that remembers who wrote and who read it last, and when; two accesses that nothing orders, one of
// them a write, are a race. Time is counted in epochs: barriers of the block, and __syncwarps of the warp.

#include <algorithm>
#include <cstring>
#include <link.h>
#include <list>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>

#include "runtime.h"

// --- cells ------------------------------------------------------------------------------------------------------------

constexpr size_t WORD = 4;

struct Touch {
  unsigned thread = 0;  // 1 + its number in the grid; 0: nobody
  unsigned epoch = 0, warp_epoch = 0;
  bool atomic = false;
  const void *pc = nullptr;
};

// Two readers are remembered, far from each other if there are such, so that whoever writes then meets one that is not
// itself.
struct Cell {
  Touch write, read, other_read;
  bool initialised = false;
  bool split = false;  // bytes of the word have been touched one by one: they have cells of their own
};

struct Extent {  // memory without gaps, of one or several regions
  uintptr_t begin = 0, end = 0;
  bool shared = false;
  std::vector<Cell> cells;
  std::unordered_map<size_t, std::vector<Cell>> bytes;  // of split words
};

struct Region {  // what a report calls by a name
  uintptr_t begin = 0, end = 0;
  std::string name;
  bool shared = false;
  Extent *extent = nullptr;
};

static std::vector<Region> regions;
static std::list<Extent> extents;
static Region *last_found = nullptr;
static std::vector<std::pair<uintptr_t, uintptr_t>> constants;  // the module's segments: tables, literals

// --- reports, once for each pair of places in the source --------------------------------------------------------------

static std::set<std::tuple<std::string, const void *, const void *>> said;

static bool is_new(const char *what, const void *pc, const void *other = nullptr) {
  return said.size() < 16 && said.emplace(what, pc, other).second;
}

static std::string thread_name(unsigned thread) {
  const unsigned in_block = (thread - 1) % launch.threads, block = (thread - 1) / launch.threads;
  const uint3 g = launch.grid, b = launch.block;
  char text[128];
  snprintf(text, sizeof text, "block (%u, %u, %u), thread (%u, %u, %u)", block % g.x, block / g.x % g.y, block / g.x / g.y,
           in_block % b.x, in_block / b.x % b.y, in_block / b.x / b.y);
  return text;
}

static const char *verb(Access access) {
  return access == Access::read ? "read" : access == Access::write ? "write" : "atomic operation";
}

// --- the order of accesses --------------------------------------------------------------------------------------------

// Blocks whose accesses come before this block's from now on, because both used an atomic operation on the same place
// after a __threadfence (as the last block of a reduction does).
static std::vector<bool> acquired;
static std::map<uintptr_t, std::set<unsigned>> released;

static void synchronise(uintptr_t place) {
  if (!launch.fenced) return;
  std::set<unsigned> &blocks = released[place];
  for (unsigned block : blocks) acquired[block] = true;
  blocks.insert(launch.block_number);
}

static Touch now(Access access, const void *pc) {
  const Fiber &fiber = *launch.current;
  return {launch.block_number * launch.threads + fiber.number + 1, launch.epoch, launch.warps[fiber.warp].epoch,
          access == Access::atomic, pc};
}

static unsigned block_of(const Touch &touch) { return (touch.thread - 1) / launch.threads; }
static unsigned warp_of(const Touch &touch) { return (touch.thread - 1) % launch.threads / WARP; }

// How far apart two touches are: 0 where the earlier one is before the later for sure, else the same warp, the same
// block, another block.
static int distance(const Touch &earlier, const Touch &later) {
  if (earlier.thread == 0 || earlier.thread == later.thread) return 0;
  if (block_of(earlier) != block_of(later)) return acquired[block_of(earlier)] ? 0 : 3;
  if (earlier.epoch != later.epoch) return 0;
  if (warp_of(earlier) != warp_of(later)) return 2;
  return earlier.warp_epoch == later.warp_epoch ? 1 : 0;
}

static void race(const Region &region, uintptr_t place, const Touch &earlier, const char *what, const Touch &later,
                 const char *than) {
  if (!is_new("race", later.pc, earlier.pc)) return;
  report_here(later.pc, "race: %s of byte %zu of %s, not ordered after the %s by %s at %s", than,
              (size_t)(place - region.begin), region.name.c_str(), what, thread_name(earlier.thread).c_str(),
              place_of(earlier.pc).c_str());
}

static void remember_read(Cell &cell, const Touch &touch) {
  if (cell.read.thread != touch.thread && distance(cell.read, touch) >= distance(cell.other_read, touch))
    cell.other_read = cell.read;
  cell.read = touch;
}

static void visit(Cell &cell, const Region &region, uintptr_t place, Access access, const Touch &touch) {
  if (region.shared && access != Access::write && !cell.initialised && is_new("uninitialised", touch.pc))
    report_here(touch.pc, "%s of byte %zu of %s, which was not written", verb(access), (size_t)(place - region.begin),
                region.name.c_str());
  const bool both_atomic = access == Access::atomic && cell.write.atomic;
  if (!both_atomic && distance(cell.write, touch))
    race(region, place, cell.write, cell.write.atomic ? "atomic operation" : "write", touch, verb(access));
  if (access == Access::read) return remember_read(cell, touch);
  for (const Touch *read : {&cell.read, &cell.other_read})
    if (distance(*read, touch)) race(region, place, *read, "read", touch, verb(access));
  cell.write = touch;
  cell.initialised = true;
}

// --- where an access falls --------------------------------------------------------------------------------------------

static Region *find(uintptr_t begin, uintptr_t end) {
  const auto holds = [=](const Region &region) { return begin >= region.begin && end <= region.end; };
  if (last_found && holds(*last_found)) return last_found;
  for (Region &region : regions)
    if (holds(region)) return last_found = &region;
  return nullptr;
}

static bool is_private(uintptr_t begin, uintptr_t end) {
  const uintptr_t stack = (uintptr_t)launch.current->stack.bottom;
  if (begin >= stack && end <= stack + STACK_BYTES) return true;
  return std::any_of(constants.begin(), constants.end(), [=](auto part) { return begin >= part.first && end <= part.second; });
}

static void out_of_bounds(uintptr_t begin, size_t bytes, Access access, const void *pc) {
  const auto gap = [=](const Region &r) { return begin < r.begin ? r.begin - begin : begin >= r.end ? begin - r.end : 0; };
  const auto nearest = std::min_element(regions.begin(), regions.end(),
                                        [&](const Region &a, const Region &b) { return gap(a) < gap(b); });
  if (nearest == regions.end() || gap(*nearest) > 1 << 24) {
    report_here(pc, "%s of %zu bytes at %p, far from all memory of the kernel", verb(access), bytes, (void *)begin);
  } else {
    report_here(pc, "%s of %zu bytes out of bounds: at byte %lld of %s, which has %zu", verb(access), bytes,
                (long long)(begin - nearest->begin), nearest->name.c_str(), (size_t)(nearest->end - nearest->begin));
  }
  end_launch();
}

static std::vector<Cell> &split(Extent &extent, size_t word) {
  std::vector<Cell> &bytes = extent.bytes[word];
  if (!extent.cells[word].split) bytes.assign(WORD, extent.cells[word]);
  extent.cells[word].split = true;
  return bytes;
}

// `act` on the cells of these bytes: one for a word, unless it is split.
template <class Act> static void each_cell(Extent &extent, uintptr_t begin, uintptr_t end, Act act) {
  for (uintptr_t place = begin; place < end;) {
    const uintptr_t word_begin = place / WORD * WORD, stop = std::min(end, word_begin + WORD);
    const size_t word = (word_begin - extent.begin) / WORD;
    if (stop - place == WORD && !extent.cells[word].split) {
      act(extent.cells[word], place);
      place = stop;
    } else {
      for (std::vector<Cell> &bytes = split(extent, word); place < stop; place++) act(bytes[place - word_begin], place);
    }
  }
}

void look_at(const void *place, size_t bytes, Access access, const void *pc) {
  const uintptr_t begin = (uintptr_t)place, end = begin + bytes;
  Region *region = find(begin, end);
  if (!region) {
    if (is_private(begin, end)) return;
    out_of_bounds(begin, bytes, access, pc);
  }
  if (access == Access::atomic && !region->shared) synchronise(begin);
  const Touch touch = now(access, pc);
  each_cell(*region->extent, begin, end, [&](Cell &cell, uintptr_t at) { visit(cell, *region, at, access, touch); });
}

void forget_content(const void *place, size_t bytes) {
  const uintptr_t begin = (uintptr_t)place, end = begin + bytes;
  if (Region *region = find(begin, end))
    each_cell(*region->extent, begin, end, [](Cell &cell, uintptr_t) { cell.initialised = false; });
}

void must_be_aligned(const void *place, size_t bytes, const char *what, const void *pc) {
  if ((uintptr_t)place % bytes == 0) return;
  report_here(pc, "misaligned %s: the address %p is no multiple of %zu", what, place, bytes);
  end_launch();
}

// --- a launch ---------------------------------------------------------------------------------------------------------

extern "C" void host_forget_regions() {
  regions.clear();
  extents.clear();
  last_found = nullptr;
}

static void add_region(const void *place, size_t bytes, const char *name, bool shared) {
  Region region;
  region.begin = (uintptr_t)place;
  region.end = region.begin + bytes;
  region.name = name;
  region.shared = shared;
  if (bytes) regions.push_back(region);
}

extern "C" void host_region(const void *place, size_t bytes, const char *name) { add_region(place, bytes, name, false); }

// Regions that overlap (an operand that is the result too) share their cells.
static void make_extents() {
  std::vector<Region *> sorted;
  for (Region &region : regions) sorted.push_back(&region);
  std::sort(sorted.begin(), sorted.end(), [](const Region *a, const Region *b) { return a->begin < b->begin; });
  for (Region *region : sorted) {
    const uintptr_t begin = region->begin / WORD * WORD;
    if (extents.empty() || begin >= extents.back().end) {
      extents.emplace_back();
      extents.back().begin = begin;
    }
    Extent &extent = extents.back();
    extent.end = std::max(extent.end, (region->end + WORD - 1) / WORD * WORD);
    extent.shared |= region->shared;
    region->extent = &extent;
  }
  for (Extent &extent : extents) extent.cells.resize((extent.end - extent.begin) / WORD);
}

static int find_constants(dl_phdr_info *module, size_t, void *marker) {
  if (module->dlpi_tls_data != marker) return 0;
  for (int i = 0; i < module->dlpi_phnum; i++) {
    const uintptr_t begin = module->dlpi_addr + module->dlpi_phdr[i].p_vaddr;
    if (module->dlpi_phdr[i].p_type == PT_LOAD) constants.emplace_back(begin, begin + module->dlpi_phdr[i].p_memsz);
  }
  return 1;
}

void begin_checks() {
  said.clear();
  released.clear();
  constants.clear();
  add_region(launch.dynamic_shared, launch.dynamic_bytes, "dynamic shared memory", true);
  add_region(launch.static_shared, launch.static_bytes, "static shared memory", true);
  make_extents();
  dl_iterate_phdr(find_constants, launch.static_shared);
}

void begin_block_checks() {
  acquired.assign((size_t)launch.grid.x * launch.grid.y * launch.grid.z, false);
  for (Extent &extent : extents) {
    if (!extent.shared) continue;
    std::fill(extent.cells.begin(), extent.cells.end(), Cell());
    extent.bytes.clear();
  }
}
