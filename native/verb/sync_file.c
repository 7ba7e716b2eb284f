// sync_file: one file or link of the source, brought to the other side.
#include <stdlib.h>
#include <time.h>

#include "base/record.h"
#include "verb/pump.h"
#include "verb/sync.h"

// From here on a file is a job of its own.
constexpr uint64_t LARGE = 16 << 20;

static void row_emit(struct spot *spot, uint8_t kind, const struct entry *entry,
                     const struct entry *right, uint16_t reason, span detail) {
  copse_row row = {.kind = kind,
                   .type = entry->type,
                   .reason = reason,
                   .left_size = entry->has & HAS_STAT ? entry->size : COPSE_UNKNOWN,
                   .right_size = COPSE_UNKNOWN,
                   .left_mtime_ns = COPSE_UNKNOWN_TIME,
                   .right_mtime_ns = COPSE_UNKNOWN_TIME};
  if (sync_of(spot->run)->is_dry) {
    if (entry->has & HAS_STAT) row.left_mtime_ns = entry->mtime_ns;
    if (right) row.type |= (uint8_t)(right->type << 4);
    if (right && (right->has & HAS_STAT)) {
      row.right_size = right->size;
      row.right_mtime_ns = right->mtime_ns;
    }
  }
  spot_emit(spot, &row, entry->name, detail);
}

void sync_row(struct spot *spot, uint8_t kind, const struct entry *entry, const struct entry *right,
              uint16_t reason) {
  row_emit(spot, kind, entry, right, reason, (span){});
}

void sync_row_from(struct spot *spot, uint8_t kind, const struct entry *entry,
                   const struct entry *right, span from) {
  struct record_writer writer = {.capacity = from.size + 16};
  writer.at = arena_take_bytes(spot->arena, writer.capacity);
  if (writer.at) record_put_text(&writer, COPSE_DETAIL_FROM, from);
  row_emit(spot, kind, entry, right, 0, (span){writer.at, writer.at ? writer.size : 0});
}

span sync_path(struct spot *spot, span name) {
  return spot->node->nameless ? SPAN("") : spot_path_of(spot, name);
}

int32_t sync_skip(struct spot *spot, const struct entry *entry, uint16_t reason) {
  sync_count(sync_of(spot->run), COUNT_SKIPPED, 1);
  if (reason) sync_row(spot, COPSE_ROW_SKIPPED, entry, nullptr, reason);
  return 0;
}

int32_t sync_stat(struct spot *spot, struct entry *entry, uint8_t side, struct fault *fault) {
  if (entry->has & HAS_STAT) return 0;
  struct directory *directory = spot->node->directory[side];
  spot->side = side;
  return directory->store->ops->stat(directory, entry, false, fault);
}

int32_t sync_want(struct spot *spot, struct directory *from, const struct entry *left, span name,
                  struct entry *want, struct wanted *wanted, struct fault *fault) {
  const struct sync *sync = sync_of(spot->run);
  *want = *left;
  want->name = name;
  want->mode = left->mode & ~07777u;
  want->mode |= left->mode & sync_kept_bits(sync);
  *wanted = (struct wanted){.entry = want, .what = sync->preserve};
  // Asked for only where it is used.
  const struct store_ops *to = spot->run->store[RIGHT].ops;
  if (from && from->store->ops->filing && to && to->file && left->type == ENTRY_FILE)
    from->store->ops->filing(from, left, &wanted->filing);
  if (!left->mode) wanted->what &= ~(uint32_t)WANT_MODE;
  if (left->mtime_ns == INT64_MIN) wanted->what &= ~(uint32_t)WANT_MTIME;
  if (!from) wanted->what &= ~(uint32_t)WANT_XATTR;
  if (!(wanted->what & WANT_XATTR)) return 0;
  spot->side = LEFT;
  return from->store->ops->attributes(from, left, spot->arena, &wanted->attributes, fault);
}

void sync_changed(struct node *node) {
  atomic_store_explicit(&node->is_changed, true, memory_order_relaxed);
}

bool sync_try_again(struct run *run, uint64_t tries) {
  struct sync *sync = sync_of(run);
  if (tries >= sync->retries_max) return false;
  for (uint64_t left_ms = 100u << (tries < 6 ? tries : 6); left_ms > 0; left_ms--) {
    if (run_over(run)) return false;
    nanosleep(&(struct timespec){.tv_nsec = 1'000'000}, nullptr);
  }
  sync_count(sync, COUNT_RETRIES, 1);
  return true;
}

// After a while. A source that changed is looked at again then, and copied as it is now; never
// where a plan says what it has to be, nor without end.
static bool tries_again(struct spot *spot, struct entry *left, uint64_t tries, uint32_t *starts,
                        const struct fault *fault) {
  constexpr uint32_t STARTS_MAX = 2;
  struct directory *from = spot->node->directory[LEFT];
  if (fault->code != COPSE_E_CHANGED) return sync_try_again(spot->run, tries);
  if (spot->side != LEFT || sync_of(spot->run)->plan || (*starts)++ == STARTS_MAX) return false;
  if (!sync_try_again(spot->run, tries)) return false;
  struct entry now = *left;
  struct fault ignored = {};
  now.has &= HAS_FOLLOWED;
  int32_t code = from->store->ops->stat(from, &now, now.has & HAS_FOLLOWED, &ignored);
  if (code < 0 || now.type != ENTRY_FILE) return false;
  *left = now;
  return true;
}

static int32_t copy_once(struct spot *spot, struct entry *left, const struct entry *right,
                         span name, uint64_t *bytes, struct fault *fault) {
  struct node *node = spot->node;
  struct entry want;
  struct pump pump = {.from = node->directory[LEFT], .to = node->directory[RIGHT], .source = left};
  int32_t code = sync_want(spot, pump.from, left, name, &want, &pump.wanted, fault);
  // A name that the caller gives himself is his to replace.
  pump.wanted.is_new = !right && !node->nameless;
  const struct sync *sync = sync_of(spot->run);
  bool is_file = right && right->type == ENTRY_FILE && (right->has & HAS_STAT);
  // A plan says what is replaced.
  if (sync->plan && right && (right->has & HAS_STAT)) pump.replaced = right;
  if (is_file && sync->delta != DELTA_NEVER) pump.old = right;
  pump.searches = sync->delta == DELTA_ALWAYS;
  // What cannot be read again is verified by what was seen of it.
  struct hash hash;
  bool is_hashed = sync->verifies && (spot->run->store[LEFT].can & ONLY_ONCE);
  if (is_hashed) hash_begin(&hash), pump.hash = &hash;
  if (code == 0) code = pump_file(spot, &pump, fault);
  *bytes = pump.bytes;
  if (code == 0 && is_hashed) {
    spot->side = RIGHT;
    code = sync_verify_hash(spot, pump.to, name, pump.bytes, &hash, fault);
  }
  if (code == 0) sync_count(sync_of(spot->run), COUNT_RESUMED, pump.resumed);
  if (code == 0) sync_count(sync_of(spot->run), COUNT_SAVED, pump.saved);
  return code;
}

static int32_t verify(struct spot *spot, struct entry *left, span name, struct fault *fault) {
  struct directory *directory = spot->node->directory[RIGHT];
  struct entry made = {.name = name};
  bool is_same = false;
  spot->side = RIGHT;
  int32_t code = directory->store->ops->stat(directory, &made, false, fault);
  if (code == 0) code = pump_compare(spot, left, &made, &is_same, fault);
  if (code == 0 && !is_same)
    code = fault_set(fault, COPSE_E_CORRUPT, "what was written is not what was read; run again");
  if (code == 0) sync_count(sync_of(spot->run), COUNT_VERIFIED, 1);
  return code;
}

// Before a file or link of this name is replaced.
static int32_t keep_old(struct spot *spot, const struct entry *right, struct fault *fault) {
  if (!right || !sync_of(spot->run)->backs_up) return 0;
  span path = sync_path(spot, right->name);
  if (spot->node->nameless) path = right->name;
  return sync_back_up(spot, spot->node->directory[RIGHT], right, path, false, fault);
}

static int32_t copy_now(struct spot *spot, struct entry *left, struct entry *right, span name,
                        struct fault *fault) {
  struct sync *sync = sync_of(spot->run);
  int32_t code = sync_allows(spot, COPSE_ROW_COPIED, left->name, left, right, fault);
  if (code <= 0) return code;
  uint64_t bytes = left->size;
  bool is_once = (spot->run->store[LEFT].can | spot->run->store[RIGHT].can) & ONLY_ONCE;
  code = sync->is_dry ? 0 : keep_old(spot, right, fault);
  uint32_t starts = 0;
  for (uint64_t tries = 0; code == 0 && !sync->is_dry; tries++) {
    code = copy_once(spot, left, right, name, &bytes, fault);
    if (code == 0 || is_once || !fault_retryable(code)) break;
    if (!tries_again(spot, left, tries, &starts, fault)) break;
    code = 0;
    *fault = (struct fault){};
  }
  bool is_verified = spot->run->store[LEFT].can & ONLY_ONCE;
  if (code == 0 && sync->verifies && !sync->is_dry && !is_verified)
    code = verify(spot, left, name, fault);
  if (code < 0) return code;
  if (!sync->is_dry) sync_changed(spot->node);
  sync_twin_came(spot, left);
  sync_count(sync, COUNT_COPIED, 1);
  sync_count(sync, COUNT_BYTES, bytes);
  sync_row(spot, COPSE_ROW_COPIED, left, right, 0);
  return 0;
}

static int32_t copy_planned(struct spot *spot, struct entry *left, struct entry *right, span name,
                            struct fault *fault) {
  uint64_t size = left->size;
  int32_t code = copy_now(spot, left, right, name, fault);
  if (code < 0) sync_total_drop(spot->run, size);
  return code;
}

// A large file by itself: what is in its batch does not wait for it. Where somebody watches each
// file is, and waits for the total.
struct large {
  struct job job;
  struct node *node;  // held
  struct entry left, right;
  bool has_right;
  span name;
  bool is_later;
};

static void large_run(struct job *job, struct worker *worker) {
  struct large *large = (struct large *)job;
  struct node *node = large->node;
  struct run *run = node->walk->owner;
  if (!run_over(run)) {
    struct arena arena;
    struct spot spot = run_spot(run, node, worker, &arena);
    struct fault fault = {};
    if (large->is_later) sync_total_look(run);
    spot.files = 1;
    int32_t code = node_use(node, &spot.side, &fault);
    if (code == 0) {
      code = copy_planned(&spot, &large->left, large->has_right ? &large->right : nullptr,
                          large->name, &fault);
      node_let_go(node);
    } else {
      sync_total_drop(run, large->left.size);
    }
    if (code < 0) sync_error(&spot, &fault, large->left.name);
    run_spot_end(&spot);
  }
  struct sync *sync = sync_of(run);
  if (large->is_later) atomic_fetch_sub_explicit(&sync->later_count, 1, memory_order_relaxed);
  node_drop(node);
  free(large);
}

int32_t sync_copy(struct spot *spot, struct entry *left, struct entry *right, span name,
                  struct fault *fault) {
  struct run *run = spot->run;
  if (spot->node->nameless) {
    atomic_store_explicit(&run->task->total_bytes, left->size, memory_order_relaxed);
    return copy_now(spot, left, right, name, fault);
  }
  sync_total_add(run, left);
  bool is_later = sync_total_waits(run);
  bool is_alone = left->size >= LARGE && !sync_of(run)->is_dry && run->store[LEFT].can & CAN_RANGE;
  struct large *large = is_alone || is_later ? malloc(sizeof *large) : nullptr;
  if (!large) return copy_planned(spot, left, right, name, fault);
  *large = (struct large){.job.run = large_run,
                          .node = spot->node,
                          .left = *left,
                          .has_right = right,
                          .name = name,
                          .is_later = is_later};
  if (right) large->right = *right;
  node_hold(spot->node);
  spot->files--;  // it is counted when it is there
  run_add(run, is_later ? JOB_LATER : JOB_LEAF, &large->job);
  struct sync *sync = sync_of(run);
  if (is_later) atomic_fetch_add_explicit(&sync->later_count, 1, memory_order_relaxed);
  return 0;
}

static int32_t set_metadata(struct spot *spot, struct entry *left, struct entry *right, span name,
                            struct fault *fault) {
  struct sync *sync = sync_of(spot->run);
  struct directory *to = spot->node->directory[RIGHT];
  struct entry want;
  struct wanted wanted;
  int32_t code = sync_allows(spot, COPSE_ROW_UPDATED, left->name, left, right, fault);
  if (code <= 0) return code;
  code = 0;
  if (!sync->is_dry) {
    code = sync_want(spot, spot->node->directory[LEFT], left, name, &want, &wanted, fault);
    spot->side = RIGHT;
    if (code == 0) code = to->store->ops->set(to, &wanted, fault);
  }
  if (code < 0) return code;
  sync_count(sync, COUNT_UPDATED, 1);
  sync_row(spot, COPSE_ROW_UPDATED, left, right, 0);
  return 0;
}

static int32_t are_attributes_same(struct spot *spot, const struct entry *left,
                                   const struct entry *right, bool *is_same, struct fault *fault) {
  *is_same = true;
  if (!(sync_of(spot->run)->preserve & WANT_XATTR)) return 0;
  span values[2];
  const struct entry *entries[2] = {left, right};
  for (uint8_t side = 0; side < 2; side++) {
    struct directory *directory = spot->node->directory[side];
    spot->side = side;
    int32_t code = directory->store->ops->attributes(directory, entries[side], spot->arena,
                                                     &values[side], fault);
    if (code < 0) return code;
  }
  *is_same = span_equal(values[0], values[1]);
  return 0;
}

// One pair of roots may have two names.
static span name_on_right(const struct spot *spot, const struct entry *left,
                          const struct entry *right) {
  if (right) return right->name;
  return spot->node->nameless ? spot->node->entry[RIGHT].name : left->name;
}

// One file, seen once as it is and once through a place that makes other content of it.
static bool is_same_beneath(const struct run *run, const struct entry *left,
                            const struct entry *right) {
  return (run->store[LEFT].can & run->store[RIGHT].can & IS_LOCAL) &&
         (left->has & right->has & HAS_STAT) && (left->inode || left->device) &&
         left->inode == right->inode && left->device == right->device;
}

int32_t sync_files(struct spot *spot, struct entry *left, struct entry *right,
                   struct fault *fault) {
  struct sync *sync = sync_of(spot->run);
  spot->files++;
  int32_t code = sync_stat(spot, left, LEFT, fault);
  if (code == 0 && right) code = sync_stat(spot, right, RIGHT, fault);
  if (code < 0) return code;
  if (left->type != ENTRY_FILE)
    return fault_set(fault, COPSE_E_CHANGED, "it was a file and is none any more; run again");
  if (right && run_is_same(spot->run, left, right)) return sync_skip(spot, left, 0);
  if (right && is_same_beneath(spot->run, left, right))
    return fault_set(fault, COPSE_E_ARGUMENT,
                     "source and destination are the same file, and it would be written over what "
                     "it is made of: name another directory");
  const struct store *to = &spot->run->store[RIGHT];
  if (to->ops->is_itself && to->ops->is_itself(to, &spot->run->store[LEFT], left)) {
    spot->files--;
    return 0;
  }
  if (sync->twins && (left->has & HAS_LINKED) && !spot->node->nameless) {
    code = sync_twin(spot, left, right, fault);
    if (code <= 0) return code;
  }
  return sync_one_file(spot, left, right, fault);
}

int32_t sync_one_file(struct spot *spot, struct entry *left, struct entry *right,
                      struct fault *fault) {
  struct sync *sync = sync_of(spot->run);
  span name = name_on_right(spot, left, right);
  int32_t code;
  if (!right) return sync_copy(spot, left, right, name, fault);
  if (right->type != ENTRY_FILE) {
    if (sync->overwrite == OVERWRITE_NEVER) return sync_skip(spot, left, COPSE_SKIPPED_EXISTS);
    return sync_copy(spot, left, right, name, fault);
  }
  uint64_t precision = sync_precision(spot, left, right);
  enum sync_action action = sync_decide(sync, precision, left, right, false, false);
  if (action == ACTION_LOOK) {
    bool is_same = false;
    code = pump_compare(spot, left, right, &is_same, fault);
    if (code < 0) return code;
    action = sync_decide(sync, precision, left, right, true, is_same);
  }
  if (action == ACTION_NOTHING) {
    bool is_same;
    code = are_attributes_same(spot, left, right, &is_same, fault);
    if (code < 0) return code;
    if (!is_same) action = ACTION_SET;
  }
  if (action == ACTION_NOTHING || action == ACTION_SET) sync_twin_came(spot, left);
  switch (action) {
    case ACTION_SET:
      return set_metadata(spot, left, right, name, fault);
    case ACTION_COPY:
      return sync_copy(spot, left, right, name, fault);
    case ACTION_KEEP:
      return sync_skip(spot, left, COPSE_SKIPPED_EXISTS);
    default:
      return sync_skip(spot, left, 0);
  }
}

// A target that leads out of the tree: absolute, or above the root by "..".
bool sync_escapes(size_t depth, span target) {
  if (target.size == 0 || target.at[0] == '/' || memchr(target.at, 0, target.size)) return true;
  while (target.size > 0) {
    const uint8_t *slash = memchr(target.at, '/', target.size);
    span part = {target.at, slash ? (size_t)(slash - target.at) : target.size};
    size_t used = part.size + (slash ? 1 : 0);
    target = (span){target.at + used, target.size - used};
    if (part.size == 0 || span_equal(part, SPAN("."))) continue;
    if (!span_equal(part, SPAN("..")))
      depth++;
    else if (depth-- == 0)
      return true;
  }
  return false;
}

int32_t sync_links(struct spot *spot, struct entry *left, struct entry *right,
                   struct fault *fault) {
  struct sync *sync = sync_of(spot->run);
  struct directory *from = spot->node->directory[LEFT], *to = spot->node->directory[RIGHT];
  int32_t code = sync_stat(spot, left, LEFT, fault);
  if (code == 0 && left->type != ENTRY_LINK)
    return fault_set(fault, COPSE_E_CHANGED, "it was a link and is none any more; run again");
  if (code == 0 && !(left->has & HAS_TARGET))
    code = from->store->ops->target(from, left, spot->arena, fault);
  if (code < 0) return code;
  spot->side = RIGHT;
  if (!(spot->run->store[RIGHT].can & CAN_LINKS))
    return fault_set(fault, COPSE_E_UNSUPPORTED, "a %s location holds no links",
                     spot->run->store[RIGHT].ops->scheme);
  spot->side = LEFT;
  if (!(from->store->can & IS_LOCAL) &&
      sync_escapes(spot->node->nameless ? 0 : spot->node->depth, left->target))
    return fault_set(fault, COPSE_E_UNSAFE_PATH, "the link leads out of its tree and is not made");
  uint64_t precision = 1;
  if (right) {
    code = sync_stat(spot, right, RIGHT, fault);
    if (code < 0) return code;
    precision = right->type == ENTRY_LINK ? sync_precision(spot, left, right) : 1;
  }
  span name = name_on_right(spot, left, right);
  if (right && right->type == ENTRY_LINK) {
    if (!(right->has & HAS_TARGET)) {
      spot->side = RIGHT;
      code = to->store->ops->target(to, right, spot->arena, fault);
      if (code < 0) return code;
    }
    if (span_equal(left->target, right->target)) {
      if (sync_is_metadata_same(sync, precision, left, right)) return sync_skip(spot, left, 0);
      return set_metadata(spot, left, right, name, fault);
    }
  }
  if (right && sync->overwrite == OVERWRITE_NEVER)
    return sync_skip(spot, left, COPSE_SKIPPED_EXISTS);
  if (right && sync->overwrite == OVERWRITE_NEWER && left->mtime_ns <= right->mtime_ns)
    return sync_skip(spot, left, COPSE_SKIPPED_EXISTS);
  code = sync_allows(spot, COPSE_ROW_COPIED, left->name, left, right, fault);
  if (code <= 0) return code;
  if (!sync->is_dry) {
    struct entry want;
    struct wanted wanted;
    code = keep_old(spot, right, fault);
    if (code == 0) code = sync_want(spot, from, left, name, &want, &wanted, fault);
    wanted.is_new = !right;
    spot->side = RIGHT;
    if (code == 0) code = to->store->ops->make(to, &wanted, fault);
    if (code < 0) return code;
    sync_changed(spot->node);
  }
  sync_count(sync, COUNT_COPIED, 1);
  sync_row(spot, COPSE_ROW_COPIED, left, right, 0);
  return 0;
}
