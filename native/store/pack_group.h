// pack_group: small files of a pack of our own format, many to a frame: what they have in common is
// packed once, and one of them is read with its group. What is in which group follows from the
// order of the paths; then all workers pack groups, one at a time each, into the spool, from where
// the pack gets them in their order.
#pragma once
#include <stdatomic.h>
#include "base/fault.h"
#include "base/hash.h"
#include "base/span.h"

constexpr size_t GROUP_BYTES = 1 << 20;  // of content, at most
// Of what all groups have in common. Less content is not worth one.
constexpr size_t DICTIONARY_BYTES = 110 * 1024;
constexpr uint64_t DICTIONARY_CONTENT = 4 << 20;
constexpr size_t DICTIONARY_SAMPLES = 2 << 20;
constexpr size_t GROUP_CHUNK_MAX = 128 * 1024;  // larger chunks have frames of their own

struct making;
struct task;

struct chunk_group {
  uint64_t spooled_at, size;  // of its frame
  uint64_t at;                // in the pack; UINT64_MAX: not yet
  uint64_t content;
  size_t first, count;         // of its blobs, in the grouping's
  uint8_t digest[HASH_BYTES];  // of its content
};

struct grouping {
  struct chunk_group *all;
  uint32_t count;
  uint32_t taken;   // the first of them are from the seed as they are
  uint32_t *blobs;  // in the order in which they are in their groups
  size_t blobs_count;
  bool is_open;         // the last one
  uint8_t *dictionary;  // nullptr, or of no size: none
  size_t dictionary_size;
  bool is_decided;        // the dictionary: none is made
  _Atomic uint32_t next;  // that nobody packs yet
};

void grouping_end(struct grouping *grouping);
// One whose frame is in the spool already; before any is planned.
int32_t grouping_take(struct grouping *grouping, const struct chunk_group *group,
                      struct fault *fault);
// Bytes of all that will be in groups and is known by now, and in how many chunks.
uint64_t grouped_bytes(const struct making *making, uint64_t *chunks);
// Once all entries are in the pack's order. 1: jobs were added that pack the groups, and what fails
// in them is the making's fault. 0: there are none.
int32_t groups_begin(struct making *making, struct task *task, struct fault *fault);
