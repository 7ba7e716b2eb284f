#include "store/paths.h"

int paths_order(span left, span right) {
  size_t shorter = left.size < right.size ? left.size : right.size;
  for (size_t i = 0; i < shorter; i++) {
    if (left.at[i] == right.at[i]) continue;
    int l = left.at[i] == '/' ? -1 : left.at[i], r = right.at[i] == '/' ? -1 : right.at[i];
    return l - r;
  }
  return left.size < right.size ? -1 : left.size > right.size;
}

int paths_compare(const void *left, const void *right) {
  return paths_order(*(const span *)left, *(const span *)right);
}

int paths_compare_pointed(const void *left, const void *right) {
  return paths_compare(*(const void *const *)left, *(const void *const *)right);
}

bool paths_below(span path, span above) {
  return path.size > above.size && path.at[above.size] == '/' &&
         memcmp(path.at, above.at, above.size) == 0;
}

span paths_path(const struct paths *paths, size_t item) {
  return *(const span *)(const void *)(paths->at + item * paths->stride);
}

span paths_name(const struct paths *paths, size_t item, size_t prefix, bool *is_part) {
  span path = paths_path(paths, item), rest = {path.at + prefix, path.size - prefix};
  const uint8_t *slash = rest.size ? memchr(rest.at, '/', rest.size) : nullptr;
  *is_part = slash;
  return slash ? (span){rest.at, (size_t)(slash - rest.at)} : rest;
}

bool paths_find(const struct paths *paths, size_t begin, size_t end, size_t prefix, span name,
                size_t *first, size_t *last, bool *is_part) {
  size_t low = begin, high = end;
  bool ignored;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (paths_order(paths_name(paths, middle, prefix, &ignored), name) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  *first = low;
  if (low == end) return false;
  if (!span_equal(paths_name(paths, low, prefix, is_part), name)) return false;
  high = end;
  while (low < high) {  // the first of another name
    size_t middle = low + (high - low) / 2;
    if (span_equal(paths_name(paths, middle, prefix, &ignored), name))
      low = middle + 1;
    else
      high = middle;
  }
  *last = low;
  return true;
}
