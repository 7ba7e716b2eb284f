// paths: a sorted array of things, each of which begins with its path. A directory is a range of
// it, so nothing is built for one.
#pragma once
#include "base/span.h"

struct paths {
  const uint8_t *at;  // of the first thing; its first field is a span, the path
  size_t stride;
};

// '/' comes before every other byte, so that what is in a directory stands together.
int paths_order(span left, span right);
// The order for qsort, of things that begin with their path.
int paths_compare(const void *left, const void *right);
// The same of pointers to such things.
int paths_compare_pointed(const void *left, const void *right);
// Whether a path leads through another one, which is not empty.
bool paths_below(span path, span above);

span paths_path(const struct paths *paths, size_t item);
// The name that an item has in the directory whose paths begin with `prefix` bytes, and whether it
// is only a part of what is left of its path.
span paths_name(const struct paths *paths, size_t item, size_t prefix, bool *is_part);
// The items of one name among [begin, end) of a directory: [*first, *last). False: there are none.
bool paths_find(const struct paths *paths, size_t begin, size_t end, size_t prefix, span name,
                size_t *first, size_t *last, bool *is_part);
