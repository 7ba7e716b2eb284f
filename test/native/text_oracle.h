// The slow and plain way to what base/text does, for its test and its fuzz target: each text is
// reduced whole, line by line, and the results are compared.
#pragma once
#include <stdlib.h>

#include "base/span.h"
#include "copse.h"

static inline bool oracle_is_space(uint8_t byte) {
  return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

// What is left, from malloc with room for one byte more than the text.
static inline size_t oracle_reduce(span text, uint32_t ignore, uint8_t *out) {
  size_t size = 0;
  for (size_t at = 0, next; at < text.size; at = next) {
    size_t end = at;
    while (end < text.size && text.at[end] != '\n') end++;
    bool has_end = end < text.size;
    next = end + has_end;
    if (ignore & COPSE_TEXT_SPACE) {
      while (end > at && oracle_is_space(text.at[end - 1])) end--;
      has_end = true;
    } else if ((ignore & COPSE_TEXT_EOL) && has_end && end > at && text.at[end - 1] == '\r') {
      end--;
    }
    if ((ignore & COPSE_TEXT_BLANK_LINES) && end == at) continue;
    memcpy(out + size, text.at + at, end - at);
    size += end - at;
    if (has_end) out[size++] = '\n';
  }
  return size;
}

static inline bool oracle_same(span left, span right, uint32_t ignore) {
  uint8_t *one = malloc(left.size + 1), *other = malloc(right.size + 1);
  if (!one || !other) abort();
  size_t size = oracle_reduce(left, ignore, one);
  bool same = size == oracle_reduce(right, ignore, other) && memcmp(one, other, size) == 0;
  free(one);
  free(other);
  return same;
}

// The least of what may be ignored that makes them the same; zero: nothing does.
static inline uint32_t oracle_rule(span left, span right, uint32_t ignore) {
  static const uint32_t sets[] = {1, 4, 2, 1 | 4, 2 | 4};
  for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
    if ((sets[i] & ignore) == sets[i] && oracle_same(left, right, sets[i])) return sets[i];
  return 0;
}
