// sync_two: both trees are walked in step and each pair is held against what it was when both were
// last the same. Asked for steps, each pair that is to become the same has a row with a direction;
// of two versions of one name one gets another name at once, so that both can go to the other side.
// Asked to keep, what both have in common now becomes the new state.
//
// What was not seen, be it filtered or an error, stays known as it was: it is neither deleted nor
// taken for new when it is seen again.
#include "verb/sync_two.h"

#include <stdlib.h>

#include "base/record.h"
#include "engine/runtime.h"
#include "verb/pump.h"

struct two {
  struct sync sync;  // first: what it says of options and metadata is used as it is
  struct two_state *state;
  enum copse_two found;
  enum copse_conflict conflict;
  bool keeps;
  _Atomic bool is_changed, is_unseen[2];
};

// Of one node.
struct site {
  struct two_block known;
  _Atomic uint8_t *looked[2];  // by place in the node's order: all is known of it
  _Atomic bool stays;  // of a directory that one side lacks: something in it is not to be deleted
  _Atomic bool needs;  // something in it goes to the other side
};

static struct two *two_of(const struct run *run) { return run->state; }

static uint32_t mode_bits(const struct sync *sync) {
  return sync->preserve & WANT_MODE ? sync_kept_bits(sync) : 0;
}

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory");
}

static void mark(_Atomic bool *flag) { atomic_store_explicit(flag, true, memory_order_relaxed); }
static bool is_marked(const _Atomic bool *flag) {
  return atomic_load_explicit(flag, memory_order_relaxed);
}

// ── Beginning ──

static int32_t begin(struct run *run, struct fault *fault) {
  struct two *two = two_of(run);
  struct sync *sync = &two->sync;
  span request = {run->task->request, run->task->request_len};
  constexpr uint32_t NEEDED = CAN_WRITE | CAN_DELETE | CAN_RENAME | CAN_MTIME;
  run->keeps_entries = true;
  sync_options(run);
  sync->by = COPSE_BY_STAT;
  two->keeps = record_number(request, COPSE_KEY_TWO_KEEP, 0);
  two->conflict = (enum copse_conflict)record_number(request, COPSE_KEY_CONFLICT, 0);
  for (uint8_t side = 0; side < 2; side++)
    if ((run->store[side].can & NEEDED) != NEEDED)
      return fault_set(fault, COPSE_E_UNSUPPORTED,
                       "%s locations cannot be synced both ways: name directories",
                       run->store[side].ops->scheme);
  int32_t code =
      two_state_open(run->task->runtime->io, record_text(request, COPSE_KEY_TWO_STATE),
                     record_text(request, COPSE_KEY_TWO_PAIR), &two->state, &two->found, fault);
  if (code == 0 && two->keeps) code = two_state_begin(two->state, fault);
  if (code == 0 && record_number(request, COPSE_KEY_HAS_PLAN, 0))
    code = sync_plan_read(request, &sync->plan, fault);
  return code;
}

static void close(struct run *run) {
  struct two *two = two_of(run);
  two_state_close(two->state);
  sync_plan_free(two->sync.plan);
  if (two->sync.is_ready) mutex_end(&two->sync.lock);
}

// ── What is known ──

static const struct two_record *record_of(const struct two_block *known, span name) {
  size_t low = 0, high = known->count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    int order = span_compare(known->records[middle].name, name);
    if (order == 0) return &known->records[middle];
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return nullptr;
}

static void looked(const struct node *node, uint8_t side, span name) {
  const struct site *site = node->state;
  size_t at;
  if (node_find(node, side, name, nullptr, &at))
    atomic_store_explicit(&site->looked[side][at], 1, memory_order_relaxed);
}

static void site_free(struct site *site) {
  two_block_free(&site->known);
  for (uint8_t side = 0; side < 2; side++) free((void *)site->looked[side]);
  free(site);
}

static int32_t site_new(struct spot *spot, struct fault *fault) {
  struct node *node = spot->node;
  struct site *site = calloc(1, sizeof *site);
  if (!site) return no_memory(fault);
  for (uint8_t side = 0; side < 2; side++) {
    site->looked[side] = calloc(node->listing[side].count + 1, sizeof *site->looked[side]);
    if (site->looked[side]) continue;
    site_free(site);
    return no_memory(fault);
  }
  int32_t code = two_state_find(two_of(spot->run)->state, spot_path(spot), &site->known, fault);
  if (code < 0)
    site_free(site);
  else
    node->state = site;
  return code;
}

// ── Rows ──

// `from` is what goes to the other side, or is deleted; `to` is what it takes the place of.
static void tell(struct spot *spot, uint8_t kind, span path, const struct entry *from,
                 const struct entry *to, uint64_t toward) {
  copse_row row = {.kind = kind,
                   .type = (uint8_t)(from->type | (to ? to->type << 4 : 0)),
                   .left_size = from->size,
                   .right_size = to ? to->size : COPSE_UNKNOWN,
                   .left_mtime_ns = from->mtime_ns,
                   .right_mtime_ns = to ? to->mtime_ns : COPSE_UNKNOWN_TIME,
                   .extra = toward};
  task_emit(spot->run->task, &row, (span){}, path, (span){});
}

// The direction in which `from`'s side changes the other.
static uint64_t toward_from(uint8_t from) {
  return from == LEFT ? COPSE_TOWARD_RIGHT : COPSE_TOWARD_LEFT;
}

static void tell_conflict(struct spot *spot, span path, const struct entry *left,
                          const struct entry *right, enum copse_conflict what, span as) {
  copse_row row = {.kind = COPSE_ROW_CONFLICT,
                   .type = (uint8_t)((left ? left->type : 0) | (right ? right->type << 4 : 0)),
                   .reason = (uint16_t)what,
                   .left_size = left ? left->size : COPSE_UNKNOWN,
                   .right_size = right ? right->size : COPSE_UNKNOWN,
                   .left_mtime_ns = left ? left->mtime_ns : COPSE_UNKNOWN_TIME,
                   .right_mtime_ns = right ? right->mtime_ns : COPSE_UNKNOWN_TIME};
  struct record_writer writer = {.capacity = as.size + 16};
  writer.at = as.size ? arena_take_bytes(spot->arena, writer.capacity) : nullptr;
  if (writer.at) record_put_text(&writer, COPSE_DETAIL_AS, as);
  task_emit(spot->run->task, &row, (span){}, path, (span){writer.at, writer.at ? writer.size : 0});
}

// ── Pairs of which neither is a directory ──

static int32_t target_of(struct spot *spot, uint8_t side, struct entry *entry,
                         struct fault *fault) {
  struct directory *directory = spot->node->directory[side];
  if (entry->has & HAS_TARGET) return 0;
  spot->side = side;
  return directory->store->ops->target(directory, entry, spot->arena, fault);
}

static int32_t are_targets_same(struct spot *spot, struct entry *left, struct entry *right,
                                bool *is_same, struct fault *fault) {
  int32_t code = target_of(spot, LEFT, left, fault);
  if (code == 0) code = target_of(spot, RIGHT, right, fault);
  *is_same = code == 0 && span_equal(left->target, right->target);
  return code;
}

// One side's entry is to be on the other side too: the step that `sync` will find there to do.
static int32_t bring(struct spot *spot, span path, struct entry *pair[2], uint8_t from,
                     struct fault *fault) {
  const struct sync *sync = sync_of(spot->run);
  struct entry *source = pair[from], *old = pair[!from];
  uint8_t kind = COPSE_ROW_COPIED;
  if (old && old->type == source->type && source->type == ENTRY_FILE) {
    enum sync_action action = sync_decide(sync, 1, source, old, false, false);
    if (action == ACTION_NOTHING) return 0;
    if (action == ACTION_SET) kind = COPSE_ROW_UPDATED;
  } else if (old && old->type == source->type) {
    bool is_same;
    int32_t code = are_targets_same(spot, pair[LEFT], pair[RIGHT], &is_same, fault);
    if (code < 0) return code;
    if (is_same && sync_is_metadata_same(sync, 1, source, old)) return 0;
    if (is_same) kind = COPSE_ROW_UPDATED;
  }
  tell(spot, kind, path, source, old, toward_from(from));
  struct site *site = spot->node->state;
  mark(&site->stays);
  mark(&site->needs);
  return 0;
}

// The older of two, or the one that has to give way: it gets a name of its own on its side.
static int32_t give_way(struct spot *spot, struct directory *directory, uint8_t side,
                        const struct entry *entry, span *name, struct fault *fault) {
  constexpr uint32_t TRIES = 1000;
  const struct store_ops *ops = directory->store->ops;
  uint8_t *into = arena_take_bytes(spot->arena, TWO_NAME_MAX + 1);
  if (!into) return no_memory(fault);
  int32_t code = COPSE_E_EXISTS;
  spot->side = side;
  for (uint32_t number = 1; code == COPSE_E_EXISTS && number < TRIES; number++) {
    *fault = (struct fault){};
    *name = two_name(entry->name, side, entry->mtime_ns, number, into);
    if (sync_of(spot->run)->is_dry) return 0;
    code = ops->rename(directory, entry, directory, *name, fault);
  }
  return code;
}

// What is done while it is decided is done when a plan has it and both sides are what they were.
static bool is_planned(const struct spot *spot, uint8_t kind, span path, const struct entry *left,
                       const struct entry *right) {
  struct fault ignored = {};  // whoever gave the plan sees what came of it
  struct plan *plan = sync_of(spot->run)->plan;
  return sync_allows_path(plan, kind, path, (span){}, left, right, &ignored) > 0;
}

// The same content under two times or modes: the newer one's for both.
static int32_t set_alike(struct spot *spot, span path, struct entry *pair[2], struct fault *fault) {
  const struct sync *sync = sync_of(spot->run);
  uint8_t from = pair[LEFT]->mtime_ns >= pair[RIGHT]->mtime_ns ? LEFT : RIGHT;
  if (sync_is_metadata_same(sync, 1, pair[from], pair[!from])) return 0;
  if (!is_planned(spot, COPSE_ROW_UPDATED, path, pair[from], pair[!from])) return 0;
  struct directory *directory = spot->node->directory[!from];
  struct entry want;
  struct wanted wanted;
  int32_t code = sync_want(spot, nullptr, pair[from], pair[from]->name, &want, &wanted, fault);
  spot->side = !from;
  if (code == 0 && !sync->is_dry) code = directory->store->ops->set(directory, &wanted, fault);
  if (code < 0) return code;
  mark(&two_of(spot->run)->is_changed);
  tell(spot, COPSE_ROW_UPDATED, path, pair[from], pair[!from], 0);  // it is done
  return 0;
}

static int32_t are_same(struct spot *spot, struct entry *pair[2], bool *is_same,
                        struct fault *fault) {
  *is_same = false;
  if (pair[LEFT]->type != pair[RIGHT]->type) return 0;
  if (pair[LEFT]->type == ENTRY_LINK)
    return are_targets_same(spot, pair[LEFT], pair[RIGHT], is_same, fault);
  if (pair[LEFT]->size != pair[RIGHT]->size) return 0;
  // Two trees that never met are believed by size and time, as by any sync. What both changed since
  // is read: two programs may well have written at the same tick of the clock.
  *is_same = run_is_same(spot->run, pair[LEFT], pair[RIGHT]) ||
             (two_of(spot->run)->found != COPSE_TWO_KNOWN &&
              pair[LEFT]->mtime_ns == pair[RIGHT]->mtime_ns);
  return *is_same ? 0 : pump_compare(spot, pair[LEFT], pair[RIGHT], is_same, fault);
}

static int32_t settle_conflict(struct spot *spot, span path, struct entry *pair[2],
                               struct fault *fault) {
  struct two *two = two_of(spot->run);
  bool is_same;
  int32_t code = are_same(spot, pair, &is_same, fault);
  if (code < 0) return code;
  if (is_same) return set_alike(spot, path, pair, fault);
  uint8_t winner = pair[LEFT]->mtime_ns >= pair[RIGHT]->mtime_ns ? LEFT : RIGHT;
  if (two->conflict == COPSE_CONFLICT_LEFT) winner = LEFT;
  if (two->conflict == COPSE_CONFLICT_RIGHT) winner = RIGHT;
  enum copse_conflict what = winner == LEFT ? COPSE_CONFLICT_LEFT : COPSE_CONFLICT_RIGHT;
  if (two->conflict != COPSE_CONFLICT_BOTH) {
    tell_conflict(spot, path, pair[LEFT], pair[RIGHT], what, (span){});
    tell(spot, COPSE_ROW_COPIED, path, pair[winner], pair[!winner], toward_from(winner));
    return 0;
  }
  if (!is_planned(spot, COPSE_ROW_CONFLICT, path, pair[LEFT], pair[RIGHT])) return 0;
  struct entry *other = pair[!winner];
  span name;
  code = give_way(spot, spot->node->directory[!winner], !winner, other, &name, fault);
  if (code < 0) return code;
  span as = sync_path(spot, name);
  if (!as.at) return no_memory(fault);
  tell_conflict(spot, path, pair[LEFT], pair[RIGHT], COPSE_CONFLICT_BOTH, as);
  tell(spot, COPSE_ROW_COPIED, path, pair[winner], nullptr, toward_from(winner));
  tell(spot, COPSE_ROW_COPIED, as, other, nullptr, toward_from(!winner));
  return 0;
}

static int32_t decide(struct spot *spot, struct entry *pair[2], struct fault *fault) {
  struct site *site = spot->node->state;
  uint32_t bits = mode_bits(sync_of(spot->run));
  span name = (pair[LEFT] ? pair[LEFT] : pair[RIGHT])->name;
  const struct two_record *record = record_of(&site->known, name);
  enum two_verdict verdict = two_decide(two_change(record, LEFT, pair[LEFT], bits),
                                        two_change(record, RIGHT, pair[RIGHT], bits));
  if (verdict == TWO_NOTHING) return 0;
  span path = sync_path(spot, name);
  if (!path.at) return no_memory(fault);
  switch (verdict) {
    case TWO_KEEP_LEFT:
    case TWO_KEEP_RIGHT:
      tell_conflict(spot, path, pair[LEFT], pair[RIGHT],
                    verdict == TWO_KEEP_LEFT ? COPSE_CONFLICT_LEFT : COPSE_CONFLICT_RIGHT,
                    (span){});
      return bring(spot, path, pair, verdict == TWO_KEEP_LEFT ? LEFT : RIGHT, fault);
    case TWO_TO_RIGHT:
    case TWO_TO_LEFT:
      return bring(spot, path, pair, verdict == TWO_TO_RIGHT ? LEFT : RIGHT, fault);
    case TWO_DELETE_LEFT:
      tell(spot, COPSE_ROW_DELETED, path, pair[LEFT], nullptr, COPSE_TOWARD_LEFT);
      return 0;
    case TWO_DELETE_RIGHT:
      tell(spot, COPSE_ROW_DELETED, path, pair[RIGHT], nullptr, COPSE_TOWARD_RIGHT);
      return 0;
    default:
      return settle_conflict(spot, path, pair, fault);
  }
}

static struct step plan(const struct run *, const struct pair *pair) {
  bool descend = (pair->left && pair->left->type == ENTRY_DIRECTORY) ||
                 (pair->right && pair->right->type == ENTRY_DIRECTORY);
  // What is to be done about a directory shows when all below it was looked at.
  return (struct step){
      .pair = *pair, .kind = descend ? STEP_NONE : STEP_COMPARE, .descend = descend};
}

static int32_t work(struct spot *spot, const struct step *step, struct fault *fault) {
  struct two *two = two_of(spot->run);
  struct entry *pair[2] = {step->pair.left, step->pair.right};
  span name = (pair[LEFT] ? pair[LEFT] : pair[RIGHT])->name;
  bool is_ours = store_name_is_ours(name);
  spot->files++;
  for (uint8_t side = 0; side < 2; side++) {
    if (!pair[side]) continue;
    if (is_ours) {
      int32_t code = sync_sweep(spot, side, pair[side], fault);
      if (code < 0) return code;
      continue;
    }
    spot->side = side;
    if (pair[side]->type == ENTRY_NONE) {
      mark(&two->is_unseen[side]);
      return node_trouble(spot->node, side, pair[side], fault);
    }
    int32_t code = sync_stat(spot, pair[side], side, fault);
    if (code < 0) return code;
  }
  if (is_ours) return 0;
  bool is_other = (pair[LEFT] && pair[LEFT]->type == ENTRY_OTHER) ||
                  (pair[RIGHT] && pair[RIGHT]->type == ENTRY_OTHER);
  bool is_directory = (pair[LEFT] && pair[LEFT]->type == ENTRY_DIRECTORY) ||
                      (pair[RIGHT] && pair[RIGHT]->type == ENTRY_DIRECTORY);
  if (is_directory)
    return fault_set(fault, COPSE_E_CHANGED, "it has become a directory; run again");
  if (is_other) {
    if (two->keeps) return 0;
    copse_row row = {.kind = COPSE_ROW_SKIPPED, .reason = COPSE_SKIPPED_SPECIAL};
    spot_emit(spot, &row, name, (span){});
    return 0;
  }
  for (uint8_t side = 0; side < 2; side++)
    if (pair[side]) looked(spot->node, side, name);
  return two->keeps ? 0 : decide(spot, pair, fault);
}

// ── Directories ──

static int32_t enter_root(struct spot *spot, struct fault *fault) {
  struct two *two = two_of(spot->run);
  struct node *node = spot->node;
  for (uint8_t side = 0; side < 2; side++) two->sync.root[side] = node->entry[side];
  if (spot->run->same_root)
    return fault_set(fault, COPSE_E_ARGUMENT, "both locations are the same directory");
  for (uint8_t side = 0; side < 2 && !two->sync.is_dry; side++) {
    struct directory *root = node->directory[side];
    if (!root || !root->store->ops->claim) continue;
    spot->side = side;
    int32_t code = root->store->ops->claim(root, fault);
    if (code < 0) return code;
  }
  return 0;
}

static int32_t enter_below(struct spot *spot, struct fault *fault) {
  const struct two *two = two_of(spot->run);
  struct node *node = spot->node;
  for (uint8_t side = 0; side < 2; side++) {
    spot->side = side;
    int32_t code = sync_stat_above(node, side, fault);
    if (code < 0) return code;
    if (node->side[side] && run_is_same(spot->run, &node->entry[side], &two->sync.root[!side]))
      return fault_set(fault, COPSE_E_ARGUMENT, "one of the two places lies inside the other");
  }
  return 0;
}

static bool enter(struct spot *spot) {
  struct fault fault = {};
  spot->side = LEFT;
  int32_t code = spot->node->parent ? enter_below(spot, &fault) : enter_root(spot, &fault);
  if (code == 0) code = site_new(spot, &fault);
  if (code == 0) return true;
  task_fail(spot->run->task, &fault, spot->run->store[spot->side].shown, spot_path(spot));
  return false;
}

static void failed(struct spot *spot, const struct fault *) {
  mark(&two_of(spot->run)->is_unseen[spot->side]);
}

// What stands in the directory's way on a side that lacks it; nullptr: nothing.
static int32_t in_the_way(struct node *node, uint8_t side, struct entry **out,
                          struct fault *fault) {
  *out = nullptr;
  struct entry *entry = node_find(node->parent, side, node->name, nullptr, nullptr);
  if (!entry) return 0;
  struct directory *above = node->parent->directory[side];
  const struct store_ops *ops = above->store->ops;
  int32_t code = ops->hold(above, fault);
  if (code < 0) return code;
  if (!(entry->has & HAS_STAT)) code = ops->stat(above, entry, false, fault);
  ops->drop(above);
  if (code == 0) *out = entry;
  return code;
}

// A directory here and something else there, both of them new.
static int32_t part_ways(struct spot *spot, uint8_t side, struct entry *other,
                         struct fault *fault) {
  struct node *node = spot->node;
  struct directory *above = node->parent->directory[!side];
  const struct store_ops *ops = above->store->ops;
  span path = spot_path(spot), name;
  const struct entry *pair[2];
  pair[side] = &node->entry[side];
  pair[!side] = other;
  if (!is_planned(spot, COPSE_ROW_CONFLICT, path, pair[LEFT], pair[RIGHT])) return 0;
  int32_t code = ops->hold(above, fault);
  if (code < 0) return code;
  code = give_way(spot, above, !side, other, &name, fault);
  ops->drop(above);
  if (code < 0) return code;
  size_t before = path.size - node->name.size;
  uint8_t *as = arena_take_bytes(spot->arena, before + name.size);
  if (!as) return no_memory(fault);
  memcpy(as, path.at, before);
  memcpy(as + before, name.at, name.size);
  span moved = {as, before + name.size};
  tell_conflict(spot, path, pair[LEFT], pair[RIGHT], COPSE_CONFLICT_BOTH, moved);
  tell(spot, COPSE_ROW_CREATED, path, &node->entry[side], nullptr, toward_from(side));
  tell(spot, COPSE_ROW_COPIED, moved, other, nullptr, toward_from(!side));
  return 0;
}

static int32_t leave_clash(struct spot *spot, uint8_t side, const struct two_record *record,
                           struct entry *other, struct fault *fault) {
  struct node *node = spot->node;
  const struct site *site = node->state;
  const struct entry *own = &node->entry[side];
  uint32_t bits = mode_bits(sync_of(spot->run));
  span path = spot_path(spot);
  looked(node->parent, !side, node->name);
  spot->side = !side;
  if (other->type == ENTRY_OTHER)
    return fault_set(fault, COPSE_E_EXISTS,
                     "a pipe, socket or device has the name of a directory of the other side");
  if (record && record->type == other->type && two_change(record, !side, other, bits) == TWO_SAME) {
    tell(spot, COPSE_ROW_CREATED, path, own, other, toward_from(side));
    return 0;
  }
  bool is_old = record && record->type == ENTRY_DIRECTORY;
  if (!is_old || is_marked(&site->stays)) return part_ways(spot, side, other, fault);
  tell(spot, COPSE_ROW_DELETED, path, own, nullptr, toward_from(!side));
  tell(spot, COPSE_ROW_COPIED, path, other, nullptr, toward_from(!side));
  return 0;
}

// The directory of `side` only.
static int32_t leave_one_sided(struct spot *spot, uint8_t side, struct fault *fault) {
  struct node *node = spot->node;
  struct site *site = node->state, *above = node->parent->state;
  const struct two_record *record = record_of(&above->known, node->name);
  struct entry *other;
  spot->side = !side;
  int32_t code = in_the_way(node, !side, &other, fault);
  if (code < 0) return code;
  if (other) return leave_clash(spot, side, record, other, fault);
  bool was_there = record && record->type == ENTRY_DIRECTORY;
  bool stays = is_marked(&site->stays), needs = is_marked(&site->needs);
  if (was_there && !stays && node->seen) {
    tell(spot, COPSE_ROW_DELETED, spot_path(spot), &node->entry[side], nullptr, toward_from(!side));
    return 0;
  }
  mark(&above->stays);
  if (!needs && (was_there || !node->seen)) return 0;
  mark(&above->needs);
  tell(spot, COPSE_ROW_CREATED, spot_path(spot), &node->entry[side], nullptr, toward_from(side));
  return 0;
}

static void leave_both(struct spot *spot) {
  struct node *node = spot->node;
  const struct site *above = node->parent->state;
  uint32_t bits = mode_bits(sync_of(spot->run));
  const struct entry *pair[2] = {&node->entry[LEFT], &node->entry[RIGHT]};
  if (!node->seen || ((pair[LEFT]->mode ^ pair[RIGHT]->mode) & bits) == 0) return;
  const struct two_record *record = record_of(&above->known, node->name);
  uint8_t from = two_change(record, LEFT, pair[LEFT], bits) == TWO_SAME ? RIGHT : LEFT;
  tell(spot, COPSE_ROW_UPDATED, spot_path(spot), pair[from], pair[!from], toward_from(from));
}

// ── What both have in common ──

static bool is_same_record(const struct two_record *left, const struct two_record *right) {
  bool is_same = left->type == right->type && left->mode[LEFT] == right->mode[LEFT] &&
                 left->mode[RIGHT] == right->mode[RIGHT];
  if (!is_same || left->type == ENTRY_DIRECTORY) return is_same;
  return left->size == right->size && left->mtime_ns[LEFT] == right->mtime_ns[LEFT] &&
         left->mtime_ns[RIGHT] == right->mtime_ns[RIGHT];
}

static struct two_record record_now(const struct entry *left, const struct entry *right) {
  bool is_directory = left->type == ENTRY_DIRECTORY;
  struct two_record record = {
      .name = left->name, .type = left->type, .size = is_directory ? 0 : left->size};
  const struct entry *pair[2] = {left, right};
  for (uint8_t side = 0; side < 2; side++) {
    record.mtime_ns[side] = is_directory ? 0 : pair[side]->mtime_ns;
    record.mode[side] = pair[side]->mode & 07777;
  }
  return record;
}

// A directory that was not visited keeps what was known below it.
static int32_t carry_below(struct spot *spot, const struct two_record *old, struct entry *pair[2],
                           const bool is_looked[2], struct fault *fault) {
  struct two *two = two_of(spot->run);
  if (!two->keeps || old->type != ENTRY_DIRECTORY) return 0;
  for (uint8_t side = 0; side < 2; side++)
    if (pair[side] && pair[side]->type == ENTRY_DIRECTORY && is_looked[side]) return 0;
  span path = sync_path(spot, old->name);
  return path.at ? two_state_carry(two->state, path, fault) : no_memory(fault);
}

static int32_t pair_now(struct spot *spot, size_t *old, struct entry *pair[2],
                        const bool is_looked[2], struct two_record *into, size_t *count,
                        struct fault *fault) {
  struct site *site = spot->node->state;
  struct two *two = two_of(spot->run);
  span name = (pair[LEFT] ? pair[LEFT] : pair[RIGHT])->name;
  const struct two_block *all = &site->known;
  const struct two_record *known = nullptr;
  // Both sides lack what is passed over.
  for (; *old < all->count && span_compare(all->records[*old].name, name) < 0; ++*old)
    mark(&two->is_changed);
  if (*old < all->count && span_equal(all->records[*old].name, name))
    known = &all->records[(*old)++];
  bool is_all_looked = (!pair[LEFT] || is_looked[LEFT]) && (!pair[RIGHT] || is_looked[RIGHT]);
  if (!is_all_looked) mark(&site->stays);
  if (is_all_looked && pair[LEFT] && pair[RIGHT] &&
      two_agree(pair[LEFT], pair[RIGHT], mode_bits(&two->sync))) {
    into[*count] = record_now(pair[LEFT], pair[RIGHT]);
    if (!known || !is_same_record(known, &into[*count])) mark(&two->is_changed);
    ++*count;
    return 0;
  }
  if (!known) return 0;
  into[(*count)++] = *known;
  return carry_below(spot, known, pair, is_looked, fault);
}

// Goes through the pairs once more, now that all is known of them.
static int32_t leave_pairs(struct spot *spot, struct fault *fault) {
  struct two *two = two_of(spot->run);
  struct node *node = spot->node;
  struct site *site = node->state;
  size_t most = node->listing[LEFT].count + node->listing[RIGHT].count, count = 0;
  struct two_record *records = malloc((most + 1) * sizeof *records);
  if (!records) return no_memory(fault);
  size_t old = 0;
  int32_t code = 0;
  struct merge merge = {};
  struct entry *pair[2];
  node->at[LEFT] = node->at[RIGHT] = 0;
  while (code == 0 && node_next(node, &merge, &pair[LEFT], &pair[RIGHT])) {
    bool is_looked[2] = {};
    for (uint8_t side = 0; side < 2; side++)
      if (pair[side])
        is_looked[side] =
            atomic_load_explicit(&site->looked[side][node->at[side] - 1], memory_order_relaxed);
    code = pair_now(spot, &old, pair, is_looked, records, &count, fault);
  }
  if (old < site->known.count) mark(&two->is_changed);
  if (code == 0 && two->keeps)
    code = two_state_add(two->state, spot_path(spot), records, count, fault);
  free(records);
  return code;
}

// What the directory is goes to where its parent listed it. Others may be reading names there.
static void show_above(struct node *node) {
  for (uint8_t side = 0; side < 2; side++) {
    struct entry *entry =
        node->side[side] ? node_find(node->parent, side, node->name, nullptr, nullptr) : nullptr;
    if (!entry) continue;
    entry->mode = node->entry[side].mode;
    looked(node->parent, side, node->name);
  }
}

static int32_t leave_directory(struct spot *spot, struct fault *fault) {
  struct node *node = spot->node;
  int32_t code = leave_pairs(spot, fault);
  if (code < 0 || !node->parent || !node->parent->state) return code;
  show_above(node);
  if (two_of(spot->run)->keeps) return 0;
  if (node->side[LEFT] && node->side[RIGHT]) {
    leave_both(spot);
    return 0;
  }
  return leave_one_sided(spot, node->side[LEFT] ? LEFT : RIGHT, fault);
}

// A state that lacks something takes nobody's place: the old one says less, and nothing wrong.
static void not_kept(struct run *run, const struct fault *fault) {
  span request = {run->task->request, run->task->request_len};
  task_fail(run->task, fault, record_text(request, COPSE_KEY_TWO_STATE), (span){});
}

static void leave(struct run *run, struct node *node) {
  struct site *site = node->state;
  if (!site) return;
  struct arena arena;
  struct spot spot = run_spot(run, node, nullptr, &arena);
  // There is no worker with room for the path.
  size_t size = node_path_size(node);
  uint8_t *path = arena_take_bytes(&arena, size + 1);
  struct fault fault = {};
  int32_t code = path ? 0 : no_memory(&fault);
  if (path) {
    node_path(node, path);
    spot.directory = (span){path, size};
    spot.has_directory = true;
  }
  if (code == 0 && !node->broken && !run_over(run)) code = leave_directory(&spot, &fault);
  if (code < 0 && two_of(run)->keeps)
    not_kept(run, &fault);
  else if (code < 0)
    spot_error(&spot, &fault, (span){});
  run_spot_end(&spot);
  node->state = nullptr;
  site_free(site);
}

// ── The end ──

static void summary(struct run *run) {
  struct two *two = two_of(run);
  uint32_t seen = is_marked(&two->is_changed) ? COPSE_TWO_SEEN_CHANGED : 0;
  for (uint8_t side = 0; side < 2; side++) {
    if (is_marked(&two->is_unseen[side])) seen |= COPSE_TWO_SEEN_UNSEEN_LEFT << side;
    if (run->walk.entries[side] == 0) seen |= COPSE_TWO_SEEN_EMPTY_LEFT << side;
  }
  if (is_marked(&run->unseen)) seen |= COPSE_TWO_SEEN_UNSEEN_LEFT | COPSE_TWO_SEEN_UNSEEN_RIGHT;
  uint8_t bytes[32];
  struct record_writer writer = {bytes, sizeof bytes, 0};
  record_put_number(&writer, COPSE_DETAIL_TWO_STATE, two->found | seen << 8);
  run_summary(run->task, (span){bytes, writer.size});
}

static bool end(struct run *run, struct worker *) {
  struct two *two = two_of(run);
  struct fault fault = {};
  if (two->keeps && two_state_end(two->state, &fault) < 0) not_kept(run, &fault);
  summary(run);
  return false;
}

const struct verb sync_two_verb = {.name = "two-way sync",
                                   .sides = 2,
                                   .trees_only = true,
                                   .writes_right = true,
                                   .state_size = sizeof(struct two),
                                   .begin = begin,
                                   .enter = enter,
                                   .failed = failed,
                                   .leave = leave,
                                   .plan = plan,
                                   .work = work,
                                   .end = end,
                                   .close = close};
