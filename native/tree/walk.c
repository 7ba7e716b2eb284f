#include "tree/walk.h"

#include <stdckdint.h>
#include <stdlib.h>

#include "copse.h"
#include "tree/ignore.h"
#include "tree/join.h"

static void visit(struct job *job, struct worker *worker);

static struct node *node_new(struct walk *walk, struct node *parent, const struct entry *left,
                             const struct entry *right, span name) {
  size_t size;
  if (ckd_add(&size, sizeof(struct node) + 1, name.size)) return nullptr;
  struct node *node = malloc(size);
  if (!node) return nullptr;
  *node = (struct node){.walk = walk, .parent = parent, .job.run = visit};
  atomic_init(&node->references, 1);
  uint8_t *copy = (uint8_t *)(node + 1);
  if (name.size) memcpy(copy, name.at, name.size);
  copy[name.size] = 0;
  node->name = (span){copy, name.size};
  const struct entry *entries[2] = {left, right};
  for (uint8_t side = 0; side < 2; side++) {
    listing_begin(&node->listing[side]);
    if (!entries[side]) continue;
    node->side[side] = true;
    node->entry[side] = *entries[side];
    if (parent) node->entry[side].name = node->name;
  }
  node->depth = parent ? parent->depth + 1 : 0;
  size_t above = parent && parent->path_size ? parent->path_size + 1 : 0;
  if (ckd_add(&node->path_size, above, name.size)) {
    free(node);
    return nullptr;
  }
  if (parent) node->ignore = parent->ignore;
  if (parent) node_hold(parent);
  return node;
}

struct node *walk_root(struct walk *walk, span path, struct directory *left,
                       const struct entry *left_entry, struct directory *right,
                       const struct entry *right_entry) {
  struct node *node = node_new(walk, nullptr, left_entry, right_entry, path);
  if (!node) return nullptr;
  node->directory[0] = left;
  node->directory[1] = right;
  node->seen = true;
  return node;
}

bool walk_descend(struct node *parent, const struct entry *left, const struct entry *right,
                  bool seen, bool inside) {
  struct node *node = node_new(parent->walk, parent, left, right, left ? left->name : right->name);
  if (!node) return false;
  node->seen = seen;
  node->inside = inside;
  node->next = parent->below;
  parent->below = node;
  parent->below_count++;
  return true;
}

static void run_together(struct node *first, size_t count) {
  first->together = count;
  group_run(first->walk->group, JOB_BRANCH, &first->job);
}

void walk_visit(struct node *node) { run_together(node, 1); }

void node_hold(struct node *node) {
  atomic_fetch_add_explicit(&node->references, 1, memory_order_relaxed);
}

void node_drop(struct node *node) {
  while (node && atomic_fetch_sub_explicit(&node->references, 1, memory_order_acq_rel) == 1) {
    struct node *parent = node->parent;
    if (node->walk->leave) node->walk->leave(node->walk, node);
    for (uint8_t side = 0; side < 2; side++) {
      if (node->directory[side]) node->directory[side]->store->ops->leave(node->directory[side]);
      listing_free(&node->listing[side]);
    }
    if (!parent || node->ignore != parent->ignore) ignore_free(node->ignore);
    free(atomic_load_explicit(&node->path, memory_order_relaxed));
    free(node);
    node = parent;
  }
}

int32_t node_use(struct node *node, uint8_t *side, struct fault *fault) {
  for (uint8_t i = 0; i < 2; i++) {
    struct directory *directory = node->directory[i];
    if (!directory) continue;
    int32_t code = directory->store->ops->hold(directory, fault);
    if (code == 0) continue;
    if (i == 1 && node->directory[0]) node->directory[0]->store->ops->drop(node->directory[0]);
    *side = i;
    return code;
  }
  return 0;
}

void node_let_go(struct node *node) {
  for (uint8_t i = 0; i < 2; i++)
    if (node->directory[i]) node->directory[i]->store->ops->drop(node->directory[i]);
}

bool node_is_ancestor(const struct node *node, uint8_t side, const struct entry *entry) {
  if (entry->inode == 0 && entry->device == 0) return false;
  for (; node; node = node->parent) {
    const struct entry *above = &node->entry[side];
    if (node->side[side] && above->inode == entry->inode && above->device == entry->device)
      return true;
  }
  return false;
}

// Whoever asked first for the path of a node of such a depth leaves it there, so that the path of
// what lies 1,500 levels deep is not put together from 1,500 names each time.
constexpr uint32_t PATH_EVERY = 16;

static void keep_path(struct node *node, const uint8_t *path) {
  if (node->depth == 0 || node->depth % PATH_EVERY != 0 || node->path_size == 0) return;
  if (atomic_load_explicit(&node->path, memory_order_relaxed)) return;
  uint8_t *copy = malloc(node->path_size), *nobody = nullptr;
  if (!copy) return;  // it takes longer then
  memcpy(copy, path, node->path_size);
  if (!atomic_compare_exchange_strong_explicit(&node->path, &nobody, copy, memory_order_release,
                                               memory_order_relaxed))
    free(copy);  // a batch on another worker was faster
}

void node_path(struct node *node, uint8_t *into) {
  uint8_t *end = into + node->path_size;
  for (const struct node *at = node; at; at = at->parent) {
    const uint8_t *kept = atomic_load_explicit(&at->path, memory_order_acquire);
    if (kept) {
      memcpy(into, kept, at->path_size);
      break;
    }
    if (at->name.size == 0) continue;  // the root
    end -= at->name.size;
    memcpy(end, at->name.at, at->name.size);
    if (end > into) *--end = '/';
  }
  keep_path(node, into);
}

size_t node_rest(const struct node *node) {
  return node->listing[0].count - node->at[0] + node->listing[1].count - node->at[1];
}

bool node_next(struct node *node, struct merge *merge, struct entry **left, struct entry **right) {
  struct entry **now = merge->now;
  for (uint8_t i = 0; i < 2; i++)
    if (!now[i] && node->at[i] < node->listing[i].count)
      now[i] = listing_entry(&node->listing[i], node->at[i], &merge->room[i]);
  if (!now[0] && !now[1]) return false;
  int order = !now[0] ? 1 : !now[1] ? -1 : span_compare(now[0]->name, now[1]->name);
  *left = *right = nullptr;
  if (order <= 0) {
    *left = now[0];
    now[0] = nullptr;
    node->at[0]++;
  }
  if (order >= 0) {
    *right = now[1];
    now[1] = nullptr;
    node->at[1]++;
  }
  return true;
}

struct entry *node_find(const struct node *node, uint8_t side, span name, struct entry *room,
                        size_t *at) {
  const struct listing *listing = &node->listing[side];
  size_t low = 0, high = listing->order || listing->lent ? listing->count : 0;
  while (low < high) {
    size_t middle = (low + high) / 2;
    struct entry *entry = listing_entry(listing, middle, room);
    int order = span_compare(entry->name, name);
    if (order == 0 && at) *at = middle;
    if (order == 0) return entry;
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return nullptr;
}

// In a tree whose links are followed every entry is known by identity, so that a loop is seen
// before it is entered. One that cannot be looked at keeps the type ENTRY_NONE, for node_trouble to
// tell of.
static void look_closer(struct node *node, uint8_t side) {
  struct directory *directory = node->directory[side];
  const struct store_ops *ops = directory->store->ops;
  struct listing *listing = &node->listing[side];
  uint32_t links = node->walk->links;
  size_t kept = 0;
  for (size_t i = 0; i < listing->count; i++) {
    struct entry *entry = &listing->entries[i];
    struct fault gone = {};
    if (entry->type == ENTRY_NONE) {
      int32_t code = ops->stat(directory, entry, false, &gone);
      if (code == COPSE_E_NOT_FOUND) continue;  // vanished since it was listed
    }
    if (entry->type == ENTRY_LINK && links == COPSE_LINKS_SKIP) continue;
    if (links == COPSE_LINKS_FOLLOW &&
        (entry->type == ENTRY_LINK || entry->type == ENTRY_DIRECTORY)) {
      struct entry through = *entry;
      int32_t code = ops->stat(directory, &through, true, &gone);
      // A link that dangles, or that comes back to where we are, stays a link.
      bool loops = code == 0 && through.type == ENTRY_DIRECTORY && entry->type == ENTRY_LINK &&
                   node_is_ancestor(node, side, &through);
      if (code == 0 && !loops) *entry = through;
      // What it leads to is there and cannot be looked at: to compare the link instead would be to
      // guess.
      if (code < 0 && code != COPSE_E_NOT_FOUND && entry->type == ENTRY_LINK) {
        entry->type = ENTRY_NONE;
        entry->has |= HAS_FOLLOWED;
      }
    }
    if (kept != i) listing->entries[kept] = *entry;
    kept++;
  }
  listing->count = kept;
}

int32_t node_trouble(const struct node *node, uint8_t side, const struct entry *entry,
                     struct fault *fault) {
  struct directory *directory = node->directory[side];
  struct entry again = *entry;
  int32_t code = directory->store->ops->stat(directory, &again, false, fault);
  if (code < 0) return code;
  return fault_set(fault, COPSE_E_CHANGED, "it could not be looked at a moment ago; run again");
}

static int32_t list_side(struct node *node, uint8_t side, struct fault *fault) {
  struct walk *walk = node->walk;
  int32_t code = 0;
  if (!node->directory[side]) {
    struct directory *above = node->parent->directory[side];
    const struct store_ops *ops = above->store->ops;
    code = ops->hold(above, fault);
    if (code < 0) return code;
    code = ops->enter(above, &node->entry[side], &node->directory[side], fault);
    ops->drop(above);
    if (code < 0) return code;
  }
  struct directory *directory = node->directory[side];
  struct listing *listing = &node->listing[side];
  bool links = walk->links != COPSE_LINKS_KEEP;
  listing->takes_less = !walk->keeps_entries && !links;
  code = directory->store->ops->list(directory, listing, fault);
  if (code == 0 && listing->has_untyped) code = listing_complete(listing, fault);
  if (code < 0) return code;
  if (links || listing->has_untyped) look_closer(node, side);
  uint64_t seen =
      atomic_fetch_add_explicit(&walk->entries[side], listing->count, memory_order_relaxed);
  if (listing->count > walk->entries_max || seen > walk->entries_max - listing->count)
    return fault_set(
        fault, COPSE_E_LIMIT,
        "the tree has more than %llu entries (limits.entries); raise the limit if you trust it",
        (unsigned long long)walk->entries_max);
  return join_sort(listing, fault);
}

// ── Visits, one after the other ──

// Directories this job has still to visit, newest first, so that what is begun is ended before more
// is. Most of a walk's directories are found and visited by one worker: only when no other work of
// the walk waits, half of them, the oldest, become a job of their own.
struct pending {
  struct node *first;
  size_t count, visits;
  struct listing spare[2];  // the memory of listings that nobody needs any more
};

// A job looks as if it had ended now and then, so that groups take turns.
constexpr size_t VISITS_MAX = 64;

static void add_below(struct pending *pending, struct node *node) {
  if (!node->below) return;
  struct node *last = node->below;
  while (last->next) last = last->next;
  last->next = pending->first;
  pending->first = node->below;
  pending->count += node->below_count;
  node->below = nullptr;
  node->below_count = 0;
}

static void share_oldest(struct pending *pending) {
  if (pending->count < 2) return;
  size_t kept = (pending->count + 1) / 2;
  struct node *last = pending->first;
  for (size_t i = 1; i < kept; i++) last = last->next;
  struct node *oldest = last->next;
  last->next = nullptr;
  run_together(oldest, pending->count - kept);
  pending->count = kept;
}

static void spare_give(struct pending *pending, struct node *node) {
  for (uint8_t side = 0; side < 2; side++) {
    if (node->listing[side].capacity == 0) continue;
    listing_free(&pending->spare[side]);
    pending->spare[side] = node->listing[side];
    node->listing[side] = (struct listing){};
    listing_reset(&pending->spare[side]);
  }
}

static void spare_take(struct pending *pending, struct node *node) {
  for (uint8_t side = 0; side < 2; side++) {
    if (!node->side[side] || node->listing[side].capacity > 0) continue;
    node->listing[side] = pending->spare[side];
    pending->spare[side] = (struct listing){};
  }
}

// The visit is over. A directory below which nothing is pending is left at once: who lets go of it
// first only puts it on the list of those whose descriptor may be wanted again.
static void finish(struct pending *pending, struct node *node) {
  bool is_last = atomic_load_explicit(&node->references, memory_order_acquire) == 1;
  if (node->forgotten || (is_last && !node->walk->leave)) spare_give(pending, node);
  if (!is_last) node_let_go(node);
  node_drop(node);
}

static void visit_one(struct pending *pending, struct node *node, struct worker *worker) {
  struct walk *walk = node->walk;
  if (walk->over(walk)) {
    node_drop(node);
    return;
  }
  struct fault fault = {};
  uint8_t side = 0;
  if (!node->listed) {
    node->listed = true;
    spare_take(pending, node);
    if (walk->prepare && walk->prepare(walk, node, worker, &side, &fault) < 0) {
      node->broken = true;
      walk->failed(walk, node, worker, side, &fault);
    }
    bool is_prepared = !node->broken;
    for (side = 0; side < 2 && is_prepared; side++) {
      if (!node->side[side]) continue;
      fault = (struct fault){};
      if (list_side(node, side, &fault) == 0) continue;
      node->broken = true;
      walk->failed(walk, node, worker, side, &fault);
    }
  } else if (node_use(node, &side, &fault) < 0) {
    node->broken = true;
    walk->failed(walk, node, worker, side, &fault);
  }
  if (node->broken) {
    node_drop(node);
    return;
  }
  bool is_whole = walk->visit(walk, node, worker);
  add_below(pending, node);
  if (is_whole) {
    finish(pending, node);
  } else {
    node_let_go(node);
    walk_visit(node);
  }
}

static void visit(struct job *job, struct worker *worker) {
  struct node *first = (struct node *)job;
  struct group *group = first->walk->group;
  struct pending pending = {.first = first, .count = first->together};
  while (pending.first) {
    enum branch_turn turn = pending.visits == 0 ? BRANCH_GO_ON : group_turn(group);
    if (turn == BRANCH_END || pending.visits == VISITS_MAX) {
      run_together(pending.first, pending.count);
      break;
    }
    if (turn == BRANCH_SHARE) share_oldest(&pending);
    struct node *node = pending.first;
    pending.first = node->next;
    pending.count--;
    pending.visits++;
    node->next = nullptr;
    visit_one(&pending, node, worker);
  }
  for (uint8_t side = 0; side < 2; side++) listing_free(&pending.spare[side]);
}
