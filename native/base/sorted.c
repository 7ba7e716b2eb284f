#include "base/sorted.h"

#include <search.h>

// What the library gives is the place that holds the item.
void *sorted_find(const struct sorted *sorted, const void *like) {
  void *const *found = tfind(like, &sorted->root, sorted->order);
  return found ? *found : nullptr;
}

bool sorted_add(struct sorted *sorted, void *item) {
  return tsearch(item, &sorted->root, sorted->order);
}

void sorted_drop(struct sorted *sorted, const void *item) {
  tdelete(item, &sorted->root, sorted->order);
}
