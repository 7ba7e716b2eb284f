// sync_twins: files with several names stay one file. The name that is met first is copied as any
// other file; the further ones wait until everything is copied and become names of what it became.
#include <stdlib.h>

#include "verb/sync.h"

struct twin {
  uint64_t inode, device;
  struct node *node;  // held; nullptr: an empty place
  span name;          // of the first one, in that node's listing
  bool has_come;      // it has the content on the right
};

struct twins {
  mutex lock;
  struct twin *at;  // open addressing; at most half full
  size_t count, capacity;
};

int32_t sync_twins_begin(struct sync *sync, struct fault *fault) {
  struct twins *twins = calloc(1, sizeof *twins);
  if (!twins) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  mutex_begin(&twins->lock);
  sync->twins = twins;
  return 0;
}

void sync_twins_free(struct twins *twins) {
  if (!twins) return;
  for (size_t i = 0; i < twins->capacity; i++)
    if (twins->at[i].node) node_drop(twins->at[i].node);
  free(twins->at);
  mutex_end(&twins->lock);
  free(twins);
}

// Its place, or the empty one where it belongs.
static struct twin *find(struct twin *at, size_t capacity, uint64_t inode, uint64_t device) {
  size_t i = (size_t)((inode ^ device << 32) * 0x9e37'79b9'7f4a'7c15) & (capacity - 1);
  while (at[i].node && (at[i].inode != inode || at[i].device != device))
    i = (i + 1) & (capacity - 1);
  return &at[i];
}

static bool grow(struct twins *twins) {
  size_t capacity = twins->capacity ? twins->capacity * 2 : 64;
  struct twin *at = calloc(capacity, sizeof *at);
  if (!at) return false;
  for (size_t i = 0; i < twins->capacity; i++)
    if (twins->at[i].node)
      *find(at, capacity, twins->at[i].inode, twins->at[i].device) = twins->at[i];
  free(twins->at);
  twins->at = at;
  twins->capacity = capacity;
  return true;
}

int32_t sync_twin(struct spot *spot, struct entry *left, struct entry *right, struct fault *fault) {
  struct sync *sync = sync_of(spot->run);
  struct twins *twins = sync->twins;
  mutex_lock(&twins->lock);
  if (twins->count * 2 >= twins->capacity && !grow(twins)) {
    mutex_unlock(&twins->lock);
    return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  }
  struct twin *twin = find(twins->at, twins->capacity, left->inode, left->device);
  bool is_first = !twin->node || (twin->node == spot->node && span_equal(twin->name, left->name));
  if (!twin->node) {
    *twin = (struct twin){
        .inode = left->inode, .device = left->device, .node = spot->node, .name = left->name};
    node_hold(spot->node);
    twins->count++;
  }
  mutex_unlock(&twins->lock);
  if (is_first) return 1;
  return sync_keep(sync, &sync->twin_lates, spot->node, left, right, fault);
}

void sync_twin_came(struct spot *spot, const struct entry *left) {
  struct twins *twins = sync_of(spot->run)->twins;
  if (!twins || !(left->has & HAS_LINKED)) return;
  mutex_lock(&twins->lock);
  struct twin *twin =
      twins->capacity ? find(twins->at, twins->capacity, left->inode, left->device) : nullptr;
  if (twin && twin->node == spot->node && span_equal(twin->name, left->name)) twin->has_come = true;
  mutex_unlock(&twins->lock);
}

static span path_of(struct spot *spot, const struct twin *twin) {
  size_t above = node_path_size(twin->node), slash = above ? 1 : 0;
  uint8_t *at = arena_take_bytes(spot->arena, above + slash + twin->name.size);
  if (!at) return (span){};
  node_path(twin->node, at);
  if (slash) at[above] = '/';
  memcpy(at + above + slash, twin->name.at, twin->name.size);
  return (span){at, above + slash + twin->name.size};
}

static int32_t link_held(struct spot *spot, struct entry *left, struct entry *right,
                         const struct twin *first, struct fault *fault) {
  struct sync *sync = sync_of(spot->run);
  struct directory *from = first->node->directory[RIGHT], *to = spot->node->directory[RIGHT];
  struct entry made = {.name = first->name};
  int32_t code = 0;
  if (from) code = from->store->ops->stat(from, &made, false, fault);
  if (code < 0 && !sync->is_dry) return code;
  *fault = (struct fault){};
  bool is_there = from && code == 0;
  if (right) code = sync_stat(spot, right, RIGHT, fault);
  if (code < 0 && right) return code;
  spot->side = RIGHT;
  if (is_there && right && made.inode == right->inode && made.device == right->device)
    return sync_skip(spot, left, 0);
  if (right && (sync->overwrite == OVERWRITE_NEVER ||
                (sync->overwrite == OVERWRITE_NEWER && left->mtime_ns <= right->mtime_ns)))
    return sync_skip(spot, left, COPSE_SKIPPED_EXISTS);
  code = sync_allows(spot, COPSE_ROW_LINKED, left->name, left, right, fault);
  if (code <= 0) return code;
  if (!sync->is_dry) {
    span path = sync_path(spot, left->name);
    code = right ? sync_back_up(spot, to, right, path, false, fault) : 0;
    if (code == 0) code = to->store->ops->link(from, &made, to, left->name, fault);
    if (code < 0) return code;
    sync_changed(spot->node);
  }
  sync_count(sync, COUNT_LINKED, 1);
  sync_count(sync, COUNT_SAVED, left->size);
  sync_row_from(spot, COPSE_ROW_LINKED, left, right, path_of(spot, first));
  return 0;
}

int32_t sync_twin_link(struct spot *spot, struct entry *left, struct entry *right,
                       struct fault *fault) {
  struct twins *twins = sync_of(spot->run)->twins;
  mutex_lock(&twins->lock);
  struct twin first = *find(twins->at, twins->capacity, left->inode, left->device);
  mutex_unlock(&twins->lock);
  struct directory *from = first.node->directory[RIGHT];
  // What has its name there may be what it was before.
  if (!first.has_come) return sync_one_file(spot, left, right, fault);
  spot->side = RIGHT;
  if (from && from->store->ops->hold(from, fault) < 0) return fault->code;
  int32_t code = link_held(spot, left, right, &first, fault);
  if (from) from->store->ops->drop(from);
  return code;
}
