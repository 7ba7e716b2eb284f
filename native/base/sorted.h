// sorted: a set in an order of its own, as a balanced tree, so that whoever chooses what goes in (a
// name in an archive, say) cannot make looking up slow as he could with a table of hashes. Items
// are the caller's, stay where they are, and are taken out before they go.
#pragma once

struct sorted {
  int (*order)(const void *left, const void *right);
  void *root;  // begins as nullptr
};

// The item that is equal to `like`; nullptr: none.
void *sorted_find(const struct sorted *sorted, const void *like);
// One that is not in it. False: out of memory.
[[nodiscard]] bool sorted_add(struct sorted *sorted, void *item);
void sorted_drop(struct sorted *sorted, const void *item);
