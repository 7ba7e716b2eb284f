// walk: visits directories, one tree or two in step. A node is one directory (pair) that is being
// looked at; it lives while anything below it is pending, and holds its parent. Visits are jobs:
// enter both sides, list, sort, hand over.
#pragma once
#include <stdatomic.h>
#include "engine/pool.h"
#include "store/store.h"

struct ignore;
struct node;
struct walk;

struct walk {
  struct group *group;
  uint32_t links;                             // enum copse_links
  uint64_t depth_max, path_max, entries_max;  // UINT64_MAX: none
  uint64_t look_max;                          // levels that are looked at; deeper ones are left out
  _Atomic uint64_t entries[2];
  void *owner;
  // Both listings are there and sorted: merge them with node_next. False: to be called once more
  // later, to go on where node_next stopped.
  bool (*visit)(struct walk *, struct node *, struct worker *);
  // One side could not be entered or listed.
  void (*failed)(struct walk *, struct node *, struct worker *, uint8_t side, const struct fault *);
  bool (*over)(struct walk *);
  // Optional. Before the sides of a new node are entered; may give it a directory for a side that
  // it lacks, held. Negative: the side's fault, and the node is not visited.
  int32_t (*prepare)(struct walk *, struct node *, struct worker *, uint8_t *side, struct fault *);
  // Optional. Nothing below the node is pending any more; its directories are still there, and
  // those above it.
  void (*leave)(struct walk *, struct node *);
  bool keeps_entries;  // each listing has its entries whole until its node goes
};

struct node {
  struct job job;  // the visit; first, so that a job is its node
  // Directories that are visited by one job after this one, newest first, and how many they are
  // with it.
  struct node *next;
  size_t together;
  _Atomic uint32_t references;
  struct walk *walk;
  struct node *parent;
  span name;  // bytes behind the struct; the root's is where its rows' paths begin
  struct directory *directory[2];  // nullptr: absent on that side, or not entered yet
  struct entry entry[2];           // what the parent's listing said; names point to `name`
  struct listing listing[2];
  size_t at[2];  // how far the merge has come
  uint32_t depth;
  size_t path_size;
  _Atomic(uint8_t *) path;  // kept for those below, of few nodes; often nullptr
  bool side[2];             // which sides there are
  struct node *below;       // during a visit: what it found to be visited, newest first
  size_t below_count;
  struct ignore *ignore;    // nearest one; its own when it is not the parent's
  bool seen;                // filter.h: it is part of the tree itself
  bool inside;              // an include named it
  bool listed;              // entered and listed: only the merge is left
  bool forgotten;           // nobody looks at the listings after the visit
  bool nameless;            // holds a root that is a file: its one entry has the path ""
  bool cut;                 // a limit left out something below it
  void *state;              // the verb's, from enter to leave
  bool broken;              // a side failed: nothing is said about the other
  bool is_made;             // by `prepare`
  _Atomic bool is_changed;  // a verb wrote to what is in it
};

// The root pair, whose rows' paths begin with `path` (empty: with nothing). Directories (held)
// become the node's. nullptr: out of memory, and they are still the caller's.
struct node *walk_root(struct walk *walk, span path, struct directory *left,
                       const struct entry *left_entry, struct directory *right,
                       const struct entry *right_entry);
// During a visit of `node`: adds one of the directory that `left` and `right` (either may be
// nullptr) name below it. False: out of memory.
[[nodiscard]] bool walk_descend(struct node *node, const struct entry *left,
                                const struct entry *right, bool seen, bool inside);
void walk_visit(struct node *node);  // submits the visit of a node made by walk_root
// Where the entries of a pair are, unless the walk keeps them: only until the next pair. Zero at
// first.
struct merge {
  struct entry room[2];
  struct entry *now[2];
};
// The next pair in order of names; either may be nullptr. False at the end.
bool node_next(struct node *node, struct merge *merge, struct entry **left, struct entry **right);
// How many entries of both sides are still to come.
size_t node_rest(const struct node *node);
// The entry of that name; nullptr: there is none. *at (may be nullptr): its place in the side's
// order. It is put into `room` where the walk keeps none.
struct entry *node_find(const struct node *node, uint8_t side, span name, struct entry *room,
                        size_t *at);
void node_hold(struct node *node);
void node_drop(struct node *node);
// True when entering `entry` of `side` would come back to a directory that is an ancestor.
bool node_is_ancestor(const struct node *node, uint8_t side, const struct entry *entry);
// An entry that was listed with the type ENTRY_NONE: somebody saw its name, nobody what it is. Says
// why; always negative.
int32_t node_trouble(const struct node *node, uint8_t side, const struct entry *entry,
                     struct fault *fault);
// Bytes of the path of the node, and the path itself written backwards from parent to parent into
// `into`.
static inline size_t node_path_size(const struct node *node) { return node->path_size; }
void node_path(struct node *node, uint8_t *into);
// Makes both directories usable for this worker; drop with node_let_go. Negative: the side's fault.
int32_t node_use(struct node *node, uint8_t *side, struct fault *fault);
void node_let_go(struct node *node);
