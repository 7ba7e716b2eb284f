// snapshot: trees as they were listed once, kept in memory for as long as somebody has their
// number. verb/snapshot.c fills one, directory by directory and from below; afterwards it never
// changes.
#pragma once
#include <stdatomic.h>
#include "store/store.h"

struct folder;   // one directory of a snapshot
struct growing;  // one that is being filled, by one thread at a time

struct growing *growing_new(void);  // nullptr: out of memory
// A copy of the entry, which has HAS_STAT unless `trouble` says why it has not. Names come in
// order. `through`: what a link leads to, ENTRY_NONE when it dangles; of anything else nullptr.
// False: out of memory.
[[nodiscard]] bool growing_add(struct growing *growing, const struct entry *entry,
                               const struct entry *through, const struct fault *trouble);
// The directory could not be entered or listed: whoever does it in the snapshot is told the same.
// False: out of memory.
[[nodiscard]] bool growing_fail(struct growing *growing, const struct fault *fault);
// What is in a directory of that name, which was added or will be; takes over `folder`. Several
// threads at once.
void growing_below(struct growing *growing, struct folder *folder);
// All is in it: frees `growing`. `name`: its own, for growing_below. nullptr: out of memory.
struct folder *growing_end(struct growing *growing, span name);
void growing_free(struct growing *growing);  // nullptr is fine
void folder_free(struct folder *folder);     // with all below it; nullptr is fine

struct snapshot_facts {
  uint64_t entries, bytes;  // bytes of memory
};
struct snapshot_facts snapshot_count(struct folder *root);
// Puts the tree on the runtime's shelf; takes over `root` also when it fails. `path`: of the real
// root, as far as it is known. EXISTS: the number is taken.
int32_t snapshot_put(struct runtime *runtime, uint64_t number, const struct store *source,
                     const struct entry *root_entry, span path, struct folder *root,
                     struct fault *fault);
