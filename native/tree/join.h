// join: two listings of one directory, sorted by bytes and merged into pairs.
#pragma once
#include "store/store.h"

struct order {
  uint64_t key;  // eight bytes of the name after what all names have in common, big-endian
  struct entry *entry;
};

// The listing's entries in order of names. Takes the array from malloc (nullptr and a count of
// zero: fine).
int32_t join_sort(const struct listing *listing, struct order **out, struct fault *fault);
