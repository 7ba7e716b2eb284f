#include "store/store.h"

#include <stdlib.h>

void listing_begin(struct listing *listing) {
  *listing = (struct listing){};
  arena_begin(&listing->arena);
}

void listing_free(struct listing *listing) {
  arena_free(&listing->arena);
  free(listing->entries);
  *listing = (struct listing){};
}

struct entry *listing_add(struct listing *listing, span name, enum entry_type type,
                          struct fault *fault) {
  if (listing->count == listing->capacity) {
    size_t capacity = listing->capacity ? listing->capacity * 2 : 32;
    struct entry *entries = realloc(listing->entries, capacity * sizeof *entries);
    if (!entries) {
      fault_set(fault, COPSE_E_MEMORY, "out of memory while listing a directory");
      return nullptr;
    }
    listing->entries = entries;
    listing->capacity = capacity;
  }
  span copy = arena_copy(&listing->arena, name);
  if (!copy.at) {
    fault_set(fault, COPSE_E_MEMORY, "out of memory while listing a directory");
    return nullptr;
  }
  if (listing->count == 0) {
    listing->common = name.size;
  } else {
    span first = listing->entries[0].name;
    size_t most = listing->common < name.size ? listing->common : name.size, same = 0;
    while (same < most && first.at[same] == name.at[same]) same++;
    listing->common = same;
  }
  struct entry *entry = &listing->entries[listing->count++];
  *entry = (struct entry){.name = copy, .type = type, .mtime_ns = INT64_MIN};
  return entry;
}
