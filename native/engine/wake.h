// wake: the one descriptor JavaScript watches. eventfd on Linux, a non-blocking pipe elsewhere
// (-Dwake=pipe builds that variant here too). The bytes read from it mean nothing.
#pragma once
#include <stdint.h>

struct wake {
  int read_fd, write_fd;  // the same one for an eventfd
};

int32_t wake_begin(struct wake *wake);  // negative: minus errno
void wake_end(struct wake *wake);
void wake_raise(
    struct wake *wake);  // async-signal-safe, never blocks; a full pipe is raised enough
extern const char *const wake_name;  // "eventfd" or "pipe"
