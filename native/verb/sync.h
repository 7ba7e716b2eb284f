// sync: what the parts of copying and syncing share. sync.c decides about pairs and does what is to
// be done, sync_delete.c takes away what only the right side has, last of all.
#pragma once
#include "engine/thread.h"
#include "verb/run.h"

enum sync_overwrite : uint8_t { OVERWRITE_DIFFERENT, OVERWRITE_NEWER, OVERWRITE_NEVER };

// Right entries, each with the node that holds it; kept until the end.
struct late {
  struct node *node;  // held
  struct entry *left, *right;
};
struct lates {
  struct late *at;
  size_t count, capacity;
};

enum sync_stage : uint8_t { STAGE_COPY, STAGE_COUNT, STAGE_DELETE, STAGE_REPLACE, STAGE_OVER };

// What the summary row tells; the order is that of the details from COPSE_DETAIL_COPIED on.
enum sync_count : uint8_t {
  COUNT_COPIED,
  COUNT_CREATED,
  COUNT_UPDATED,
  COUNT_RENAMED,
  COUNT_SKIPPED,
  COUNT_DELETED,
  COUNT_KEPT,
  COUNT_BYTES,
  COUNT_SAVED,
  COUNT_RETRIES,
  COUNTS,
};

struct sync {
  uint32_t by;        // enum copse_by
  uint32_t preserve;  // bits of enum want
  uint8_t overwrite;  // enum sync_overwrite
  bool deletes, is_dry, is_forced, keeps_special, verifies, is_ready;
  uint64_t deletes_max, retries_max;
  enum sync_stage stage;
  struct entry root[2];  // what the roots are, to be known again below
  _Atomic uint64_t counts[COUNTS];
  _Atomic uint64_t precision_ns;  // of the times the right side keeps; 0: not found out
  mutex lock;                     // guards the lists, and the probe of the precision
  struct lates right_only, in_the_way;
  _Atomic uint64_t to_delete;  // counted where there is a bound
};

static inline struct sync *sync_of(const struct run *run) { return run->state; }
static inline void sync_count(struct sync *sync, enum sync_count which, uint64_t more) {
  atomic_fetch_add_explicit(&sync->counts[which], more, memory_order_relaxed);
}

enum sync_action : uint8_t {
  ACTION_NOTHING,  // they are the same
  ACTION_LOOK,     // only the content can tell
  ACTION_SET,      // the same content, other metadata
  ACTION_COPY,
  ACTION_KEEP,  // they differ, and the right one is to stay
};
// Pure: what is to be done about two files, both with HAS_STAT. `precision_ns`: of the right side's
// times. `is_same`: what a look at the contents said, where there was one.
enum sync_action sync_decide(const struct sync *sync, uint64_t precision_ns,
                             const struct entry *left, const struct entry *right, bool was_looked,
                             bool is_same);

int32_t sync_keep(struct sync *sync, struct lates *lates, struct node *node, struct entry *left,
                  struct entry *right, struct fault *fault);
void sync_let_go(struct lates *lates);
// One pair, on a worker that holds the node.
int32_t sync_pair(struct spot *spot, struct entry *left, struct entry *right, struct fault *fault);
void sync_row(struct spot *spot, uint8_t kind, const struct entry *entry, uint16_t reason);

// Into *want and *wanted: what `left` shall be on the right, under `name`. `from` holds it;
// nullptr: without its attributes.
int32_t sync_want(struct spot *spot, struct directory *from, const struct entry *left, span name,
                  struct entry *want, struct wanted *wanted, struct fault *fault);
// A link's target that leads out of a tree from `depth` directories below its root.
bool sync_escapes(size_t depth, span target);
// At the root: whether the source is copied in its own order, by a job, instead of by the walk.
bool sync_forward(struct spot *spot);
// True: jobs were added that take away what was kept in sync->right_only (or only count it).
bool sync_delete_begin(struct run *run, bool only_counts);
