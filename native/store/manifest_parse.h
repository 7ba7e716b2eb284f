// manifest_parse: the bytes of a manifest → a sorted table. Two forms are read: JSON lines as
// `copse manifest` writes them, and the lists of sha256sum and b3sum. Every byte is from outside.
#pragma once
#include "base/arena.h"
#include "base/hash.h"
#include "store/store.h"

struct manifest_item {
  span path;    // first: see store/paths.h; ends with an uncounted '\0'; passed path_safe
  span target;  // links; the same
  uint64_t size;
  enum entry_type type;  // FILE, DIRECTORY or LINK
  uint8_t digest[HASH_BYTES];
};

struct manifest {
  struct arena arena;
  struct manifest_item *items;  // by paths_order
  size_t count, capacity;
  uint32_t algorithm;  // enum copse_algorithm
};

// `algorithm`: of a list, which does not say. CORRUPT with the number of the line, UNSAFE_PATH, or
// MEMORY; then there is nothing to free.
int32_t manifest_parse(span text, uint32_t algorithm, struct manifest *out, struct fault *fault);
void manifest_free(struct manifest *manifest);
