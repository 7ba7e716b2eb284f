// pack_recover: what a pack holds whose index is lost or damaged: names and places from the copies
// of the index between its blobs, or from an index that lost only its end; what no name is known of
// comes back under numbers, as far as it is a frame, which proves itself.
#pragma once
#include "store/pack_index.h"

struct recover_file {
  uint64_t size;
  void *self;
  // All of [at, at + size), which lies in the file.
  int32_t (*read)(void *self, uint64_t at, uint8_t *into, size_t size, struct fault *);
};

struct recovered {
  span folder;  // of what has numbers for names; lives as long as the index
  size_t numbered;
  bool lost_kinds;  // names came from an index without its manifest
};

// Fills the index as pack_index_read does. CORRUPT: there is nothing that could be brought back.
int32_t pack_recover(struct pack_index *index, const struct recover_file *file,
                     uint64_t entries_max, struct recovered *out, struct fault *fault);
