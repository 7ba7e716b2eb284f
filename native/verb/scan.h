// scan: what the parts of the scan verb share. scan.c looks at directories and decides, once
// everything below them is known; scan_explain.c says what was missing.
#pragma once
#include "engine/thread.h"
#include "tree/pattern.h"
#include "verb/run.h"

enum scan_scope : uint32_t {
  SCOPE_EVERYWHERE = 0,  // every directory is held against every pattern
  SCOPE_ROOT = 1,        // only the root is; below it only what its patterns ask for is visited
  SCOPE_MEMBERS = 2,     // as ROOT, with a row for each node that a directory fits
};

struct scan {
  struct patterns *patterns;
  uint32_t scope;
  bool explain;
  span root_name;
};

struct miss;
struct nearest;

// What is known of one directory while anything below it is pending. `node->state`.
struct site {
  _Atomic bool unsure_below;  // a directory below could not be seen whole: "at most" stays unsaid
  bool unsure;                // neither could something in it
  bool decided;               // its own entries are all there
  struct matcher *entries;    // while they are looked at
  mutex lock;                 // explain: guards `nearest`
  struct nearest *nearest;    // explain: for each node asked for, the child that came nearest
  uint32_t *found;            // for each glob, the names it fits
  _Atomic uint32_t *below;    // for each node, the directories below that fit it
  uint64_t *asked;            // nodes that this directory is held against and whose name fits
  uint64_t *open;             // those whose files fit, too, and that wait for what is below
  uint64_t *wants;            // nodes that they ask of what is below
};

static inline struct scan *scan_of(const struct run *run) { return run->state; }

void explain_free(struct site *site);
// The directory does not fit the node, though its name does: a row where it was asked for itself,
// and for the directory above a hint.
void explain_miss(struct run *run, struct node *node, uint32_t pattern_node);
// Rows of a node for each pattern that it is.
void scan_emit(struct run *run, struct node *node, uint32_t pattern_node, copse_row *row,
               span detail);
