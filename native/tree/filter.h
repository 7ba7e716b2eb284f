// filter: which entries a task sees. Include and exclude are globs: one without '/' is matched
// against a name, one with '/' against the whole path relative to the root. Of excludes and of
// includes the last that matches decides, and one that begins with '!' takes back what those before
// it said. Decided before anything is read or entered.
#pragma once
#include "base/fault.h"
#include "base/span.h"

struct filter;
struct ignore;
struct matcher;

// nullptr in *out when there is nothing to filter.
int32_t filter_compile(span request, struct filter **out, struct fault *fault);
void filter_free(struct filter *filter);  // nullptr is fine

struct verdict {
  bool seen;     // it is part of the tree
  bool descend;  // a directory: what is below it may be
  bool inside;   // an include named it: so everything below is included too
};

// The filter and the ignore files at one directory, for one thread.
constexpr size_t SIEVE_LEVELS = 8;
struct sieve {
  const struct filter *filter;
  struct matcher *rules;
  struct sieve_level {
    const struct ignore *ignore;
    struct matcher *matcher;
  } *levels, few[SIEVE_LEVELS];  // nearest first
  size_t levels_count;
};
// Either may be nullptr. After an error sieve_end is still due.
int32_t sieve_begin(struct sieve *sieve, const struct filter *filter, const struct ignore *ignore,
                    span directory, struct fault *fault);
void sieve_end(struct sieve *sieve);  // zeroed: fine
// `inside`: the directory's own verdict.
struct verdict sieve_entry(struct sieve *sieve, span name, bool is_directory, bool inside);
