// span: a view of bytes that somebody else owns. Names, paths and records are spans, never C
// strings, because a name may hold any byte but '/' and NUL and need not be UTF-8.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
  const uint8_t *at;
  size_t size;
} span;

#define SPAN(literal) ((span){(const uint8_t *)(literal), sizeof(literal) - 1})

static inline span span_of(const char *text) {
  return (span){(const uint8_t *)text, text ? strlen(text) : 0};
}

static inline bool span_equal(span left, span right) {
  return left.size == right.size && (left.size == 0 || memcmp(left.at, right.at, left.size) == 0);
}

// By bytes; a prefix comes before what it begins.
static inline int span_compare(span left, span right) {
  size_t shorter = left.size < right.size ? left.size : right.size;
  int order = shorter ? memcmp(left.at, right.at, shorter) : 0;
  if (order) return order;
  return left.size < right.size ? -1 : left.size > right.size;
}

// Whether what a file begins with is `head`, perhaps damaged or cut: half of what is there is
// right. What somebody else's file begins with is not.
static inline bool span_is_nearly(span found, span head) {
  size_t size = found.size < head.size ? found.size : head.size, right = 0;
  for (size_t i = 0; i < size; i++) right += found.at[i] == head.at[i];
  return 2 * right >= size;
}
