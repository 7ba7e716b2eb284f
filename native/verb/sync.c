// sync: makes the right tree like the left one. Copying is the same without deleting.
//
// Both trees are listed in step. A directory is made on the right before it is listed, files are
// copied while the walk goes on, and a directory gets its mode and time when nothing below it is
// pending any more. What only the right side has is kept in a list and taken away when everything
// else is done, and only if every listing succeeded.
#include "verb/sync.h"

#include <stdlib.h>
#include <time.h>

#include "base/record.h"
#include "verb/pump.h"

static span request_of(const struct run *run) {
  return (span){run->task->request, run->task->request_len};
}

static int32_t begin(struct run *run, struct fault *fault) {
  struct sync *sync = sync_of(run);
  span request = request_of(run);
  struct store *right = &run->store[RIGHT];
  sync->by = (uint32_t)record_number(request, COPSE_KEY_SYNC_BY, COPSE_BY_STAT);
  sync->overwrite = (uint8_t)record_number(request, COPSE_KEY_OVERWRITE, OVERWRITE_DIFFERENT);
  sync->deletes = record_number(request, COPSE_KEY_DELETE, 0);
  sync->is_dry = record_number(request, COPSE_KEY_DRY_RUN, 0);
  sync->is_forced = record_number(request, COPSE_KEY_FORCE, 0);
  sync->keeps_special = record_number(request, COPSE_KEY_SPECIAL_BITS, 0);
  sync->verifies = record_number(request, COPSE_KEY_VERIFY, 0);
  sync->deletes_max = record_number(request, COPSE_KEY_MAX_DELETE, UINT64_MAX);
  sync->retries_max = record_number(request, COPSE_KEY_RETRIES, 3);
  sync->preserve = (uint32_t)record_number(request, COPSE_KEY_PRESERVE, WANT_MODE | WANT_MTIME);
  mutex_begin(&sync->lock);
  sync->is_ready = true;
  if (!(right->can & CAN_WRITE))
    return fault_set(fault, COPSE_E_UNSUPPORTED, "a %s location is never written to",
                     right->ops->scheme);
  if (sync->deletes && !(right->can & CAN_DELETE))
    return fault_set(fault, COPSE_E_UNSUPPORTED, "nothing is removed from a %s location; use copy",
                     right->ops->scheme);
  // What one of the two does not know is not kept.
  uint32_t can = run->store[LEFT].can & right->can;
  if (!(can & CAN_MODE)) sync->preserve &= ~(uint32_t)WANT_MODE;
  if (!(right->can & CAN_MTIME)) sync->preserve &= ~(uint32_t)WANT_MTIME;
  if (!(can & CAN_OWNER)) sync->preserve &= ~(uint32_t)WANT_OWNER;
  if (!(can & CAN_XATTR)) sync->preserve &= ~(uint32_t)WANT_XATTR;
  return 0;
}

static void close(struct run *run) {
  struct sync *sync = sync_of(run);
  sync_let_go(&sync->right_only);
  sync_let_go(&sync->in_the_way);
  if (sync->is_ready) mutex_end(&sync->lock);
}

// ── What is kept for later ──

int32_t sync_keep(struct sync *sync, struct lates *lates, struct node *node, struct entry *left,
                  struct entry *right, struct fault *fault) {
  mutex_lock(&sync->lock);
  if (lates->count == lates->capacity) {
    size_t capacity = lates->capacity ? lates->capacity * 2 : 64;
    struct late *more = realloc(lates->at, capacity * sizeof *more);
    if (!more) {
      mutex_unlock(&sync->lock);
      return fault_set(fault, COPSE_E_MEMORY, "out of memory");
    }
    lates->at = more;
    lates->capacity = capacity;
  }
  lates->at[lates->count++] = (struct late){node, left, right};
  node_hold(node);
  mutex_unlock(&sync->lock);
  return 0;
}

void sync_let_go(struct lates *lates) {
  for (size_t i = 0; i < lates->count; i++)
    if (lates->at[i].node) node_drop(lates->at[i].node);
  free(lates->at);
  *lates = (struct lates){};
}

// ── Deciding ──

static bool is_same_time(uint64_t precision_ns, int64_t left, int64_t right) {
  if (left == right) return true;
  if (left == INT64_MIN || right == INT64_MIN || precision_ns <= 1) return false;
  int64_t precision = (int64_t)precision_ns, rest = left % precision;
  if (rest < 0) rest += precision;
  return left - rest == right;
}

static uint32_t kept_bits(const struct sync *sync) { return sync->keeps_special ? 07777 : 0777; }

// Whether what is to be kept besides content and attributes is the same.
static bool is_metadata_same(const struct sync *sync, uint64_t precision_ns,
                             const struct entry *left, const struct entry *right) {
  if ((sync->preserve & WANT_MODE) && left->mode && left->type != ENTRY_LINK &&
      ((left->mode & kept_bits(sync)) ^ (right->mode & 07777)))
    return false;
  if ((sync->preserve & WANT_OWNER) && (left->uid != right->uid || left->gid != right->gid))
    return false;
  return !(sync->preserve & WANT_MTIME) || left->mtime_ns == INT64_MIN ||
         is_same_time(precision_ns, left->mtime_ns, right->mtime_ns);
}

enum sync_action sync_decide(const struct sync *sync, uint64_t precision_ns,
                             const struct entry *left, const struct entry *right, bool was_looked,
                             bool is_same) {
  bool is_size_same = left->size == right->size;
  if (!was_looked) {
    if (sync->by != COPSE_BY_STAT && is_size_same) return ACTION_LOOK;
    is_same = is_size_same && left->mtime_ns != INT64_MIN &&
              is_same_time(precision_ns, left->mtime_ns, right->mtime_ns);
  }
  if (is_same)
    return is_metadata_same(sync, precision_ns, left, right) ? ACTION_NOTHING : ACTION_SET;
  if (sync->overwrite == OVERWRITE_NEVER) return ACTION_KEEP;
  if (sync->overwrite == OVERWRITE_NEWER && left->mtime_ns != INT64_MIN &&
      left->mtime_ns <= right->mtime_ns)
    return ACTION_KEEP;
  return ACTION_COPY;
}

// Which precisions there are: NTFS, microseconds, ext3 and most servers, FAT.
static const uint64_t precisions[] = {100, 1000, 1'000'000, 1'000'000'000, 2'000'000'000};
constexpr size_t PRECISIONS = sizeof precisions / sizeof *precisions;

// Only a look can tell a coarse file system from a file written at a full second: an empty file of
// our own name gets an odd time and is asked what it has.
static uint64_t probe(struct directory *directory) {
  constexpr int64_t ODD = 1'000'000'001'123'456'789;
  const struct store_ops *ops = directory->store->ops;
  struct entry entry = {.name = SPAN(".copse-7072656369736531.part"),
                        .type = ENTRY_FILE,
                        .mtime_ns = ODD},
               out = {};
  struct writer *writer;
  struct fault fault = {};
  if (ops->writer(directory, &(struct wanted){.entry = &entry, .what = WANT_MTIME}, &writer,
                  &fault) < 0 ||
      ops->commit(writer, 0, &out, &fault) < 0)
    return 1;
  out.name = entry.name;
  int64_t kept = ops->stat(directory, &out, false, &fault) < 0 ? ODD : out.mtime_ns;
  ops->remove(directory, &out, &fault);
  for (size_t i = 0; i < PRECISIONS; i++)
    if (kept != ODD && is_same_time(precisions[i], ODD, kept)) return precisions[i];
  return 1;
}

static uint64_t precision_of(struct spot *spot, const struct entry *left,
                             const struct entry *right) {
  struct sync *sync = sync_of(spot->run);
  uint64_t known = atomic_load_explicit(&sync->precision_ns, memory_order_acquire);
  if (known) return known;
  if (left->mtime_ns == right->mtime_ns) return 1;
  bool may_be_coarse = false;
  for (size_t i = 0; i < PRECISIONS && !may_be_coarse; i++)
    may_be_coarse = is_same_time(precisions[i], left->mtime_ns, right->mtime_ns);
  if (!may_be_coarse || sync->is_dry) return may_be_coarse ? 2'000'000'000 : 1;
  mutex_lock(&sync->lock);
  known = atomic_load_explicit(&sync->precision_ns, memory_order_relaxed);
  if (!known) {
    known = probe(spot->node->directory[RIGHT]);
    atomic_store_explicit(&sync->precision_ns, known, memory_order_release);
  }
  mutex_unlock(&sync->lock);
  return known;
}

// ── Doing ──

void sync_row(struct spot *spot, uint8_t kind, const struct entry *entry, uint16_t reason) {
  copse_row row = {.kind = kind,
                   .type = entry->type,
                   .reason = reason,
                   .left_size = entry->has & HAS_STAT ? entry->size : COPSE_UNKNOWN,
                   .right_size = COPSE_UNKNOWN,
                   .left_mtime_ns = COPSE_UNKNOWN_TIME,
                   .right_mtime_ns = COPSE_UNKNOWN_TIME};
  spot_emit(spot, &row, entry->name, (span){});
}

static int32_t skip(struct spot *spot, const struct entry *entry, uint16_t reason) {
  sync_count(sync_of(spot->run), COUNT_SKIPPED, 1);
  if (reason) sync_row(spot, COPSE_ROW_SKIPPED, entry, reason);
  return 0;
}

static int32_t stat_side(struct spot *spot, struct entry *entry, uint8_t side,
                         struct fault *fault) {
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
  want->mode |= left->mode & kept_bits(sync);
  *wanted = (struct wanted){.entry = want, .what = sync->preserve};
  if (!left->mode) wanted->what &= ~(uint32_t)WANT_MODE;
  if (left->mtime_ns == INT64_MIN) wanted->what &= ~(uint32_t)WANT_MTIME;
  if (!from) wanted->what &= ~(uint32_t)WANT_XATTR;
  if (!(wanted->what & WANT_XATTR)) return 0;
  spot->side = LEFT;
  return from->store->ops->attributes(from, left, spot->arena, &wanted->attributes, fault);
}

static void changed_in(struct node *node) {
  atomic_store_explicit(&node->is_changed, true, memory_order_relaxed);
}

// False when the task ends meanwhile.
static bool wait_ms(const struct run *run, uint64_t milliseconds) {
  for (; milliseconds > 0; milliseconds--) {
    if (run_over(run)) return false;
    nanosleep(&(struct timespec){.tv_nsec = 1'000'000}, nullptr);
  }
  return true;
}

static int32_t copy_once(struct spot *spot, struct entry *left, span name, uint64_t *bytes,
                         struct fault *fault) {
  struct node *node = spot->node;
  struct entry want;
  struct pump pump = {.from = node->directory[LEFT], .to = node->directory[RIGHT], .source = left};
  int32_t code = sync_want(spot, pump.from, left, name, &want, &pump.wanted, fault);
  if (code == 0) code = pump_file(spot, &pump, fault);
  *bytes = pump.bytes;
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
  return code;
}

static int32_t copy_file(struct spot *spot, struct entry *left, span name, struct fault *fault) {
  struct sync *sync = sync_of(spot->run);
  uint64_t bytes = left->size;
  int32_t code = 0;
  for (uint64_t tries = 0; !sync->is_dry; tries++) {
    code = copy_once(spot, left, name, &bytes, fault);
    if (code == 0 || tries == sync->retries_max || !fault_retryable(code)) break;
    if (!wait_ms(spot->run, 100u << (tries < 6 ? tries : 6))) break;
    *fault = (struct fault){};
    sync_count(sync, COUNT_RETRIES, 1);
  }
  if (code == 0 && sync->verifies && !sync->is_dry) code = verify(spot, left, name, fault);
  if (code < 0) return code;
  if (!sync->is_dry) changed_in(spot->node);
  sync_count(sync, COUNT_COPIED, 1);
  sync_count(sync, COUNT_BYTES, bytes);
  sync_row(spot, COPSE_ROW_COPIED, left, 0);
  return 0;
}

static int32_t set_metadata(struct spot *spot, struct entry *left, span name, struct fault *fault) {
  struct sync *sync = sync_of(spot->run);
  struct directory *to = spot->node->directory[RIGHT];
  struct entry want;
  struct wanted wanted;
  int32_t code = 0;
  if (!sync->is_dry) {
    code = sync_want(spot, spot->node->directory[LEFT], left, name, &want, &wanted, fault);
    spot->side = RIGHT;
    if (code == 0) code = to->store->ops->set(to, &wanted, fault);
  }
  if (code < 0) return code;
  sync_count(sync, COUNT_UPDATED, 1);
  sync_row(spot, COPSE_ROW_UPDATED, left, 0);
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

static int32_t pair_of_files(struct spot *spot, struct entry *left, struct entry *right,
                             struct fault *fault) {
  struct sync *sync = sync_of(spot->run);
  spot->files++;
  int32_t code = stat_side(spot, left, LEFT, fault);
  if (code == 0 && right) code = stat_side(spot, right, RIGHT, fault);
  if (code < 0) return code;
  span name = name_on_right(spot, left, right);
  if (left->type != ENTRY_FILE)
    return fault_set(fault, COPSE_E_CHANGED, "it was a file and is none any more; run again");
  if (right && run_is_same(spot->run, left, right)) return skip(spot, left, 0);
  if (!right) return copy_file(spot, left, name, fault);
  if (right->type != ENTRY_FILE) {
    if (sync->overwrite == OVERWRITE_NEVER) return skip(spot, left, COPSE_SKIPPED_EXISTS);
    return copy_file(spot, left, name, fault);
  }
  uint64_t precision = precision_of(spot, left, right);
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
  switch (action) {
    case ACTION_SET:
      return set_metadata(spot, left, name, fault);
    case ACTION_COPY:
      return copy_file(spot, left, name, fault);
    case ACTION_KEEP:
      return skip(spot, left, COPSE_SKIPPED_EXISTS);
    default:
      return skip(spot, left, 0);
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

static int32_t pair_of_links(struct spot *spot, struct entry *left, struct entry *right,
                             struct fault *fault) {
  struct sync *sync = sync_of(spot->run);
  struct directory *from = spot->node->directory[LEFT], *to = spot->node->directory[RIGHT];
  int32_t code = stat_side(spot, left, LEFT, fault);
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
    code = stat_side(spot, right, RIGHT, fault);
    if (code < 0) return code;
    precision = right->type == ENTRY_LINK ? precision_of(spot, left, right) : 1;
  }
  span name = name_on_right(spot, left, right);
  if (right && right->type == ENTRY_LINK) {
    if (!(right->has & HAS_TARGET)) {
      spot->side = RIGHT;
      code = to->store->ops->target(to, right, spot->arena, fault);
      if (code < 0) return code;
    }
    if (span_equal(left->target, right->target)) {
      if (is_metadata_same(sync, precision, left, right)) return skip(spot, left, 0);
      return set_metadata(spot, left, name, fault);
    }
  }
  if (right && sync->overwrite == OVERWRITE_NEVER) return skip(spot, left, COPSE_SKIPPED_EXISTS);
  if (right && sync->overwrite == OVERWRITE_NEWER && left->mtime_ns <= right->mtime_ns)
    return skip(spot, left, COPSE_SKIPPED_EXISTS);
  if (!sync->is_dry) {
    struct entry want;
    struct wanted wanted;
    code = sync_want(spot, from, left, name, &want, &wanted, fault);
    spot->side = RIGHT;
    if (code == 0) code = to->store->ops->make(to, &wanted, fault);
    if (code < 0) return code;
    changed_in(spot->node);
  }
  sync_count(sync, COUNT_COPIED, 1);
  sync_row(spot, COPSE_ROW_COPIED, left, 0);
  return 0;
}

// ── Pairs ──

static struct step plan(const struct run *, const struct pair *pair) {
  const struct entry *left = pair->left;
  // A directory needs no step of its own: it is made before it is visited, and set when it is left.
  bool descend = left && left->type == ENTRY_DIRECTORY && !store_name_is_ours(left->name);
  return (struct step){
      .pair = *pair, .kind = descend ? STEP_NONE : STEP_COMPARE, .descend = descend};
}

static int32_t sweep(struct spot *spot, struct entry *right, struct fault *fault) {
  struct directory *directory = spot->node->directory[RIGHT];
  const struct store_ops *ops = directory->store->ops;
  if (sync_of(spot->run)->is_dry || !ops->is_stale || !ops->is_stale(directory, right)) return 0;
  spot->side = RIGHT;
  int32_t code = ops->remove(directory, right, fault);
  return code == COPSE_E_NOT_FOUND ? 0 : code;  // somebody else swept it
}

static int32_t is_in_the_way(struct fault *fault) {
  return fault_set(fault, COPSE_E_EXISTS,
                   "a directory has that name on the right and is not replaced; remove it first");
}

int32_t sync_pair(struct spot *spot, struct entry *left, struct entry *right, struct fault *fault) {
  struct sync *sync = sync_of(spot->run);
  if (right && store_name_is_ours(right->name)) return sweep(spot, right, fault);
  if (!left)
    return sync->deletes ? sync_keep(sync, &sync->right_only, spot->node, nullptr, right, fault)
                         : 0;
  if (store_name_is_ours(left->name)) return 0;
  if (left->type == ENTRY_NONE) {
    atomic_store_explicit(&spot->run->unseen, true, memory_order_relaxed);
    spot->side = LEFT;
    return node_trouble(spot->node, LEFT, left, fault);
  }
  if (left->type == ENTRY_OTHER) return skip(spot, left, COPSE_SKIPPED_SPECIAL);
  if (right && right->type == ENTRY_DIRECTORY) {
    spot->side = RIGHT;
    if (!sync->deletes) return is_in_the_way(fault);
    return sync_keep(sync, &sync->in_the_way, spot->node, left, right, fault);
  }
  return left->type == ENTRY_LINK ? pair_of_links(spot, left, right, fault)
                                  : pair_of_files(spot, left, right, fault);
}

static int32_t work(struct spot *spot, const struct step *step, struct fault *fault) {
  struct entry *left = step->pair.left, *right = step->pair.right;
  if (right && right->type == ENTRY_NONE) {
    if (!spot->node->nameless) {
      spot->side = RIGHT;
      return node_trouble(spot->node, RIGHT, right, fault);
    }
    // Nothing is there yet.
    return sync_pair(spot, left, nullptr, fault);
  }
  return sync_pair(spot, left, right, fault);
}

// ── Directories ──

static int32_t stat_above(struct node *node, uint8_t side, struct fault *fault) {
  struct entry *entry = &node->entry[side];
  if (entry->has & HAS_STAT || !node->parent) return 0;
  struct directory *above = node->parent->directory[side];
  const struct store_ops *ops = above->store->ops;
  int32_t code = ops->hold(above, fault);
  if (code < 0) return code;
  code = ops->stat(above, entry, false, fault);
  ops->drop(above);
  return code;
}

static bool is_root(const struct run *run, uint8_t side, const struct entry *entry) {
  return run_is_same(run, entry, &sync_of(run)->root[side]);
}

// Makes the directory. The parent's handle is held.
static int32_t create(struct spot *spot, struct directory *above, const struct wanted *wanted,
                      struct fault *fault) {
  struct sync *sync = sync_of(spot->run);
  struct node *node = spot->node;
  const struct store_ops *ops = above->store->ops;
  int32_t code = ops->create(above, wanted, &node->directory[RIGHT], fault);
  if (code != COPSE_E_EXISTS) return code;
  struct entry old = {.name = node->name};
  struct fault again = {};
  code = ops->stat(above, &old, false, &again);
  if (code == 0 && old.type == ENTRY_DIRECTORY) {  // made by somebody else a moment ago
    *fault = (struct fault){};
    return ops->enter(above, &old, &node->directory[RIGHT], fault);
  }
  if (code < 0 || !sync->deletes)
    return fault_set(fault, COPSE_E_EXISTS,
                     "something that is no directory has that name and is not replaced");
  *fault = (struct fault){};
  code = ops->remove(above, &old, fault);
  if (code < 0) return code;
  sync_count(sync, COUNT_DELETED, 1);
  return ops->create(above, wanted, &node->directory[RIGHT], fault);
}

static int32_t prepare(struct spot *spot, struct fault *fault) {
  struct run *run = spot->run;
  struct sync *sync = sync_of(run);
  struct node *node = spot->node;
  spot->side = LEFT;
  int32_t code = stat_above(node, LEFT, fault);
  if (code < 0 || !node->parent) return code;
  if (is_root(run, RIGHT, &node->entry[LEFT]))
    return fault_set(fault, COPSE_E_UNSUPPORTED,
                     "the destination lies inside the source; it is left out");
  if (node->side[RIGHT]) return 0;
  if (sync->is_dry) {
    sync_count(sync, COUNT_CREATED, 1);
    struct entry itself = node->entry[LEFT];
    itself.name = (span){};
    sync_row(spot, COPSE_ROW_CREATED, &itself, 0);
    return 0;
  }
  struct directory *from = node->parent->directory[LEFT], *above = node->parent->directory[RIGHT];
  const struct store_ops *ops = above->store->ops;
  struct entry want;
  struct wanted wanted;
  code = from->store->ops->hold(from, fault);
  if (code < 0) return code;
  code = sync_want(spot, from, &node->entry[LEFT], node->name, &want, &wanted, fault);
  from->store->ops->drop(from);
  if (code < 0) return code;
  spot->side = RIGHT;
  code = ops->hold(above, fault);
  if (code < 0) return code;
  code = create(spot, above, &wanted, fault);
  ops->drop(above);
  if (code < 0) return code;
  node->is_made = true;
  changed_in(node);
  changed_in(node->parent);
  sync_count(sync, COUNT_CREATED, 1);
  struct entry itself = node->entry[LEFT];
  itself.name = (span){};
  sync_row(spot, COPSE_ROW_CREATED, &itself, 0);
  return 0;
}

static int32_t enter_root(struct spot *spot, struct fault *fault) {
  struct sync *sync = sync_of(spot->run);
  struct node *node = spot->node;
  for (uint8_t side = 0; side < 2; side++) sync->root[side] = node->entry[side];
  if (spot->run->same_root)
    return fault_set(fault, COPSE_E_ARGUMENT, "both locations are the same directory");
  struct directory *right = node->directory[RIGHT];
  spot->side = RIGHT;
  if (!right || sync->is_dry || !right->store->ops->claim) return 0;
  return right->store->ops->claim(right, fault);
}

static bool enter(struct spot *spot) {
  struct run *run = spot->run;
  struct node *node = spot->node;
  struct fault fault = {};
  if (!node->parent) {
    if (enter_root(spot, &fault) == 0) return !sync_forward(spot);
    task_fail(run->task, &fault, run->store[spot->side].shown, (span){});
    return false;
  }
  if (!node->side[RIGHT] || run->store[LEFT].ops != run->store[RIGHT].ops) return true;
  spot->side = RIGHT;
  if (stat_above(node, RIGHT, &fault) == 0) {
    if (!is_root(run, LEFT, &node->entry[RIGHT])) return true;
    fault_set(&fault, COPSE_E_UNSUPPORTED, "the source lies here; it is left alone");
  }
  spot_error(spot, &fault, (span){});
  return false;
}

// Nothing below the directory is pending any more: it gets what its contents' changes took from it.
static int32_t leave_directory(struct spot *spot, struct fault *fault) {
  struct node *node = spot->node;
  struct sync *sync = sync_of(spot->run);
  struct directory *right = node->directory[RIGHT];
  const struct store_ops *ops = right->store->ops;
  struct entry now = {.name = SPAN(""), .type = ENTRY_DIRECTORY};
  const struct entry *left = &node->entry[LEFT];
  spot->side = RIGHT;
  int32_t code = ops->stat(right, &now, false, fault);
  if (code < 0) return code;
  bool is_same = is_metadata_same(sync, precision_of(spot, left, &now), left, &now);
  bool is_changed = atomic_load_explicit(&node->is_changed, memory_order_relaxed);
  // The time of a directory follows its contents and is set without a word.
  struct entry timeless = now;
  timeless.mtime_ns = left->mtime_ns;
  if (!node->is_made && !is_metadata_same(sync, 1, left, &timeless)) {
    sync_count(sync, COUNT_UPDATED, 1);
    struct entry itself = *left;
    itself.name = (span){};
    sync_row(spot, COPSE_ROW_UPDATED, &itself, 0);
  }
  if (sync->is_dry) return 0;
  if (!is_same) {
    struct entry want = *left;
    want.name = SPAN("");
    want.mode = (left->mode & ~07777u) | (left->mode & kept_bits(sync));
    struct wanted wanted = {.entry = &want, .what = sync->preserve & ~(uint32_t)WANT_XATTR};
    if (!left->mode) wanted.what &= ~(uint32_t)WANT_MODE;
    code = ops->set(right, &wanted, fault);
    if (code < 0) return code;
  }
  return is_changed && ops->settle ? ops->settle(right, fault) : 0;
}

static void leave_spot(struct spot *spot) {
  struct node *node = spot->node;
  struct directory *right = node->directory[RIGHT];
  if (!right || node->nameless) return;
  const struct store_ops *ops = right->store->ops;
  struct fault fault = {};
  spot->side = RIGHT;
  int32_t code = ops->hold(right, &fault);
  if (code == 0) {
    if (!node->broken) code = leave_directory(spot, &fault);
    ops->drop(right);
  }
  if (code < 0) spot_error(spot, &fault, (span){});
  // Made for what an include might have named below it, and nothing was there.
  if (node->is_made && !node->seen && node->parent) {
    struct directory *above = node->parent->directory[RIGHT];
    struct entry itself = {.name = node->name, .type = ENTRY_DIRECTORY};
    if (ops->hold(above, &fault) < 0) return;
    ops->remove(above, &itself, &fault);  // EXISTS: something is in it
    ops->drop(above);
  }
}

static void leave(struct run *run, struct node *node) {
  if (run_over(run)) return;
  struct arena arena;
  struct spot spot = run_spot(run, node, nullptr, &arena);
  // There is no worker with room for the path.
  size_t size = node_path_size(node);
  uint8_t *path = arena_take_bytes(&arena, size + 1);
  if (path) {
    node_path(node, path);
    spot.directory = (span){path, size};
    spot.has_directory = true;
    leave_spot(&spot);
  } else {
    struct fault fault = {};
    fault_set(&fault, COPSE_E_MEMORY, "out of memory");
    task_fail(run->task, &fault, (span){}, (span){});
  }
  run_spot_end(&spot);
}

// ── The end ──

static void summary(struct run *run) {
  struct sync *sync = sync_of(run);
  uint8_t bytes[COUNTS * 16];
  struct record_writer writer = {bytes, sizeof bytes, 0};
  for (uint8_t i = 0; i < COUNTS; i++)
    record_put_number(&writer, (uint16_t)(COPSE_DETAIL_COPIED + i),
                      atomic_load_explicit(&sync->counts[i], memory_order_relaxed));
  copse_row row = {.kind = COPSE_ROW_SUMMARY,
                   .left_size = COPSE_UNKNOWN,
                   .right_size = COPSE_UNKNOWN,
                   .left_mtime_ns = COPSE_UNKNOWN_TIME,
                   .right_mtime_ns = COPSE_UNKNOWN_TIME};
  task_emit(run->task, &row, (span){}, (span){}, (span){bytes, writer.size});
}

static void refuse(struct run *run, const struct fault *fault) {
  task_emit_error(run->task, fault, (span){}, (span){}, run->store[RIGHT].shown);
}

static void keep_all(struct sync *sync) {
  sync_count(sync, COUNT_KEPT, sync->right_only.count + sync->in_the_way.count);
  sync_let_go(&sync->right_only);
  sync_let_go(&sync->in_the_way);
}

// Whether something may be deleted at all; says why not.
static bool may_delete(struct run *run) {
  struct sync *sync = sync_of(run);
  struct fault fault = {};
  if (atomic_load_explicit(&run->unseen, memory_order_relaxed)) {
    fault_set(&fault, COPSE_E_CHANGED,
              "not all of the source was seen, so nothing is deleted; run again");
    refuse(run, &fault);
    return false;
  }
  if (run->walk.entries[LEFT] > 0 || sync->is_forced) return true;
  fault_set(&fault, COPSE_E_ARGUMENT,
            "the source is empty, so nothing is deleted; use force when that is right");
  refuse(run, &fault);
  return false;
}

struct replacement {
  struct job job;
  struct run *run;
  struct late late;
};

static void replace_run(struct job *job, struct worker *worker) {
  struct replacement *replacement = (struct replacement *)job;
  struct run *run = replacement->run;
  struct late *late = &replacement->late;
  struct arena arena;
  struct spot spot = run_spot(run, late->node, worker, &arena);
  struct fault fault = {};
  if (!run_over(run)) {
    int32_t code = node_use(late->node, &spot.side, &fault);
    if (code == 0) {
      code = sync_pair(&spot, late->left, nullptr, &fault);
      node_let_go(late->node);
    }
    if (code < 0) spot_error(&spot, &fault, late->left->name);
  }
  run_spot_end(&spot);
  node_drop(late->node);
  free(replacement);
}

static bool replace_begin(struct run *run) {
  struct sync *sync = sync_of(run);
  bool any = false;
  for (size_t i = 0; i < sync->in_the_way.count; i++) {
    struct replacement *replacement = malloc(sizeof *replacement);
    if (!replacement) {
      struct fault fault = {};
      fault_set(&fault, COPSE_E_MEMORY, "out of memory");
      refuse(run, &fault);
      break;
    }
    *replacement =
        (struct replacement){.job.run = replace_run, .run = run, .late = sync->in_the_way.at[i]};
    sync->in_the_way.at[i].node = nullptr;
    run_add(run, JOB_LEAF, &replacement->job);
    any = true;
  }
  sync_let_go(&sync->in_the_way);
  return any;
}

static bool end(struct run *run, struct worker *) {
  struct sync *sync = sync_of(run);
  switch (sync->stage) {
    case STAGE_COPY:
      sync->stage = STAGE_COUNT;
      if (sync->right_only.count + sync->in_the_way.count > 0 && !may_delete(run)) keep_all(sync);
      if (sync->deletes_max != UINT64_MAX && sync_delete_begin(run, true)) return true;
      [[fallthrough]];
    case STAGE_COUNT:
      sync->stage = STAGE_DELETE;
      if (atomic_load_explicit(&sync->to_delete, memory_order_relaxed) > sync->deletes_max) {
        struct fault fault = {};
        fault_set(&fault, COPSE_E_LIMIT,
                  "%llu entries would be deleted, more than maxDelete, so none is",
                  (unsigned long long)atomic_load_explicit(&sync->to_delete, memory_order_relaxed));
        refuse(run, &fault);
        keep_all(sync);
      }
      if (sync_delete_begin(run, false)) return true;
      [[fallthrough]];
    case STAGE_DELETE:
      sync->stage = STAGE_REPLACE;
      sync_let_go(&sync->right_only);
      if (replace_begin(run)) return true;
      [[fallthrough]];
    case STAGE_REPLACE:
      sync->stage = STAGE_OVER;
      summary(run);
      [[fallthrough]];
    default:
      return false;
  }
}

const struct verb sync_verb = {.name = "sync",
                               .sides = 2,
                               .writes_right = true,
                               .state_size = sizeof(struct sync),
                               .begin = begin,
                               .prepare = prepare,
                               .enter = enter,
                               .leave = leave,
                               .plan = plan,
                               .work = work,
                               .end = end,
                               .close = close};
