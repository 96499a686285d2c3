#include "runtime.h"
void look_at(const void *, size_t, Access, const void *) {}
void begin_checks() {}
void begin_block_checks() {}
extern "C" void host_region(const void *, size_t, const char *) {}
