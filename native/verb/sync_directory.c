// sync_directory: a directory is made before it is visited, and gets its mode and time when nothing
// below it is pending any more.
#include "verb/sync.h"

int32_t sync_stat_above(struct node *node, uint8_t side, struct fault *fault) {
  struct entry *entry = &node->entry[side];
  if (!node->side[side] || !node->parent || (entry->has & HAS_STAT)) return 0;
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

// Something that is no directory has the name: it goes when deleting is allowed. The parent's
// handle is held.
static int32_t make_way(struct spot *spot, struct directory *above, struct entry *old,
                        struct fault *fault) {
  struct sync *sync = sync_of(spot->run);
  if (!sync->deletes)
    return fault_set(fault, COPSE_E_EXISTS,
                     "something that is no directory has that name and is not replaced");
  if (sync->is_dry) return 0;
  int32_t code = sync_back_up(spot, above, old, spot_path(spot), true, fault);
  if (code == 0) code = above->store->ops->remove(above, old, fault);
  if (code >= 0) sync_count(sync, COUNT_DELETED, 1);
  return code < 0 ? code : 0;
}

// The parent's handle is held.
static int32_t create(struct spot *spot, struct directory *above, const struct wanted *wanted,
                      struct fault *fault) {
  struct node *node = spot->node;
  const struct store_ops *ops = above->store->ops;
  int32_t code = ops->create(above, wanted, &node->directory[RIGHT], fault);
  if (code != COPSE_E_EXISTS) return code;
  struct entry old = {.name = node->name};
  *fault = (struct fault){};
  code = ops->stat(above, &old, false, fault);
  if (code < 0) return code;
  if (old.type == ENTRY_DIRECTORY)
    return fault_set(fault, COPSE_E_EXISTS,
                     "a directory has that name now, or one that differs only in case; run again, "
                     "or rename one of the two");
  code = make_way(spot, above, &old, fault);
  return code < 0 ? code : ops->create(above, wanted, &node->directory[RIGHT], fault);
}

// What the directory is to take the place of, where a plan has to know. ENTRY_NONE: nothing. The
// parent's handle is held, if there is one.
static int32_t look(struct spot *spot, struct directory *above, struct entry *old,
                    struct fault *fault) {
  *old = (struct entry){.name = spot->node->name};
  if (!above) return 0;
  int32_t code = above->store->ops->stat(above, old, false, fault);
  if (code == COPSE_E_NOT_FOUND) {
    *fault = (struct fault){};
    *old = (struct entry){};
    return 0;
  }
  if (code == 0 && old->type != ENTRY_DIRECTORY && sync_of(spot->run)->is_dry)
    code = make_way(spot, above, old, fault);
  return code;
}

static int32_t create_wanted(struct spot *spot, struct directory *above, struct fault *fault) {
  struct node *node = spot->node;
  struct directory *from = node->parent->directory[LEFT];
  struct entry want;
  struct wanted wanted;
  int32_t code = from->store->ops->hold(from, fault);
  if (code < 0) return code;
  code = sync_want(spot, from, &node->entry[LEFT], node->name, &want, &wanted, fault);
  from->store->ops->drop(from);
  if (code < 0) return code;
  spot->side = RIGHT;
  code = create(spot, above, &wanted, fault);
  if (code < 0) return code;
  node->is_made = true;
  sync_changed(node);
  sync_changed(node->parent);
  return 0;
}

int32_t sync_prepare(struct spot *spot, struct fault *fault) {
  struct run *run = spot->run;
  struct sync *sync = sync_of(run);
  struct node *node = spot->node;
  spot->side = LEFT;
  int32_t code = sync_stat_above(node, LEFT, fault);
  if (code < 0 || !node->parent) return code;
  if (is_root(run, RIGHT, &node->entry[LEFT]))
    return fault_set(fault, COPSE_E_UNSUPPORTED,
                     "the destination lies inside the source; it is left out");
  if (node->side[RIGHT]) return 0;
  struct directory *above = node->parent->directory[RIGHT];
  struct entry old = {};
  spot->side = RIGHT;
  if (above) code = above->store->ops->hold(above, fault);
  if (code < 0) return code;
  if (sync->is_dry || sync->plan) code = look(spot, above, &old, fault);
  struct entry itself = node->entry[LEFT];
  itself.name = (span){};
  const struct entry *right = old.type == ENTRY_NONE ? nullptr : &old;
  if (code == 0 && sync->plan) {
    code = sync_allows(spot, COPSE_ROW_CREATED, itself.name, &itself, right, fault);
    if (code == 0) code = fault_set(fault, COPSE_E_CHANGED, "the plan does not have it");
  }
  if (code >= 0 && !sync->is_dry) code = create_wanted(spot, above, fault);
  if (above) above->store->ops->drop(above);
  if (code < 0) return code;
  sync_count(sync, COUNT_CREATED, 1);
  sync_row(spot, COPSE_ROW_CREATED, &itself, right, 0);
  return 0;
}

// Below a directory that the plan does not make there is nothing to do.
bool sync_see(struct spot *spot, const struct pair *pair) {
  struct sync *sync = sync_of(spot->run);
  bool is_made = pair->left && pair->left->type == ENTRY_DIRECTORY &&
                 !(pair->right && pair->right->type == ENTRY_DIRECTORY);
  if (!sync->plan || !is_made) return true;
  return sync_plan_has(sync->plan, COPSE_ROW_CREATED, sync_path(spot, pair->left->name));
}

// Of those that wait for others to be seen there may be as many as there are files. They know their
// names; the order of them is for sync_sweep_kept, where there is something to sweep.
void sync_whole(struct spot *spot) {
  struct node *node = spot->node;
  const struct listing *right = &node->listing[RIGHT];
  if (!sync_of(spot->run)->finds_moves) return;
  for (size_t i = 0; listing_is_names(right) && i < right->count; i++)
    if (store_name_is_ours(order_name(&right->order[i]))) return;
  for (uint8_t side = 0; side < 2; side++)
    if (listing_is_names(&node->listing[side])) listing_keep_names(&node->listing[side]);
}

static int32_t enter_root(struct spot *spot, struct fault *fault) {
  struct sync *sync = sync_of(spot->run);
  struct node *node = spot->node;
  for (uint8_t side = 0; side < 2; side++) sync->root[side] = node->entry[side];
  if (spot->run->same_root)
    return fault_set(fault, COPSE_E_ARGUMENT, "both locations are the same directory");
  node->is_made = spot->run->store[RIGHT].can & IS_NEW;
  struct directory *right = node->directory[RIGHT];
  spot->side = RIGHT;
  int32_t code = right ? sync_inside(spot, fault) : 0;
  if (code < 0 || !right || sync->is_dry || !right->store->ops->claim) return code;
  return right->store->ops->claim(right, fault);
}

bool sync_enter(struct spot *spot) {
  struct run *run = spot->run;
  struct node *node = spot->node;
  struct fault fault = {};
  if (!node->parent) {
    if (enter_root(spot, &fault) == 0) return !sync_forward(spot);
    task_fail(run->task, &fault, run->store[spot->side].shown, (span){});
    return false;
  }
  bool may_be_source = run->store[LEFT].ops->scheme == run->store[RIGHT].ops->scheme;
  if (!node->side[RIGHT] || !(may_be_source || sync_of(run)->backs_up)) return true;
  spot->side = RIGHT;
  if (sync_stat_above(node, RIGHT, &fault) == 0) {
    bool is_backup = sync_is_backup(sync_of(run), &node->entry[RIGHT]);
    if (!is_backup && !is_root(run, LEFT, &node->entry[RIGHT])) return true;
    fault_set(&fault, COPSE_E_UNSUPPORTED, "%s here; it is left alone",
              is_backup ? "what is replaced is kept" : "the source lies");
    node->broken = true;  // so are its mode and time
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
  bool is_same = sync_is_metadata_same(sync, sync_precision(spot, left, &now), left, &now);
  bool is_changed = atomic_load_explicit(&node->is_changed, memory_order_relaxed);
  uint32_t what = sync->preserve & ~(uint32_t)WANT_XATTR;
  // The time of a directory follows its contents and is set without a word.
  struct entry timeless = now;
  timeless.mtime_ns = left->mtime_ns;
  if (!node->is_made && !sync_is_metadata_same(sync, 1, left, &timeless)) {
    struct entry itself = *left;
    itself.name = (span){};
    code = sync_allows(spot, COPSE_ROW_UPDATED, itself.name, &itself, &now, fault);
    if (code < 0) return code;
    if (code > 0) {
      sync_count(sync, COUNT_UPDATED, 1);
      sync_row(spot, COPSE_ROW_UPDATED, &itself, &now, 0);
    } else if (!is_changed) {
      return 0;
    } else {
      what &= WANT_MTIME;  // the plan leaves the rest as it is
    }
  } else if (sync->plan && !is_changed) {
    return 0;  // no step of the plan did anything here
  }
  if (sync->is_dry) return 0;
  if (!is_same) {
    struct entry want = *left;
    want.name = SPAN("");
    want.mode = (left->mode & ~07777u) | (left->mode & sync_kept_bits(sync));
    struct wanted wanted = {.entry = &want, .what = what};
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
    if (!node->broken) {
      sync_sweep_kept(spot);
      code = leave_directory(spot, &fault);
    }
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

void sync_leave(struct run *run, struct node *node) {
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
    run_out_of_memory(run);
  }
  run_spot_end(&spot);
}
