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

// Both kinds of listing are sorted by one piece, which the compiler makes twice.
#define INLINE static inline __attribute__((always_inline))

INLINE span name_of(const struct order *order, bool is_names) {
  return is_names ? order_name(order) : order->entry->name;
}

INLINE bool before(const struct order *left, const struct order *right, bool is_names) {
  if (left->key != right->key) return left->key < right->key;
  return span_compare(name_of(left, is_names), name_of(right, is_names)) < 0;
}

// Merge sort: no bad case, and stable. Runs of eight by insertion first.
INLINE void sort(struct order *items, struct order *spare, size_t count, bool is_names) {
  constexpr size_t RUN = 8;
  for (size_t begin = 0; begin < count; begin += RUN) {
    size_t end = begin + RUN < count ? begin + RUN : count;
    for (size_t i = begin + 1; i < end; i++) {
      struct order item = items[i];
      size_t j = i;
      for (; j > begin && before(&item, &items[j - 1], is_names); j--) items[j] = items[j - 1];
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
        bool take_left =
            left < middle && (right >= end || !before(&from[right], &from[left], is_names));
        to[out] = take_left ? from[left++] : from[right++];
      }
    }
    struct order *other = from;
    from = to;
    to = other;
  }
  if (from != items) memcpy(items, from, count * sizeof *items);
}

// Fills in the keys. True: they are in order already.
INLINE bool take_keys(struct listing *listing, bool is_names) {
  struct order *items = listing->order;
  bool sorted = true;
  for (size_t i = 0; i < listing->count; i++) {
    if (!is_names) items[i].entry = &listing->entries[i];
    items[i].key = key_of(name_of(&items[i], is_names), listing->common);
    sorted = sorted && (i == 0 || before(&items[i - 1], &items[i], is_names));
  }
  return sorted;
}

int32_t join_sort(struct listing *listing, struct fault *fault) {
  constexpr size_t FEW = 64;
  size_t count = listing->count;
  bool is_names = !listing->entries;
  if (count == 0 || listing->lent) return 0;
  if (!is_names) listing->order = malloc(count * sizeof *listing->order);
  if (listing->order && (is_names ? take_keys(listing, true) : take_keys(listing, false))) return 0;
  struct order few[FEW], *spare = count <= FEW ? few : nullptr;
  if (listing->order && !spare) spare = malloc(count * sizeof *spare);
  if (!spare || !listing->order)
    return fault_set(fault, COPSE_E_MEMORY, "out of memory while sorting a directory");
  if (is_names)
    sort(listing->order, spare, count, true);
  else
    sort(listing->order, spare, count, false);
  if (spare != few) free(spare);
  return 0;
}
