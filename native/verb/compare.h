// compare: what the parts of the compare verb share. compare.c plans and reports, compare_content.c
// reads both sides, compare_text.c those of which some white space does not count, compare_moves.c
// finds files that only changed their place.
#pragma once
#include "base/hash.h"
#include "verb/run.h"

struct moves;
struct texting;

struct compare {
  uint32_t by;        // enum copse_by
  uint32_t metadata;  // bits of enum copse_metadata
  size_t chunk;       // bytes per read, at most WORKER_SLAB
  bool stop_at_first, sample, size_check, empty_directories;
  struct moves *moves;      // nullptr: not asked for
  struct texting *texting;  // nullptr: every byte counts in every file
};

static inline struct compare *compare_of(const struct run *run) { return run->state; }

// What a look at two contents says.
struct content {
  bool equal;
  bool later;       // answered by another job: say nothing now
  uint16_t reason;  // not equal: COPSE_REASON_SIZE or COPSE_REASON_CONTENT
  uint64_t offset;  // first differing byte, or COPSE_UNKNOWN
  uint32_t rule;    // not equal, but the same without these bits of enum copse_text
  uint64_t line;    // of texts that differ; zero: not known
  bool hashed;
  uint8_t hash[2][HASH_BYTES];
};

// A DIFFERS or SAME_BY_RULE row for the pair; completes both entries' metadata first.
int32_t compare_differs(struct spot *spot, const struct pair *pair, const struct content *content,
                        struct fault *fault);
// After equal content: the metadata that was asked for. 1: it differs, and a row says so.
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

// ── Reading both sides (compare_content.c) ──

struct both {
  struct run *run;
  struct reader reader[2];
  bool open[2], holes;
  struct entry before[2];  // as measured when the size began to matter
  uint8_t side;            // whose fault
  size_t chunk;            // bytes per read
  int64_t opened_ns;       // wall clock, before anything was read
};
// Measures both sides into `before` and the pair's entries.
int32_t both_measure(struct both *both, const struct pair *pair, struct fault *fault);
// Nobody touched the files between both_measure and now. The node is in use.
int32_t both_unchanged(struct both *both, const struct node *node, const struct pair *pair,
                       struct fault *fault);
size_t first_difference(const uint8_t *left, const uint8_t *right, size_t size);

// ── Texts (compare_text.c) ──

// nullptr in *out when the request has no such rules.
int32_t texting_begin(span request, struct texting **out, struct fault *fault);
void texting_free(struct texting *texting);  // nullptr is fine
// What may be ignored in this pair of files, bits of enum copse_text; zero: nothing.
uint32_t texting_of(struct spot *spot, const struct pair *pair);
// The answer for an open pair of which something may be ignored. `got` bytes of each side were read
// into the worker's slabs, and they are not all, or not the same.
int32_t compare_text(struct both *both, struct spot *spot, const struct pair *pair, uint32_t ignore,
                     const int64_t got[2], struct content *out, struct fault *fault);

int32_t moves_begin(struct run *run, struct moves **out, struct fault *fault);
void moves_free(struct moves *moves);
// Keeps a one-sided file for the end. `entry` has HAS_STAT.
int32_t moves_keep(struct moves *moves, struct spot *spot, struct entry *entry, uint8_t side,
                   struct fault *fault);
bool moves_end(struct run *run, struct worker *worker);
