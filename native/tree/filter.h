// filter: which entries a task sees. Include and exclude are globs: one without '/' is matched
// against a name, one with '/' against the whole path relative to the root. Decided before anything
// is read or entered.
#pragma once
#include "base/arena.h"
#include "base/fault.h"
#include "base/span.h"

struct filter;

// nullptr in *out when there is nothing to filter.
int32_t filter_compile(span request, struct arena *arena, struct filter **out, struct fault *fault);

struct verdict {
  bool seen;     // it is part of the tree
  bool descend;  // a directory: what is below it may be
  bool inside;   // an include named it: so everything below is included too
};
// `inside`: the directory's own verdict. `path` is only asked for when a glob with '/' needs it: it
// is directory + '/' + name, given by the caller as two parts.
struct verdict filter_entry(const struct filter *filter, span directory, span name,
                            bool is_directory, bool inside);
bool filter_wants_path(const struct filter *filter);
