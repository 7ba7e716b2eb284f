// pack_names: what is in a pack that is being made, found by its path. There is a table of it only
// where somebody looks: who walks a tree knows its directories.
#pragma once
#include <stddef.h>

#include "base/fault.h"
#include "base/span.h"

struct making;
struct written;

struct names {
  struct written **slots;  // nullptr: nobody looked yet
  size_t slots_count, count;
};

// The making's lock is held in both. Room for one more where there is a table, and the one.
int32_t names_add(struct making *making, struct written *written, struct fault *fault);
// What has that name in the directory at `above`. *out nullptr: nothing.
int32_t names_find(struct making *making, span above, span name, struct written **out,
                   struct fault *fault);
