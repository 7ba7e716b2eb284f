// sync_sweep: what earlier runs left of ours in the destination goes. A temporary that nobody
// writes to goes at once. A partial (of a large file, to go on with) stays until its directory is
// done, and longer only when its file is not there yet: the next run will want it.
#include "verb/sync.h"

int32_t sync_sweep(struct spot *spot, uint8_t side, struct entry *entry, struct fault *fault) {
  struct directory *directory = spot->node->directory[side];
  const struct store_ops *ops = directory->store->ops;
  if (sync_of(spot->run)->is_dry || !ops->is_stale || !ops->is_stale(directory, entry, false))
    return 0;
  spot->side = side;
  int32_t code = ops->remove(directory, entry, fault);
  return code == COPSE_E_NOT_FOUND ? 0 : code;  // somebody else swept it
}

// The partial of that name, unless somebody is at it. What cannot be taken away does no harm.
static void remove_partial(struct directory *directory, span name) {
  const struct store_ops *ops = directory->store->ops;
  struct entry partial = {.name = name, .type = ENTRY_FILE};
  struct fault ignored = {};
  if (ops->is_stale(directory, &partial, true)) (void)!ops->remove(directory, &partial, &ignored);
}

// The file of the source that the partial is of; nullptr: none.
static struct entry *source_of(struct spot *spot, const struct store_ops *ops, span partial,
                               struct entry *room) {
  struct listing *listing = &spot->node->listing[LEFT];
  for (size_t i = 0; i < listing->count; i++) {
    struct entry *entry = listing_entry(listing, i, room);
    if (entry->type == ENTRY_FILE && span_equal(ops->partial(entry->name, spot->arena), partial))
      return entry;
  }
  return nullptr;
}

static bool is_there(struct spot *spot, struct entry *left) {
  struct directory *from = spot->node->directory[LEFT], *right = spot->node->directory[RIGHT];
  struct entry made = {.name = left->name};
  struct fault ignored = {};
  if (!(left->has & HAS_STAT) && from->store->ops->hold(from, &ignored) == 0) {
    from->store->ops->stat(from, left, false, &ignored);
    from->store->ops->drop(from);
  }
  ignored = (struct fault){};
  if (right->store->ops->stat(right, &made, false, &ignored) < 0) return false;
  return (left->has & HAS_STAT) && made.type == ENTRY_FILE && made.size == left->size &&
         sync_is_metadata_same(sync_of(spot->run), sync_precision(spot, left, &made), left, &made);
}

void sync_sweep_kept(struct spot *spot) {
  struct sync *sync = sync_of(spot->run);
  struct directory *right = spot->node->directory[RIGHT];
  const struct store_ops *ops = right->store->ops;
  struct listing *listing = &spot->node->listing[RIGHT];
  if (sync->is_dry || !ops->partial || !ops->is_stale) return;
  for (size_t i = 0; i < listing->count; i++) {
    struct entry room, of_left;
    const struct entry *entry = listing_entry(listing, i, &room);
    if (entry->type != ENTRY_FILE || !store_name_is_ours(entry->name)) continue;
    struct entry *left = source_of(spot, ops, entry->name, &of_left);
    // To copy is not to know all that may still come here.
    bool is_idle = left ? is_there(spot, left) : sync->deletes;
    if (is_idle) remove_partial(right, entry->name);
  }
}

void sync_sweep_one(struct spot *spot, span name) {
  struct directory *right = spot->node->directory[RIGHT];
  const struct store_ops *ops = right ? right->store->ops : nullptr;
  if (!ops || sync_of(spot->run)->is_dry || !ops->partial || !ops->is_stale) return;
  span partial = ops->partial(name, spot->arena);
  if (partial.at) remove_partial(right, partial);
}
