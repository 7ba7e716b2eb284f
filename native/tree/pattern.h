// pattern: what a directory must hold. All patterns of a scan become one list of nodes, children
// before parents, equal ones shared; sets of nodes and of globs are bits in words. Compiled once,
// then only read, by all workers.
//
// A directory fits a node when its name fits, its files do (files_fit) and the directories
// immediately below it do (directories_fit), which is known when the last of them is done.
#pragma once
#include "base/arena.h"
#include "base/fault.h"
#include "base/glob.h"
#include "base/span.h"

constexpr uint32_t NODES_MAX = 4096;    // a set of nodes for each node: 2 MiB in all
constexpr uint32_t PIECES_MAX = 65536;  // globs and children of all nodes together
constexpr uint32_t NO_BOUND = UINT32_MAX;

struct piece {
  uint32_t what;      // a glob of `entries`, or a node
  uint32_t min, max;  // how often
};

struct pieces {
  struct piece *at;
  uint32_t count;
};

struct pattern_node {
  uint32_t name;  // glob of `own`; NO_BOUND: any name
  bool any_name;  // it says nothing: absent, empty or "*"
  bool waits;     // directories below decide
  struct pieces files, forbidden, directories;
  uint32_t weight;  // pieces that are required, here and below; at most WEIGHT_MAX
};
constexpr uint32_t WEIGHT_MAX = 1'000'000;

struct patterns {
  struct globs *own, *entries;  // over directories' own names; over what a directory holds
  struct pattern_node *nodes;
  uint32_t node_count, node_words, glob_count, glob_words;
  bool looks_at_directories;  // there are forbidden names
  uint64_t *forbidden;        // globs that the names of directories count for, too
  uint64_t *below;            // for each node, the nodes it asks for: node_words each
  uint64_t *named;            // for each glob of `own`, the nodes that have it: node_words each
  uint64_t *unnamed;          // nodes that any name fits
  uint64_t *roots;            // nodes that are patterns
  uint32_t *root;             // for each pattern, its node
  uint32_t root_count;
};

static inline bool bit_get(const uint64_t *bits, uint32_t at) {
  return bits[at / 64] >> (at % 64) & 1;
}
static inline void bit_set(uint64_t *bits, uint32_t at) { bits[at / 64] |= 1ull << (at % 64); }
// The first bit at or after `at`, or `end`.
uint32_t bit_next(const uint64_t *bits, uint32_t at, uint32_t end);

// Reads COPSE_KEY_NODE and COPSE_KEY_PATTERN of a request that record_check passed. ARGUMENT for
// all that cannot be.
int32_t patterns_compile(span request, struct arena *arena, struct patterns **out,
                         struct fault *fault);
void patterns_free(struct patterns *patterns);  // nullptr is fine

// Adds to `nodes` those that the name fits.
void patterns_name(const struct patterns *patterns, struct matcher *own, span name,
                   uint64_t *nodes);

// `found`: for each glob of `entries`, how many names it fits. More or fewer than a node wants: no.
bool files_fit(const struct patterns *patterns, uint32_t node, const uint32_t *found);
bool piece_fits(const struct piece *piece, uint32_t found);
