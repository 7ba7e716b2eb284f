// sync: what the parts of copying and syncing share.
//
//   sync.c            options, pairs, the stages after the walk, the summary
//   sync_decide.c     what is to be done about two files
//   sync_file.c       one file or link is copied, or its metadata set
//   sync_directory.c  directories before and after what is in them
//   sync_inside.c     a source that deleting would take away is refused
//   sync_moves.c      renames instead of copies
//   sync_twins.c      hard links
//   sync_delete.c     what only the right side has goes, last of all
//   sync_backup.c     what is replaced or deleted is kept elsewhere
//   sync_sweep.c      what earlier runs left of ours goes
//   sync_total.c      how much there will be to copy, for whoever watches
//   sync_plan.c       only what a plan says, and only while it is still true
//   sync_two*.c       both ways, see sync_two.h
//   sync_forward.c    archives that are read in their own order
#pragma once
#include "engine/thread.h"
#include "verb/run.h"

enum sync_overwrite : uint8_t { OVERWRITE_DIFFERENT, OVERWRITE_NEWER, OVERWRITE_NEVER };

// Entries that wait for a later stage, each with the node that holds them.
// One directory may have a million: more than name and type is looked up again.
struct late {
  struct node *node;  // held
  const uint8_t *name;
  uint32_t name_size;
  uint8_t type[2];  // enum entry_type
  bool has[2];      // false: absent on that side
};
struct lates {
  struct late *at;
  size_t count, capacity;
};

// In this order; a stage ends when none of its jobs is left.
enum sync_stage : uint8_t {
  STAGE_COPY,
  STAGE_GATHER,  // what may have moved on the right
  STAGE_HASH,    // what the left files hold that may have moved
  STAGE_FIND,    // who on the right holds the same
  STAGE_MOVE,
  STAGE_COPY_REST,  // of those that might have moved
  STAGE_LINK,
  STAGE_COUNT,
  STAGE_DELETE,
  STAGE_REPLACE,
  STAGE_LINK_AGAIN,
  STAGE_OVER,
};

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
  COUNT_RESUMED,
  COUNT_LINKED,
  COUNT_VERIFIED,
  COUNT_COPY_NS,
  COUNT_MOVE_NS,
  COUNT_DELETE_NS,
  COUNTS,
};

// When a large file is made of the one it replaces; = COPSE_KEY_DELTA.
enum sync_delta : uint8_t {
  DELTA_NEVER,
  DELTA_SHARED,  // where the file system shares blocks, so that it saves writing
  DELTA_ALWAYS,
};

struct moves;
struct plan;
struct twins;

struct sync {
  uint32_t by;        // enum copse_by
  uint32_t preserve;  // bits of enum want
  uint8_t overwrite;  // enum sync_overwrite
  uint8_t delta;      // enum sync_delta
  bool deletes, is_dry, is_forced, keeps_special, verifies, finds_moves, is_ready;
  bool backs_up;
  bool plans_ahead;              // somebody watches: decide first, so that the total is known
  _Atomic bool has_unsized;      // of which nobody knows how much it will be
  _Atomic uint32_t later_count;  // files that are decided on and wait for the rest to be
  uint64_t deletes_max, retries_max;
  enum sync_stage stage;
  struct entry root[2];  // what the roots are, to be known again below
  _Atomic uint64_t counts[COUNTS];
  uint64_t stage_began_ns;
  _Atomic uint64_t precision_ns;  // of the times the right side keeps; 0: not found out
  mutex lock;                     // guards the lists, and the probe of the precision
  struct lates right_only, in_the_way;
  struct lates left_only;      // files, when moves are looked for
  struct lates twin_lates;     // further names of files that are copied under another
  _Atomic uint64_t to_delete;  // counted where there is a bound
  struct moves *moves;
  struct twins *twins;       // nullptr: hard links are not kept
  struct plan *plan;         // nullptr: everything is allowed
  struct store backup;       // opened when `backs_up`
  struct entry backup_root;  // HAS_STAT when it was there at the beginning
};

static inline struct sync *sync_of(const struct run *run) { return run->state; }
static inline void sync_count(struct sync *sync, enum sync_count which, uint64_t more) {
  atomic_fetch_add_explicit(&sync->counts[which], more, memory_order_relaxed);
}

// ── sync_decide.c ──

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
// Pure: what is to be kept besides content and attributes is the same.
bool sync_is_metadata_same(const struct sync *sync, uint64_t precision_ns, const struct entry *left,
                           const struct entry *right);
// Pure: `right` may be what a coarser file system keeps of `left`.
bool sync_may_be_same_time(int64_t left, int64_t right);
// Found out by a probe, when these two suggest that it matters.
uint64_t sync_precision(struct spot *spot, const struct entry *left, const struct entry *right);
uint32_t sync_kept_bits(const struct sync *sync);

// ── sync.c ──

// What a sync of one way and of both read of the request, and the lock. Both stores are open.
void sync_options(struct run *run);
int32_t sync_keep(struct sync *sync, struct lates *lates, struct node *node, struct entry *left,
                  struct entry *right, struct fault *fault);
void sync_let_go(struct lates *lates);
static inline span late_name(const struct late *late) {
  return (span){late->name, late->name_size};
}
// What was listed under that name, put into `room` where the walk keeps no entries; nullptr:
// absent.
struct entry *late_entry(const struct late *late, uint8_t side, struct entry *room);
// One pair, on a worker that holds the node.
int32_t sync_pair(struct spot *spot, struct entry *left, struct entry *right, struct fault *fault);
// A job for each; `each` is called on a worker that holds the node. False: there was nothing to do.
bool sync_each(struct run *run, struct lates *lates,
               int32_t (*each)(struct spot *, struct entry *left, struct entry *right,
                               struct fault *));
// An error row about an entry. What could not be read of the source may be more than this entry: a
// name that is nowhere else. So nothing is deleted then.
void sync_error(struct spot *spot, const struct fault *fault, span name);
void sync_missed(struct spot *spot, const struct fault *fault);  // the same without a row
// An error row about the destination as a whole.
void sync_refuse(struct run *run, const struct fault *fault);

// ── sync_file.c ──

int32_t sync_files(struct spot *spot, struct entry *left, struct entry *right, struct fault *fault);
// The same of one that is no further name. Both have HAS_STAT.
int32_t sync_one_file(struct spot *spot, struct entry *left, struct entry *right,
                      struct fault *fault);
int32_t sync_links(struct spot *spot, struct entry *left, struct entry *right, struct fault *fault);
// Counts it, and says so when there is a reason.
int32_t sync_skip(struct spot *spot, const struct entry *entry, uint16_t reason);
// A row about `entry`. In a dry run it tells what it was on both sides, for a plan; `right` is what
// it replaces.
void sync_row(struct spot *spot, uint8_t kind, const struct entry *entry, const struct entry *right,
              uint16_t reason);
// The same with the path of what it was made of.
void sync_row_from(struct spot *spot, uint8_t kind, const struct entry *entry,
                   const struct entry *right, span from);
int32_t sync_stat(struct spot *spot, struct entry *entry, uint8_t side, struct fault *fault);
// What is in the node's right directory changed.
void sync_changed(struct node *node);
// Into *want and *wanted: what `left` shall be on the right, under `name`. `from` holds it;
// nullptr: without its attributes.
int32_t sync_want(struct spot *spot, struct directory *from, const struct entry *left, span name,
                  struct entry *want, struct wanted *wanted, struct fault *fault);
// After a while, counted; false: it was tried often enough, or the task ends.
bool sync_try_again(struct run *run, uint64_t tries);
// A link's target that leads out of a tree from `depth` directories below its root.
bool sync_escapes(size_t depth, span target);
// Copies without asking the decision; `right`: what it replaces.
int32_t sync_copy(struct spot *spot, struct entry *left, struct entry *right, span name,
                  struct fault *fault);

// ── sync_total.c ──

void sync_total_begin(struct run *run);
// So much more is going to be counted by task_count, or so much less.
void sync_total_add(struct run *run, const struct entry *entry);
void sync_total_drop(struct run *run, uint64_t size);
// Whether what is decided now is to wait until everything is.
bool sync_total_waits(struct run *run);
// By whoever did not wait in vain: the total is known when only those are left who waited.
void sync_total_look(struct run *run);

// ── sync_forward.c ──

// The source does not come again: what was written, in that directory, is held against the hash of
// what was read.
int32_t sync_verify_hash(struct spot *spot, struct directory *parent, span name, uint64_t size,
                         const struct hash *read, struct fault *fault);

// ── sync_directory.c ──

// The node's entry of a side that it has gets HAS_STAT, from its parent.
int32_t sync_stat_above(struct node *node, uint8_t side, struct fault *fault);
int32_t sync_prepare(struct spot *spot, struct fault *fault);
bool sync_enter(struct spot *spot);
bool sync_see(struct spot *spot, const struct pair *pair);
void sync_whole(struct spot *spot);
void sync_leave(struct run *run, struct node *node);

// At the root: whether the source is copied in its own order, by a job, instead of by the walk.
bool sync_forward(struct spot *spot);

// ── sync_inside.c ──

// At the roots, before anything is touched: ARGUMENT when the source lies where the destination's
// entries would be deleted, by what the file system says, links resolved.
int32_t sync_inside(struct spot *spot, struct fault *fault);

// ── sync_delete.c ──

// True: jobs were added that take away what was kept in sync->right_only (or only count it).
bool sync_delete_begin(struct run *run, bool only_counts);

// ── sync_sweep.c ──

// An entry of the right side with a name of ours.
int32_t sync_sweep(struct spot *spot, uint8_t side, struct entry *entry, struct fault *fault);
// Everything in the spot's directory is done: partials that nobody will go on with go.
void sync_sweep_kept(struct spot *spot);
// The same of a file by itself, under the name it has on the right.
void sync_sweep_one(struct spot *spot, span name);

// ── sync_moves.c ──

// What only one side has is taken out of its list. True: jobs were added; the next stage follows.
bool sync_moves_gather(struct run *run);
bool sync_moves_hash(struct run *run);
bool sync_moves_find(struct run *run);
bool sync_moves_do(struct run *run);
// What did not move is in its list again.
void sync_moves_end(struct run *run);
// In a dry run, after the end: the entry at this path of the right side has got another name.
bool sync_moves_took(const struct sync *sync, span path);
void sync_moves_free(struct moves *moves);

// ── sync_twins.c ──

int32_t sync_twins_begin(struct sync *sync, struct fault *fault);
void sync_twins_free(struct twins *twins);
// A file with more names than one. 1: it came first and is copied; 0: it was kept, to be linked
// when all is copied.
int32_t sync_twin(struct spot *spot, struct entry *left, struct entry *right, struct fault *fault);
// The first of its names has its content on the right.
void sync_twin_came(struct spot *spot, const struct entry *left);
// One that was kept. Where the first did not come it is a file of its own.
int32_t sync_twin_link(struct spot *spot, struct entry *left, struct entry *right,
                       struct fault *fault);

// ── sync_backup.c ──

int32_t sync_backup_begin(struct run *run, span place, struct fault *fault);
void sync_backup_end(struct sync *sync);
// Before `old`, in `directory` and at `path` of the right side, is replaced or deleted. 1: it was
// taken away; 0: it is where it was, and a copy is kept when there is a place for it.
int32_t sync_back_up(struct spot *spot, struct directory *directory, const struct entry *old,
                     span path, bool takes_away, struct fault *fault);
bool sync_is_backup(const struct sync *sync, const struct entry *entry);

// ── sync_plan.c ──

int32_t sync_plan_read(span request, struct plan **out, struct fault *fault);
void sync_plan_free(struct plan *plan);
// Bytes of the files it copies.
uint64_t sync_plan_bytes(const struct plan *plan);
// 1: it may be done; 0: the plan does not have it, so it is not to be done, without a word;
// CHANGED: what the plan says of it is not true any more. `left` and `right` as in sync_row.
int32_t sync_allows(struct spot *spot, uint8_t kind, span name, const struct entry *left,
                    const struct entry *right, struct fault *fault);
int32_t sync_allows_path(struct plan *plan, uint8_t kind, span path, span from,
                         const struct entry *left, const struct entry *right, struct fault *fault);
bool sync_plan_has(const struct plan *plan, uint8_t kind, span path);
// An error row for each step that was never met.
void sync_plan_end(struct run *run);

// The path of `name` in the spot's directory, in its arena; {nullptr, 0}: out of memory.
span sync_path(struct spot *spot, span name);
