#include "tree/join.h"

#include <stdlib.h>

// Names of one directory tend to begin alike ("IMG_0001.jpg"), so the key is taken after what they
// all share: most comparisons are then one of two integers.
static uint64_t key_of(span name, size_t common) {
  const uint8_t *at = name.at + common;
  size_t size = name.size - common;
  uint64_t key = 0;
  if (size >= 8) {
    memcpy(&key, at, 8);
    return __builtin_bswap64(key);
  }
  for (size_t i = 0; i < size; i++) key |= (uint64_t)at[i] << (56 - 8 * i);
  return key;
}

static inline bool before(const struct order *left, const struct order *right) {
  if (left->key != right->key) return left->key < right->key;
  return span_compare(left->entry->name, right->entry->name) < 0;
}

// Merge sort: no bad case, and stable. Runs of eight by insertion first.
static void sort(struct order *items, struct order *spare, size_t count) {
  constexpr size_t RUN = 8;
  for (size_t begin = 0; begin < count; begin += RUN) {
    size_t end = begin + RUN < count ? begin + RUN : count;
    for (size_t i = begin + 1; i < end; i++) {
      struct order item = items[i];
      size_t j = i;
      for (; j > begin && before(&item, &items[j - 1]); j--) items[j] = items[j - 1];
      items[j] = item;
    }
  }
  struct order *from = items, *to = spare;
  for (size_t width = RUN; width < count; width *= 2) {
    for (size_t begin = 0; begin < count; begin += 2 * width) {
      size_t middle = begin + width < count ? begin + width : count;
      size_t end = begin + 2 * width < count ? begin + 2 * width : count;
      size_t left = begin, right = middle;
      for (size_t out = begin; out < end; out++) {
        bool take_left = left < middle && (right >= end || !before(&from[right], &from[left]));
        to[out] = take_left ? from[left++] : from[right++];
      }
    }
    struct order *other = from;
    from = to;
    to = other;
  }
  if (from != items) memcpy(items, from, count * sizeof *items);
}

int32_t join_sort(const struct listing *listing, struct order **out, struct fault *fault) {
  *out = nullptr;
  size_t count = listing->count;
  if (count == 0) return 0;
  // The upper half is the sort's spare room.
  struct order *items = malloc(2 * count * sizeof *items);
  if (!items) return fault_set(fault, COPSE_E_MEMORY, "out of memory while sorting a directory");
  bool sorted = true;
  for (size_t i = 0; i < count; i++) {
    struct entry *entry = &listing->entries[i];
    items[i] = (struct order){key_of(entry->name, listing->common), entry};
    sorted = sorted && (i == 0 || before(&items[i - 1], &items[i]));
  }
  if (!sorted) sort(items, items + count, count);
  *out = items;
  return 0;
}
