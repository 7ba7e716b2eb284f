// compare: what the parts of the compare verb share. compare.c plans and reports, compare_content.c
// reads both sides, compare_moves.c finds files that only changed their place.
#pragma once
#include "base/hash.h"
#include "verb/run.h"

struct moves;

struct compare {
  uint32_t by;        // enum copse_by
  uint32_t metadata;  // bits of enum copse_metadata
  size_t chunk;       // bytes per read, at most WORKER_SLAB
  bool stop_at_first, sample, size_check, empty_directories;
  struct moves *moves;  // nullptr: not asked for
};

static inline struct compare *compare_of(const struct run *run) { return run->state; }

// What a look at two contents says.
struct content {
  bool equal;
  bool later;       // answered by another job: say nothing now
  uint16_t reason;  // not equal: COPSE_REASON_SIZE or COPSE_REASON_CONTENT
  uint64_t offset;  // first differing byte, or COPSE_UNKNOWN
  bool hashed;
  uint8_t hash[2][HASH_BYTES];
};

// A DIFFERS row for the pair; completes both entries' metadata first.
int32_t compare_differs(struct spot *spot, const struct pair *pair, const struct content *content,
                        struct fault *fault);
// After equal content: the metadata that was asked for.
int32_t compare_metadata(struct spot *spot, const struct pair *pair, struct fault *fault);
// compare_differs or compare_metadata, whichever the content asks for.
int32_t compare_settle(struct spot *spot, const struct pair *pair, const struct content *content,
                       struct fault *fault);
// A one-sided row; stopAtFirst and counting included.
int32_t compare_one_sided(struct spot *spot, struct entry *entry, uint8_t side,
                          struct fault *fault);

int32_t compare_content(struct spot *spot, const struct pair *pair, struct content *out,
                        struct fault *fault);

// What the hashes of both sides are made with: what a manifest has, else BLAKE3. Negative: two
// manifests that cannot be compared.
int32_t compare_algorithm(const struct run *run, uint32_t *algorithm, struct fault *fault);

int32_t moves_begin(struct run *run, struct moves **out, struct fault *fault);
void moves_free(struct moves *moves);
// Keeps a one-sided file for the end. `entry` has HAS_STAT.
int32_t moves_keep(struct moves *moves, struct spot *spot, struct entry *entry, uint8_t side,
                   struct fault *fault);
bool moves_end(struct run *run, struct worker *worker);
