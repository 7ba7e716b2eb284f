// verb: one shape for everything that can be done with one or two trees. A new verb is a new file
// with a `const struct verb` and one line in abi.c.
//
//   plan   pure, for each pair of entries of the same name: what is to be done. No I/O.
//   work   on a worker: does one step. May block, looks at run_over() between chunks.
//
// A verb that is about one entry only (read, write, remove) gives `once` instead of plan and work.
#pragma once
#include "engine/task.h"
#include "store/store.h"
#include "tree/filter.h"
#include "tree/walk.h"

struct run;

struct pair {  // nullptr: absent on that side
  struct entry *left, *right;
};

enum step_kind : uint8_t {
  STEP_NONE,     // nothing to do, nothing to say
  STEP_REPORT,   // a row about an entry; reads its metadata, not its content
  STEP_COMPARE,  // look at both sides
  STEP_NAME,     // say only what the listing said: its name and type
};

struct step {
  struct pair pair;
  enum step_kind kind;
  bool descend;     // visit what is below (directories)
  uint16_t reason;  // enum copse_reason
  uint32_t same;    // bytes that both files were seen to have in common, whole; zero: not known
};

// Where a step is done: the directory pair, its path, the worker that does it.
struct spot {
  struct run *run;
  struct node *node;
  struct worker *worker;
  span directory;  // path of the directory; use spot_path
  bool has_directory;
  uint8_t side;           // the side whose fault it is when a call fails: 0 left, 1 right
  struct arena *arena;    // freed after the batch
  uint64_t files, bytes;  // counted so far, added to the task's totals after the batch
};

struct verb {
  const char *name;
  uint32_t sides;     // trees it reads: 1 or 2
  bool trees_only;    // its roots must be directories
  bool writes_right;  // the right root need not be there, and one that is no directory is written
  bool forgets;       // only steps look at what a listing holds once its directory was visited
  size_t state_size;  // bytes of run->state, zeroed before begin
  int32_t (*begin)(struct run *, struct fault *);  // reads its options; after both stores are open
  // Optional, once per visited directory, after it was listed and before its pairs; false: not
  // below it.
  bool (*enter)(struct spot *);
  // Optional, once per directory before its sides are entered (the root is entered already): may
  // give the node a directory on a side it lacks. Negative: an error row of the side in spot->side.
  int32_t (*prepare)(struct spot *, struct fault *);
  // Optional, for each pair of it that is part of the tree or is to be descended into; false: not
  // below it.
  bool (*see)(struct spot *, const struct pair *);
  // Optional: a directory that `see` wants to be entered, and that is not (maxDepth, another file
  // system).
  void (*closed)(struct spot *, const struct pair *);
  void (*whole)(struct spot *);                // optional, after its last pair
  void (*leave)(struct run *, struct node *);  // optional: nothing below it is pending any more
  struct step (*plan)(const struct run *, const struct pair *);
  // Optional, pure: the step will read the content of both files, so that what makes this cheaper
  // may be done for many steps at once.
  bool (*reads)(const struct run *, const struct step *);
  // Negative: an error row for the entry, of the side in spot->side.
  int32_t (*work)(struct spot *, const struct step *, struct fault *);
  // Optional: the directory could not be entered or listed; its row is said already.
  void (*failed)(struct spot *, const struct fault *);
  // Optional, when no job is left. Returns true after adding jobs: it will be called again.
  bool (*end)(struct run *, struct worker *);
  void (*close)(struct run *);  // optional: frees what begin and work made in state
  // For single-entry verbs: a job that runs after the store is open; see bytes.c.
  int32_t (*once)(struct run *, struct worker *, struct fault *);
  int32_t (*pushed)(struct run *, span bytes, struct fault *);  // WRITE, on the caller's thread
};

extern const struct verb list_verb, look_verb, verify_verb, scan_verb, compare_verb, read_verb,
    write_verb, fill_verb, remove_verb, sync_verb, sync_two_verb, digest_verb, snapshot_verb,
    blocks_verb;
