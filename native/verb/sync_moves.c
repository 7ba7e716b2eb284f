// sync_moves: what has another name in the source is renamed instead of copied.
//
// Files that only the left side has wait until the walk is over, and so does what only the right
// side has. Then the files of the right are gathered, and those of equal size are paired: at once
// where name, size and time are the same and files are decided by that, else by the hash of their
// content, which is read on both sides. Each pair is one rename to a name that is free; what has no
// partner is copied. Names that are on both sides are never a move, so that no cycle arises.
#include <stdlib.h>

#include "verb/sync.h"

// A directory that only the right side has, or one of both sides that holds something of it.
struct home {
  struct home *next, *above;
  struct node *node;            // held; of the walk, where it is one of both sides
  struct directory *directory;  // its own, where only the right side has it
  struct listing listing;
  span name;
  bool is_inside;
};

struct mover {
  struct job job;
  struct run *run;
  struct mover *next, *partner;
  struct node *node;  // left: held
  struct home *home;  // right
  struct entry entry, *left;
  size_t late;  // left: its place among sync->left_only
  bool is_hashed;
  uint8_t digest[HASH_BYTES];
};

struct gather {
  struct job job;
  struct run *run;
  struct home *above;
  struct entry *entry;
};

struct took {
  uint8_t *path;
  size_t size;
};

struct moves {
  mutex lock;  // guards the lists
  struct home *homes;
  struct mover *first[2], **sorted[2];
  size_t count[2];
  uint64_t *sizes;  // of the left ones, in order
  size_t sizes_count;
  _Atomic bool has_jobs;  // some were added in this stage
  struct took *took;      // in a dry run, in order
  size_t took_count, took_capacity;
};

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory");
}

void sync_moves_free(struct moves *moves) {
  if (!moves) return;
  for (uint8_t side = 0; side < 2; side++) {
    for (struct mover *at = moves->first[side], *next; at; at = next) {
      next = at->next;
      if (at->node) node_drop(at->node);
      free(at);
    }
    free(moves->sorted[side]);
  }
  // The newest first: what is below comes before what is above.
  for (struct home *at = moves->homes, *next; at; at = next) {
    next = at->next;
    if (at->directory) at->directory->store->ops->leave(at->directory);
    listing_free(&at->listing);
    if (at->node) node_drop(at->node);
    free(at);
  }
  for (size_t i = 0; i < moves->took_count; i++) free(moves->took[i].path);
  free(moves->took);
  free(moves->sizes);
  mutex_end(&moves->lock);
  free(moves);
}

// ── What there is on the right ──

static struct directory *directory_of(const struct home *home) {
  return home->node ? home->node->directory[RIGHT] : home->directory;
}

static size_t home_size(const struct home *home) {
  if (home->node) return node_path_size(home->node);
  size_t above = home_size(home->above);
  return above + (above ? 1 : 0) + home->name.size;
}

static void home_path(const struct home *home, uint8_t *into) {
  if (home->node) {
    node_path(home->node, into);
    return;
  }
  size_t above = home_size(home->above);
  home_path(home->above, into);
  if (above) into[above++] = '/';
  memcpy(into + above, home->name.at, home->name.size);
}

// {nullptr, 0}: out of memory.
static span path_in(const struct home *home, span name, struct arena *arena) {
  size_t above = home_size(home), slash = above && name.size ? 1 : 0;
  uint8_t *at = arena_take_bytes(arena, above + slash + name.size + 1);
  if (!at) return (span){};
  home_path(home, at);
  if (slash) at[above] = '/';
  memcpy(at + above + slash, name.at, name.size);
  return (span){at, above + slash + name.size};
}

static struct home *home_new(struct moves *moves, struct home home) {
  struct home *made = malloc(sizeof *made);
  if (!made) return nullptr;
  *made = home;
  listing_begin(&made->listing);
  mutex_lock(&moves->lock);
  made->next = moves->homes;
  moves->homes = made;
  mutex_unlock(&moves->lock);
  return made;
}

static bool is_size_wanted(const struct moves *moves, uint64_t size) {
  size_t low = 0, high = moves->sizes_count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (moves->sizes[middle] < size)
      low = middle + 1;
    else
      high = middle;
  }
  return low < moves->sizes_count && moves->sizes[low] == size;
}

static void gather_run(struct job *job, struct worker *);

static bool gather_add(struct run *run, struct home *above, struct entry *entry) {
  struct gather *gather = malloc(sizeof *gather);
  if (!gather) return false;
  *gather = (struct gather){.job.run = gather_run, .run = run, .above = above, .entry = entry};
  atomic_store_explicit(&sync_of(run)->moves->has_jobs, true, memory_order_relaxed);
  run_add(run, JOB_BRANCH, &gather->job);
  return true;
}

// One entry of a home whose directory is held.
static bool gather_entry(struct run *run, struct home *home, struct entry *entry) {
  struct moves *moves = sync_of(run)->moves;
  if (entry->type == ENTRY_DIRECTORY) return gather_add(run, home, entry);
  if (entry->type != ENTRY_FILE || store_name_is_ours(entry->name)) return true;
  struct directory *directory = directory_of(home);
  struct entry found = *entry;
  struct fault ignored = {};  // what cannot be seen did not move; deleting it will say why
  if (!(found.has & HAS_STAT) &&
      directory->store->ops->stat(directory, &found, false, &ignored) < 0)
    return true;
  if (found.type != ENTRY_FILE || !is_size_wanted(moves, found.size)) return true;
  struct mover *mover = malloc(sizeof *mover);
  if (!mover) return false;
  *mover = (struct mover){.run = run, .home = home, .entry = found};
  mutex_lock(&moves->lock);
  mover->next = moves->first[RIGHT];
  moves->first[RIGHT] = mover;
  moves->count[RIGHT]++;
  mutex_unlock(&moves->lock);
  return true;
}

static bool gather_below(struct gather *gather, struct arena *arena) {
  struct run *run = gather->run;
  struct sync *sync = sync_of(run);
  struct home *above = gather->above;
  struct directory *parent = directory_of(above);
  const struct store_ops *ops = parent->store->ops;
  struct fault ignored = {};
  struct entry entry = *gather->entry;
  if (ops->hold(parent, &ignored) < 0) return true;
  struct directory *directory = nullptr;
  int32_t code = entry.has & HAS_STAT ? 0 : ops->stat(parent, &entry, false, &ignored);
  bool is_left_alone = code < 0 || entry.type != ENTRY_DIRECTORY || sync_is_backup(sync, &entry) ||
                       run_is_same(run, &entry, &sync->root[LEFT]);
  entry.has &= (uint8_t)~HAS_FOLLOWED;
  if (!is_left_alone) code = ops->enter(parent, &entry, &directory, &ignored);
  ops->drop(parent);
  if (is_left_alone || code < 0) return true;
  struct home *home = home_new(
      sync->moves, (struct home){.above = above, .directory = directory, .name = entry.name});
  if (!home) {
    ops->leave(directory);
    return false;
  }
  bool is_well = true;
  struct sieve sieve = {};
  span path = path_in(home, SPAN(""), arena);
  if (!path.at) is_well = false;
  code = ops->list(directory, &home->listing, &ignored);
  if (is_well && run->filter)
    is_well = sieve_begin(&sieve, run->filter, nullptr, path, &ignored) == 0;
  for (size_t i = 0; is_well && code == 0 && i < home->listing.count; i++) {
    struct entry *one = &home->listing.entries[i];
    if (run->filter &&
        !sieve_entry(&sieve, one->name, one->type == ENTRY_DIRECTORY, above->is_inside).seen)
      continue;
    is_well = gather_entry(run, home, one);
  }
  if (run->filter) sieve_end(&sieve);
  ops->drop(directory);
  return is_well;
}

static void gather_run(struct job *job, struct worker *) {
  struct gather *gather = (struct gather *)job;
  struct arena arena;
  arena_begin(&arena);
  if (!run_over(gather->run) && !gather_below(gather, &arena)) run_out_of_memory(gather->run);
  arena_free(&arena);
  free(gather);
}

static bool gather_record(struct run *run, const struct late *late, struct home **home) {
  if (!*home || (*home)->node != late->node) {
    struct home made = {.node = late->node, .is_inside = late->node->inside};
    *home = home_new(sync_of(run)->moves, made);
    if (!*home) return false;
    node_hold(late->node);
  }
  struct fault ignored = {};
  struct directory *directory = directory_of(*home);
  if (directory->store->ops->hold(directory, &ignored) < 0) return true;
  struct entry room;
  bool is_well = gather_entry(run, *home, late_entry(late, RIGHT, &room));
  directory->store->ops->drop(directory);
  return is_well;
}

static int by_number(const void *left, const void *right) {
  uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
  return (a > b) - (a < b);
}

static bool take_left(struct run *run) {
  struct sync *sync = sync_of(run);
  struct moves *moves = sync->moves;
  moves->sizes = malloc(sync->left_only.count * sizeof *moves->sizes);
  if (!moves->sizes) return false;
  for (size_t i = 0; i < sync->left_only.count; i++) {
    struct late *late = &sync->left_only.at[i];
    struct directory *from = late->node->directory[LEFT];
    struct fault ignored = {};
    struct entry *left = late_entry(late, LEFT, nullptr);  // the walk keeps entries
    if (!(left->has & HAS_STAT)) {
      if (from->store->ops->hold(from, &ignored) < 0) continue;
      from->store->ops->stat(from, left, false, &ignored);  // copying it will say why not
      from->store->ops->drop(from);
    }
    if (!(left->has & HAS_STAT) || left->type != ENTRY_FILE) continue;
    struct mover *mover = malloc(sizeof *mover);
    if (!mover) return false;
    *mover =
        (struct mover){.run = run, .node = late->node, .entry = *left, .left = left, .late = i};
    node_hold(late->node);
    mover->next = moves->first[LEFT];
    moves->first[LEFT] = mover;
    moves->count[LEFT]++;
    moves->sizes[moves->sizes_count++] = mover->entry.size;
  }
  qsort(moves->sizes, moves->sizes_count, sizeof *moves->sizes, by_number);
  return true;
}

bool sync_moves_gather(struct run *run) {
  struct sync *sync = sync_of(run);
  if (sync->right_only.count == 0) return false;
  struct moves *moves = calloc(1, sizeof *moves);
  if (!moves) {
    run_out_of_memory(run);
    return false;
  }
  mutex_begin(&moves->lock);
  sync->moves = moves;
  struct home *home = nullptr;
  bool is_well = take_left(run);
  for (size_t i = 0; is_well && i < sync->right_only.count; i++)
    is_well = gather_record(run, &sync->right_only.at[i], &home);
  if (!is_well) run_out_of_memory(run);
  return moves->has_jobs;
}

// ── Pairs ──

static int by_likeness(const void *left, const void *right) {
  const struct mover *a = *(struct mover *const *)left, *b = *(struct mover *const *)right;
  const struct entry *x = &a->entry, *y = &b->entry;
  if (x->size != y->size) return x->size < y->size ? -1 : 1;
  if (x->mtime_ns != y->mtime_ns) return x->mtime_ns < y->mtime_ns ? -1 : 1;
  return span_compare(x->name, y->name);
}

static int by_content(const void *left, const void *right) {
  const struct mover *a = *(struct mover *const *)left, *b = *(struct mover *const *)right;
  return memcmp(a->digest, b->digest, HASH_BYTES);
}

static bool sort(struct moves *moves, uint8_t side) {
  moves->sorted[side] = malloc((moves->count[side] + 1) * sizeof *moves->sorted[side]);
  if (!moves->sorted[side]) return false;
  size_t count = 0;
  for (struct mover *at = moves->first[side]; at; at = at->next) moves->sorted[side][count++] = at;
  qsort(moves->sorted[side], count, sizeof *moves->sorted[side], by_likeness);
  return true;
}

// Partners, in the order of both sides; a mover of either side has at most one.
static void pair(struct mover **left, size_t left_count, struct mover **right, size_t right_count,
                 int (*order)(const void *, const void *)) {
  for (size_t l = 0, r = 0; l < left_count && r < right_count;) {
    int step = order(&left[l], &right[r]);
    if (step == 0) {
      left[l]->partner = right[r];
      right[r]->partner = left[l];
    }
    l += step <= 0;
    r += step >= 0;
  }
}

static void hash_run(struct job *job, struct worker *worker) {
  struct mover *mover = (struct mover *)job;
  struct run *run = mover->run;
  if (run_over(run)) return;
  struct arena arena;
  arena_begin(&arena);
  uint8_t side = mover->node ? LEFT : RIGHT;
  struct node node = {};
  struct spot spot = {.run = run, .node = mover->node, .worker = worker, .arena = &arena};
  if (!spot.node) {
    // Where it lies is no node of the walk; a digest asks for no more than the directory.
    node.directory[RIGHT] = directory_of(mover->home);
    spot.node = &node;
  }
  struct directory *directory = spot.node->directory[side];
  struct fault ignored = {};  // what cannot be read is no move; copying it will say why
  if (directory->store->ops->hold(directory, &ignored) == 0) {
    mover->is_hashed = spot_digest(&spot, side, &mover->entry, COPSE_ALGORITHM_BLAKE3,
                                   mover->digest, &ignored) == 0;
    directory->store->ops->drop(directory);
  }
  task_count(run->task, 0, spot.bytes);
  arena_free(&arena);
}

bool sync_moves_hash(struct run *run) {
  struct sync *sync = sync_of(run);
  struct moves *moves = sync->moves;
  if (!sort(moves, LEFT) || !sort(moves, RIGHT)) {
    run_out_of_memory(run);
    return false;
  }
  struct mover **left = moves->sorted[LEFT], **right = moves->sorted[RIGHT];
  if (sync->by == COPSE_BY_STAT)
    pair(left, moves->count[LEFT], right, moves->count[RIGHT], by_likeness);
  bool any = false;
  for (size_t l = 0, r = 0; l < moves->count[LEFT];) {
    uint64_t size = left[l]->entry.size;
    size_t l_end = l, r_end;
    bool is_open[2] = {};
    for (; l_end < moves->count[LEFT] && left[l_end]->entry.size == size; l_end++)
      is_open[LEFT] |= !left[l_end]->partner;
    while (r < moves->count[RIGHT] && right[r]->entry.size < size) r++;
    for (r_end = r; r_end < moves->count[RIGHT] && right[r_end]->entry.size == size; r_end++)
      is_open[RIGHT] |= !right[r_end]->partner;
    for (uint8_t side = 0; is_open[LEFT] && is_open[RIGHT] && side < 2; side++)
      for (size_t i = side ? r : l; i < (side ? r_end : l_end); i++) {
        struct mover *mover = moves->sorted[side][i];
        if (mover->partner) continue;
        mover->job.run = hash_run;
        if (side == LEFT) sync_total_add(run, &mover->entry);  // one side is counted
        run_add(run, JOB_COMPUTE, &mover->job);
        any = true;
      }
    l = l_end;
    r = r_end;
  }
  return any;
}

// ── Renaming ──

bool sync_moves_took(const struct sync *sync, span path) {
  const struct moves *moves = sync->moves;
  for (size_t low = 0, high = moves->took_count; low < high;) {
    size_t middle = (low + high) / 2;
    int order = span_compare((span){moves->took[middle].path, moves->took[middle].size}, path);
    if (order == 0) return true;
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return false;
}

static bool took_it(struct moves *moves, span path) {
  uint8_t *copy = malloc(path.size + 1);
  if (!copy) return false;
  memcpy(copy, path.at, path.size);
  mutex_lock(&moves->lock);
  bool is_well = true;
  if (moves->took_count == moves->took_capacity) {
    size_t capacity = moves->took_capacity ? moves->took_capacity * 2 : 64;
    struct took *more = realloc(moves->took, capacity * sizeof *more);
    is_well = more != nullptr;
    if (more) {
      moves->took = more;
      moves->took_capacity = capacity;
    }
  }
  // Kept in order; there are few, and only in a dry run.
  size_t at = moves->took_count;
  for (; is_well && at > 0; at--) {
    struct took *before = &moves->took[at - 1];
    if (span_compare((span){before->path, before->size}, path) < 0) break;
    moves->took[at] = *before;
  }
  if (is_well) {
    moves->took[at] = (struct took){copy, path.size};
    moves->took_count++;
  } else {
    free(copy);
  }
  mutex_unlock(&moves->lock);
  return is_well;
}

// As sync_allows_path. A plan that copies the one and deletes the other has it too; where the
// latter is not what it was, there is still the copy.
static int32_t allows_rename(struct plan *plan, span own, span path, const struct entry *left,
                             const struct entry *now, struct fault *fault) {
  int32_t code = sync_allows_path(plan, COPSE_ROW_RENAMED, own, path, left, now, fault);
  if (code != 0 || !sync_plan_has(plan, COPSE_ROW_COPIED, own) ||
      !sync_plan_has(plan, COPSE_ROW_DELETED, path))
    return code;
  code = sync_allows_path(plan, COPSE_ROW_COPIED, own, (span){}, left, nullptr, fault);
  if (code < 0) return code;
  code = sync_allows_path(plan, COPSE_ROW_DELETED, path, (span){}, now, nullptr, fault);
  if (code < 0) *fault = (struct fault){};
  return code > 0;
}

// 1: renamed, or it will be a further name of a file that came before; 0: it is to be copied. The
// left node is held.
static int32_t rename_held(struct spot *spot, struct mover *mover, struct mover *from,
                           struct fault *fault) {
  struct sync *sync = sync_of(spot->run);
  struct directory *to = spot->node->directory[RIGHT], *of = directory_of(from->home);
  const struct store_ops *ops = of->store->ops;
  struct entry *left = mover->left;
  span path = path_in(from->home, from->entry.name, spot->arena);
  span own = sync_path(spot, left->name);
  if (!path.at || !own.at) return no_memory(fault);
  struct entry now = {.name = from->entry.name};
  spot->side = RIGHT;
  int32_t code = ops->stat(of, &now, false, fault);
  bool is_still = code == 0 && now.type == ENTRY_FILE && now.inode == from->entry.inode &&
                  now.device == from->entry.device && now.size == from->entry.size &&
                  now.mtime_ns == from->entry.mtime_ns;
  if (!is_still) {
    *fault = (struct fault){};
    return 0;
  }
  if (sync->twins && (left->has & HAS_LINKED)) {
    code = sync_twin(spot, left, nullptr, fault);
    if (code <= 0) return code < 0 ? code : 1;
  }
  code = allows_rename(sync->plan, own, path, left, &now, fault);
  if (code <= 0) return code;
  if (!sync->is_dry) {
    code = ops->rename(of, &now, to, left->name, fault);
    if (code < 0) {  // taken meanwhile, or another file system: then it is copied
      *fault = (struct fault){};
      return 0;
    }
    sync_changed(spot->node);
    if (from->home->node) sync_changed(from->home->node);
    struct entry want;
    struct wanted wanted;
    bool is_same = sync_is_metadata_same(sync, 1, left, &now) && !(sync->preserve & WANT_XATTR);
    code = is_same ? 0
                   : sync_want(spot, spot->node->directory[LEFT], left, left->name, &want, &wanted,
                               fault);
    spot->side = RIGHT;
    if (code == 0 && !is_same) code = ops->set(to, &wanted, fault);
    if (code < 0) return code;
  } else if (!took_it(sync->moves, path)) {
    return no_memory(fault);
  }
  sync_twin_came(spot, left);
  sync_count(sync, COUNT_RENAMED, 1);
  sync_count(sync, COUNT_SAVED, left->size);
  sync_row_from(spot, COPSE_ROW_RENAMED, left, &now, path);
  return 1;
}

static void move_run(struct job *job, struct worker *worker) {
  struct mover *mover = (struct mover *)job, *from = mover->partner;
  struct run *run = mover->run;
  if (run_over(run)) return;
  struct arena arena;
  struct spot spot = run_spot(run, mover->node, worker, &arena);
  struct fault fault = {};
  int32_t code = node_use(mover->node, &spot.side, &fault);
  if (code == 0) {
    struct directory *of = directory_of(from->home);
    code = of->store->ops->hold(of, &fault);
    if (code == 0) {
      code = rename_held(&spot, mover, from, &fault);
      of->store->ops->drop(of);
    }
    if (code == 0) code = sync_files(&spot, mover->left, nullptr, &fault);
    node_let_go(mover->node);
  }
  if (code < 0) sync_error(&spot, &fault, mover->left->name);
  run_spot_end(&spot);
}

static int32_t copy(struct spot *spot, struct entry *left, struct entry *right,
                    struct fault *fault) {
  return sync_files(spot, left, right, fault);
}

// Those that were hashed and have no partner come first, in the order of their content.
static size_t open_ones(struct moves *moves, uint8_t side) {
  struct mover **at = moves->sorted[side];
  size_t count = 0;
  for (size_t i = 0; i < moves->count[side]; i++) {
    struct mover *mover = at[i];
    if (mover->partner || !mover->is_hashed) continue;
    at[i] = at[count];
    at[count++] = mover;
  }
  qsort(at, count, sizeof *at, by_content);
  return count;
}

bool sync_moves_do(struct run *run) {
  struct sync *sync = sync_of(run);
  struct moves *moves = sync->moves;
  bool any = false;
  if (moves) {
    size_t left = open_ones(moves, LEFT), right = open_ones(moves, RIGHT);
    pair(moves->sorted[LEFT], left, moves->sorted[RIGHT], right, by_content);
    for (size_t i = 0; i < moves->count[LEFT]; i++) {
      struct mover *mover = moves->sorted[LEFT][i];
      if (!mover->partner) continue;
      struct late *late = &sync->left_only.at[mover->late];
      node_drop(late->node);  // the mover holds it
      late->node = nullptr;
      mover->job.run = move_run;
      run_add(run, JOB_LEAF, &mover->job);
      any = true;
    }
  }
  return sync_each(run, &sync->left_only, copy) || any;
}
