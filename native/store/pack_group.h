// pack_group: small files of a pack of our own format, many to a frame: what they have in common is
// packed once, and one of them is read with its group.
#pragma once
#include "base/fault.h"
#include "base/hash.h"
#include "base/span.h"

constexpr size_t GROUP_BYTES = 1 << 20;  // of content, at most
// Of what all groups have in common. Less content is not worth one.
constexpr size_t DICTIONARY_BYTES = 110 * 1024;
constexpr uint64_t DICTIONARY_CONTENT = 4 << 20;
constexpr size_t DICTIONARY_SAMPLES = 2 << 20;
constexpr size_t GROUP_CHUNK_MAX = 128 * 1024;  // larger chunks have frames of their own

struct packer;

struct chunk_group {
  uint64_t at, size;  // of its frame in the pack
  uint64_t content;
  uint8_t digest[HASH_BYTES];  // of its content
};

struct grouping {
  struct chunk_group *all;
  uint32_t count;
  struct packer *packer;
  uint8_t *dictionary;  // nullptr, or of no size: none
  size_t dictionary_size;
  uint8_t *content, *frame;  // of the group that is being filled
  size_t filled;
  bool is_open;
};

int32_t grouping_begin(struct grouping *grouping, int level, struct fault *fault);
void grouping_end(struct grouping *grouping);
// Whether so many bytes fit the group that is open; else it is to be closed before.
bool grouping_fits(const struct grouping *grouping, size_t size);
// Room for a chunk: where its content goes, *at of which comes before it. `group` counts from 1.
int32_t grouping_add(struct grouping *grouping, size_t size, uint8_t **into, uint32_t *group,
                     uint32_t *at, struct fault *fault);
// Packs what there is: *frame lies at `at` in the pack; empty when no group is open.
int32_t grouping_close(struct grouping *grouping, uint64_t at, span *frame, struct fault *fault);
