// sync_moves: what has another name in the source is renamed instead of copied.
//
// Files that only the left side has wait until the walk is over, and so does what only the right
// side has. Then the files of the right are gathered, and those of equal size are paired: at once
// where name, size and time are the same and files are decided by that, else by the hash of their
// content, which is read on both sides. Each pair is one rename to a name that is free; what has no
// partner is copied. Names that are on both sides are never a move, so that no cycle arises.
//
// There may be a million on each side. So of each there is no more than 40 bytes and its name, and
// it is looked at again when its turn comes; jobs are for many of them.
#include <stdlib.h>

#include "verb/sync.h"

// A directory that holds files which only one side has: of the walk, or one that only the right
// side has.
struct home {
  struct home *above;
  struct node *node;            // held; of the walk
  struct directory *directory;  // its own, where only the right side has it
  struct listing listing;
  span name;
  uint32_t number;
  bool is_inside;
};

// Partners that say something else. A right one of HAS_PARTNER has one, which knows it.
constexpr uint32_t NOBODY = UINT32_MAX, HAS_MOVED = NOBODY - 1, HAS_PARTNER = NOBODY - 2,
                   IS_OPEN = NOBODY - 3;

struct mover {
  uint64_t size, identity;
  int64_t mtime_ns;
  const uint8_t *name;  // behind its size, as in a listing of names
  uint32_t home;
  // Of a left one: among the right ones. Of a right one: who comes first among the left ones that
  // are hashed and have its content.
  uint32_t partner;
};

struct movers {
  struct mover *at;
  size_t count, capacity;
};

// A left one. Of the right ones no hash is kept: they are read when all left ones are known.
struct hashed {
  union {
    uint8_t digest[HASH_BYTES];
    struct {
      uint32_t next, end;  // when all is read: of those of one content, in the first of them
    };
  };
  uint32_t mover;  // NOBODY: it could not be read
};

struct gather {
  struct job job;
  struct run *run;
  struct home *above;
  struct entry entry;
};

// Some of the movers, or of the left ones that are hashed.
struct part {
  struct job job;
  struct run *run;
  size_t from, to;
};
constexpr size_t PART_COUNT = 64;
constexpr uint64_t PART_BYTES = 1 << 20;

// Whose path it was. So much of a hash is enough to know it by.
struct took {
  uint8_t digest[16];
};

constexpr size_t RECENT = 64;

struct moves {
  mutex lock;  // guards the lists while there are jobs
  struct home **homes;
  size_t homes_count, homes_capacity;
  struct home *recent[RECENT];  // of nodes of the walk
  struct movers movers[2];
  struct hashed *hashed;  // in order of the movers, then of contents
  size_t hashed_count;
  struct arena names;     // of those whose listing has them otherwise
  _Atomic bool has_jobs;  // some were added in this stage
  struct took *took;      // in a dry run
  size_t took_count, took_capacity;
};

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory");
}

// Room for one more. False: out of memory.
static bool grow(void **array, size_t count, size_t *capacity, size_t each) {
  if (count < *capacity) return true;
  size_t more = *capacity ? *capacity * 2 : 64;
  void *grown = realloc(*array, more * each);
  if (!grown) return false;
  *array = grown;
  *capacity = more;
  return true;
}

// What was needed to find out what moved goes.
static void let_go(struct moves *moves) {
  for (uint8_t side = 0; side < 2; side++) {
    free(moves->movers[side].at);
    moves->movers[side] = (struct movers){};
  }
  free(moves->hashed);
  moves->hashed = nullptr;
  // The newest first: what is below comes before what is above.
  while (moves->homes_count) {
    struct home *home = moves->homes[--moves->homes_count];
    if (home->directory) home->directory->store->ops->leave(home->directory);
    listing_free(&home->listing);
    if (home->node) node_drop(home->node);
    free(home);
  }
  free(moves->homes);
  moves->homes = nullptr;
  moves->homes_capacity = 0;
}

void sync_moves_free(struct moves *moves) {
  if (!moves) return;
  let_go(moves);
  arena_free(&moves->names);
  free(moves->took);
  mutex_end(&moves->lock);
  free(moves);
}

// ── Where they are ──

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

// With the lock. nullptr: out of memory.
static struct home *home_add(struct moves *moves, struct home home) {
  if (moves->homes_count == NOBODY || !grow((void **)&moves->homes, moves->homes_count,
                                            &moves->homes_capacity, sizeof *moves->homes))
    return nullptr;
  struct home *made = malloc(sizeof *made);
  if (!made) return nullptr;
  *made = home;
  made->number = (uint32_t)moves->homes_count;
  listing_begin(&made->listing);
  moves->homes[moves->homes_count++] = made;
  return made;
}

// With the lock. One node may get several homes: those that were kept come mostly together.
static struct home *home_of(struct moves *moves, struct node *node) {
  struct home **recent = &moves->recent[(uintptr_t)node / sizeof *node % RECENT];
  if (*recent && (*recent)->node == node) return *recent;
  struct home *made = home_add(moves, (struct home){.node = node, .is_inside = node->inside});
  if (!made) return nullptr;
  node_hold(node);
  return *recent = made;
}

// ── What there is ──

static uint64_t identity_of(const struct entry *entry) {
  return entry->inode + entry->device * 0x9e37'79b9'7f4a'7c15;  // devices are few
}

static bool is_still(const struct mover *mover, const struct entry *now) {
  return now->type == ENTRY_FILE && identity_of(now) == mover->identity &&
         now->size == mover->size && now->mtime_ns == mover->mtime_ns;
}

static span mover_name(const struct mover *mover) {
  return order_name(&(struct order){.name = mover->name});
}

static bool has_whole_entries(const struct home *home, uint8_t side) {
  const struct listing *listing = home->node ? &home->node->listing[side] : &home->listing;
  return listing->entries || listing->lent;
}

// With the lock. `entry` has HAS_STAT. False: out of memory.
static bool mover_add(struct moves *moves, uint8_t side, const struct home *home,
                      const struct entry *entry) {
  struct movers *movers = &moves->movers[side];
  if (movers->count >= IS_OPEN ||
      !grow((void **)&movers->at, movers->count, &movers->capacity, sizeof *movers->at))
    return false;
  const uint8_t *name = entry->name.at;
  if (has_whole_entries(home, side)) {
    uint32_t size = (uint32_t)entry->name.size;
    uint8_t *copy = arena_take_bytes(&moves->names, NAME_HEAD + size + 1);
    if (!copy) return false;
    memcpy(copy, &size, sizeof size);
    copy[sizeof size] = entry->type;
    memcpy(copy + NAME_HEAD, name, size);
    copy[NAME_HEAD + size] = 0;
    name = copy + NAME_HEAD;
  }
  movers->at[movers->count++] = (struct mover){.size = entry->size,
                                               .identity = identity_of(entry),
                                               .mtime_ns = entry->mtime_ns,
                                               .name = name,
                                               .home = home->number,
                                               .partner = NOBODY};
  return true;
}

// What is known of it without looking.
static struct entry *mover_entry(const struct home *home, uint8_t side, const struct mover *mover,
                                 struct entry *room) {
  struct entry *found = nullptr;
  if (home->node && has_whole_entries(home, side))
    found = node_find(home->node, side, mover_name(mover), room, nullptr);
  if (found) return found;
  *room = (struct entry){.name = mover_name(mover), .type = ENTRY_FILE, .mtime_ns = INT64_MIN};
  return room;
}

// Its directory is held. False: it is not what it was.
static bool look_again(struct directory *directory, const struct mover *mover,
                       struct entry *entry) {
  struct fault ignored = {};
  if (!(entry->has & HAS_STAT) &&
      directory->store->ops->stat(directory, entry, false, &ignored) < 0)
    return false;
  return is_still(mover, entry);
}

static int by_likeness(const void *left, const void *right) {
  const struct mover *a = left, *b = right;
  if (a->size != b->size) return a->size < b->size ? -1 : 1;
  if (a->mtime_ns != b->mtime_ns) return a->mtime_ns < b->mtime_ns ? -1 : 1;
  return span_compare(mover_name(a), mover_name(b));
}

// A heap sort: qsort would take as much again as what is sorted, or nearly half of it.
static void sort(void *base, size_t count, size_t each, int (*order)(const void *, const void *)) {
  uint8_t *at = base, spare[sizeof(struct mover)];
  for (size_t begin = count / 2, end = count; end > 1;) {
    if (begin > 0) {
      memcpy(spare, at + --begin * each, each);
    } else {
      memcpy(spare, at + --end * each, each);
      memcpy(at + end * each, at, each);
    }
    size_t place = begin;
    for (size_t below; (below = 2 * place + 1) < end; place = below) {
      if (below + 1 < end && order(at + below * each, at + (below + 1) * each) < 0) below++;
      if (order(spare, at + below * each) >= 0) break;
      memcpy(at + place * each, at + below * each, each);
    }
    memcpy(at + place * each, spare, each);
  }
}

static void sort_movers(struct movers *movers) {
  sort(movers->at, movers->count, sizeof *movers->at, by_likeness);
}

// The left ones are in order.
static bool is_size_wanted(const struct moves *moves, uint64_t size) {
  const struct movers *left = &moves->movers[LEFT];
  size_t low = 0, high = left->count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (left->at[middle].size < size)
      low = middle + 1;
    else
      high = middle;
  }
  return low < left->count && left->at[low].size == size;
}

static void gather_run(struct job *job, struct worker *);

static bool gather_add(struct run *run, struct home *above, const struct entry *entry) {
  struct gather *gather = malloc(sizeof *gather);
  if (!gather) return false;
  *gather = (struct gather){.job.run = gather_run, .run = run, .above = above, .entry = *entry};
  atomic_store_explicit(&sync_of(run)->moves->has_jobs, true, memory_order_relaxed);
  run_add(run, JOB_BRANCH, &gather->job);
  return true;
}

// One entry of a home whose directory is held. 1: it may have moved; 0: it has not; -1: out of
// memory.
static int gather_entry(struct run *run, struct home *home, struct entry *entry) {
  struct moves *moves = sync_of(run)->moves;
  if (entry->type == ENTRY_DIRECTORY) return gather_add(run, home, entry) ? 0 : -1;
  if (entry->type != ENTRY_FILE || store_name_is_ours(entry->name)) return 0;
  struct directory *directory = directory_of(home);
  struct entry found = *entry;
  struct fault ignored = {};  // what cannot be seen did not move; deleting it will say why
  if (!(found.has & HAS_STAT) &&
      directory->store->ops->stat(directory, &found, false, &ignored) < 0)
    return 0;
  if (found.type != ENTRY_FILE || !is_size_wanted(moves, found.size)) return 0;
  mutex_lock(&moves->lock);
  bool is_well = mover_add(moves, RIGHT, home, &found);
  mutex_unlock(&moves->lock);
  return is_well ? 1 : -1;
}

// Of a listing that is not sorted.
static struct entry *unsorted(const struct listing *listing, size_t at, struct entry *room) {
  return listing->entries ? &listing->entries[at] : listing_entry(listing, at, room);
}

static bool gather_below(struct gather *gather, struct arena *arena) {
  struct run *run = gather->run;
  struct sync *sync = sync_of(run);
  struct home *above = gather->above;
  struct directory *parent = directory_of(above);
  const struct store_ops *ops = parent->store->ops;
  struct fault ignored = {};
  struct entry entry = gather->entry;
  if (ops->hold(parent, &ignored) < 0) return true;
  struct directory *directory = nullptr;
  int32_t code = entry.has & HAS_STAT ? 0 : ops->stat(parent, &entry, false, &ignored);
  bool is_left_alone = code < 0 || entry.type != ENTRY_DIRECTORY || sync_is_backup(sync, &entry) ||
                       run_is_same(run, &entry, &sync->root[LEFT]);
  entry.has &= (uint8_t)~HAS_FOLLOWED;
  if (!is_left_alone) code = ops->enter(parent, &entry, &directory, &ignored);
  ops->drop(parent);
  if (is_left_alone || code < 0) return true;
  struct home made = {.above = above, .directory = directory, .name = entry.name};
  mutex_lock(&sync->moves->lock);
  struct home *home = home_add(sync->moves, made);
  mutex_unlock(&sync->moves->lock);
  if (!home) {
    ops->leave(directory);
    return false;
  }
  bool is_well = true;
  struct sieve sieve = {};
  span path = path_in(home, SPAN(""), arena);
  if (!path.at) is_well = false;
  home->listing.takes_less = true;
  code = ops->list(directory, &home->listing, &ignored);
  if (is_well && run->filter)
    is_well = sieve_begin(&sieve, run->filter, nullptr, path, &ignored) == 0;
  for (size_t i = 0; is_well && code == 0 && i < home->listing.count; i++) {
    struct entry room, *one = unsorted(&home->listing, i, &room);
    if (run->filter &&
        !sieve_entry(&sieve, one->name, one->type == ENTRY_DIRECTORY, above->is_inside).seen)
      continue;
    is_well = gather_entry(run, home, one) >= 0;
  }
  if (run->filter) sieve_end(&sieve);
  if (listing_is_names(&home->listing)) listing_keep_names(&home->listing);
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

// As gather_entry.
static int take_right(struct run *run, struct late *late) {
  struct moves *moves = sync_of(run)->moves;
  mutex_lock(&moves->lock);
  struct home *home = home_of(moves, late->node);
  mutex_unlock(&moves->lock);
  if (!home) return -1;
  struct fault ignored = {};
  struct directory *directory = directory_of(home);
  if (directory->store->ops->hold(directory, &ignored) < 0) return 0;
  struct entry room;
  int found = gather_entry(run, home, late_entry(late, RIGHT, &room));
  directory->store->ops->drop(directory);
  return found;
}

static int take_left(struct run *run, struct late *late) {
  struct moves *moves = sync_of(run)->moves;
  struct directory *from = late->node->directory[LEFT];
  struct fault ignored = {};
  struct entry room, *left = late_entry(late, LEFT, &room);
  if (!(left->has & HAS_STAT)) {
    if (from->store->ops->hold(from, &ignored) < 0) return 0;
    from->store->ops->stat(from, left, false, &ignored);  // copying it will say why not
    from->store->ops->drop(from);
  }
  if (!(left->has & HAS_STAT) || left->type != ENTRY_FILE) return 0;
  struct home *home = home_of(moves, late->node);
  return home && mover_add(moves, LEFT, home, left) ? 1 : -1;
}

// Those that may have moved are taken out of the list. False: out of memory.
static bool take(struct run *run, struct lates *lates, int (*one)(struct run *, struct late *)) {
  size_t kept = 0;
  int found = 0;
  for (size_t i = 0; i < lates->count; i++) {
    struct late late = lates->at[i];
    if (found >= 0) found = one(run, &late);
    if (found > 0)
      node_drop(late.node);  // its home holds it
    else
      lates->at[kept++] = late;
  }
  lates->count = kept;
  if (kept == 0) sync_let_go(lates);
  return found >= 0;
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
  arena_begin(&moves->names);
  sync->moves = moves;
  bool is_well = take(run, &sync->left_only, take_left);
  sort_movers(&moves->movers[LEFT]);
  if (!is_well || !take(run, &sync->right_only, take_right)) run_out_of_memory(run);
  return moves->has_jobs;
}

// ── Pairs ──

// Partners, in the order of both sides.
static void pair(struct moves *moves) {
  struct movers *left = &moves->movers[LEFT], *right = &moves->movers[RIGHT];
  for (size_t l = 0, r = 0; l < left->count && r < right->count;) {
    int step = by_likeness(&left->at[l], &right->at[r]);
    if (step == 0) {
      left->at[l].partner = (uint32_t)r;
      right->at[r].partner = HAS_PARTNER;
    }
    l += step <= 0;
    r += step >= 0;
  }
}

static bool part_add(struct run *run, enum job_place place,
                     void (*work)(struct job *, struct worker *), size_t from, size_t to) {
  struct part *part = malloc(sizeof *part);
  if (!part) {
    run_out_of_memory(run);
    return false;
  }
  *part = (struct part){.job.run = work, .run = run, .from = from, .to = to};
  run_add(run, place, &part->job);
  return true;
}

static bool hash_one(struct run *run, uint8_t side, const struct mover *mover,
                     struct worker *worker, uint8_t digest[HASH_BYTES]) {
  struct home *home = sync_of(run)->moves->homes[mover->home];
  struct arena arena;
  arena_begin(&arena);
  struct node node = {};
  struct spot spot = {.run = run, .node = home->node, .worker = worker, .arena = &arena};
  if (!spot.node) {
    // Where it lies is no node of the walk; a digest asks for no more than the directory.
    node.directory[RIGHT] = directory_of(home);
    spot.node = &node;
  }
  struct directory *directory = spot.node->directory[side];
  struct entry room, *entry = mover_entry(home, side, mover, &room);
  struct fault ignored = {};  // what cannot be read is no move; copying it will say why
  bool is_hashed = false;
  if (directory->store->ops->hold(directory, &ignored) == 0) {
    if (look_again(directory, mover, entry)) {
      if (side == LEFT) sync_total_add(run, entry);  // one side is counted
      is_hashed = spot_digest(&spot, side, entry, COPSE_ALGORITHM_BLAKE3, digest, &ignored) == 0;
    }
    directory->store->ops->drop(directory);
  }
  task_count(run->task, 0, spot.bytes);
  arena_free(&arena);
  return is_hashed;
}

static void hash_left(struct job *job, struct worker *worker) {
  struct part *part = (struct part *)job;
  struct run *run = part->run;
  struct moves *moves = sync_of(run)->moves;
  for (size_t i = part->from; i < part->to && !run_over(run); i++) {
    struct hashed *hashed = &moves->hashed[i];
    if (!hash_one(run, LEFT, &moves->movers[LEFT].at[hashed->mover], worker, hashed->digest))
      hashed->mover = NOBODY;
  }
  free(part);
}

static void hash_right(struct job *job, struct worker *worker) {
  struct part *part = (struct part *)job;
  struct run *run = part->run;
  const struct moves *moves = sync_of(run)->moves;
  for (size_t i = part->from; i < part->to && !run_over(run); i++) {
    struct mover *mover = &moves->movers[RIGHT].at[i];
    uint8_t digest[HASH_BYTES];
    if (mover->partner != IS_OPEN) continue;
    mover->partner = NOBODY;
    if (!hash_one(run, RIGHT, mover, worker, digest)) continue;
    size_t low = 0, high = moves->hashed_count;
    while (low < high) {
      size_t middle = (low + high) / 2;
      if (memcmp(moves->hashed[middle].digest, digest, HASH_BYTES) < 0)
        low = middle + 1;
      else
        high = middle;
    }
    if (low < moves->hashed_count && memcmp(moves->hashed[low].digest, digest, HASH_BYTES) == 0)
      mover->partner = (uint32_t)low;
  }
  free(part);
}

// Those of one size of which some have no partner on either side. Right ones are marked, left ones
// counted, and noted where there is room for them.
static void open_ones(struct moves *moves) {
  const struct movers *movers = moves->movers;
  size_t at[2] = {}, end[2];
  moves->hashed_count = 0;
  for (; at[LEFT] < movers[LEFT].count; at[LEFT] = end[LEFT], at[RIGHT] = end[RIGHT]) {
    uint64_t size = movers[LEFT].at[at[LEFT]].size;
    bool is_open[2] = {};
    while (at[RIGHT] < movers[RIGHT].count && movers[RIGHT].at[at[RIGHT]].size < size) at[RIGHT]++;
    for (uint8_t side = 0; side < 2; side++)
      for (end[side] = at[side]; end[side] < movers[side].count; end[side]++) {
        if (movers[side].at[end[side]].size != size) break;
        is_open[side] |= movers[side].at[end[side]].partner >= IS_OPEN;
      }
    if (!is_open[LEFT] || !is_open[RIGHT]) continue;
    for (size_t i = at[LEFT]; i < end[LEFT]; i++) {
      if (movers[LEFT].at[i].partner != NOBODY) continue;
      if (moves->hashed) moves->hashed[moves->hashed_count].mover = (uint32_t)i;
      moves->hashed_count++;
    }
    for (size_t i = at[RIGHT]; i < end[RIGHT]; i++)
      if (movers[RIGHT].at[i].partner == NOBODY) movers[RIGHT].at[i].partner = IS_OPEN;
  }
}

// Jobs for those whose number is so much, many of them where they are small.
static bool hash_parts(struct run *run, uint8_t side) {
  const struct moves *moves = sync_of(run)->moves;
  const struct mover *movers = moves->movers[side].at;
  size_t count = side == LEFT ? moves->hashed_count : moves->movers[RIGHT].count;
  bool any = false;
  for (size_t from = 0, to; from < count; from = to) {
    uint64_t bytes = 0;
    bool has_some = false;
    for (to = from; to < count && to - from < PART_COUNT; to++) {
      const struct mover *mover = &movers[side == LEFT ? moves->hashed[to].mover : to];
      if (side == RIGHT && mover->partner != IS_OPEN) continue;
      if (has_some && mover->size > PART_BYTES - bytes) break;
      has_some = true;
      bytes = mover->size < PART_BYTES - bytes ? bytes + mover->size : PART_BYTES;
    }
    if (!has_some) continue;
    void (*work)(struct job *, struct worker *) = side == LEFT ? hash_left : hash_right;
    if (!part_add(run, JOB_COMPUTE, work, from, to)) return any;
    any = true;
  }
  return any;
}

bool sync_moves_hash(struct run *run) {
  struct sync *sync = sync_of(run);
  struct moves *moves = sync->moves;
  sort_movers(&moves->movers[RIGHT]);
  if (sync->by == COPSE_BY_STAT) pair(moves);
  open_ones(moves);
  if (moves->hashed_count == 0) return false;
  moves->hashed = malloc(moves->hashed_count * sizeof *moves->hashed);
  if (!moves->hashed) {
    moves->hashed_count = 0;
    run_out_of_memory(run);
    return false;
  }
  open_ones(moves);
  return hash_parts(run, LEFT);
}

static int by_content(const void *left, const void *right) {
  const struct hashed *a = left, *b = right;
  int order = memcmp(a->digest, b->digest, HASH_BYTES);
  return order ? order : (a->mover > b->mover) - (a->mover < b->mover);
}

bool sync_moves_find(struct run *run) {
  struct moves *moves = sync_of(run)->moves;
  size_t count = 0;
  for (size_t i = 0; i < moves->hashed_count; i++)
    if (moves->hashed[i].mover != NOBODY) moves->hashed[count++] = moves->hashed[i];
  sort(moves->hashed, count, sizeof *moves->hashed, by_content);
  moves->hashed_count = count;
  return count > 0 && hash_parts(run, RIGHT);
}

// The right ones, in their order, get the left ones of their content, in theirs.
static void pair_hashed(struct moves *moves) {
  struct movers *left = &moves->movers[LEFT], *right = &moves->movers[RIGHT];
  struct hashed *hashed = moves->hashed;
  for (size_t begin = 0, end; begin < moves->hashed_count; begin = end) {
    for (end = begin + 1; end < moves->hashed_count; end++)
      if (memcmp(hashed[begin].digest, hashed[end].digest, HASH_BYTES) != 0) break;
    hashed[begin].next = (uint32_t)begin;
    hashed[begin].end = (uint32_t)end;
  }
  for (size_t i = 0; i < right->count; i++) {
    uint32_t first = right->at[i].partner;
    if (first >= IS_OPEN) continue;
    right->at[i].partner = NOBODY;
    if (hashed[first].next == hashed[first].end) continue;
    left->at[hashed[hashed[first].next++].mover].partner = (uint32_t)i;
    right->at[i].partner = HAS_PARTNER;
  }
  free(moves->hashed);
  moves->hashed = nullptr;
}

// ── Renaming ──

static int by_digest(const void *left, const void *right) {
  return memcmp(left, right, sizeof(struct took));
}

static struct took took_of(span path) {
  uint8_t digest[HASH_BYTES];
  struct took took;
  hash_of(path, digest);
  memcpy(took.digest, digest, sizeof took.digest);
  return took;
}

bool sync_moves_took(const struct sync *sync, span path) {
  const struct moves *moves = sync->moves;
  struct took took = took_of(path);
  return moves->took_count &&
         bsearch(&took, moves->took, moves->took_count, sizeof took, by_digest) != nullptr;
}

static bool took_it(struct moves *moves, span path) {
  struct took took = took_of(path);
  mutex_lock(&moves->lock);
  bool is_well = grow((void **)&moves->took, moves->took_count, &moves->took_capacity, sizeof took);
  if (is_well) moves->took[moves->took_count++] = took;
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

// 1: renamed, or it will be a further name of a file that came before; 0: it is to be copied. Both
// directories are held.
static int32_t rename_held(struct spot *spot, struct entry *left, struct mover *from,
                           struct fault *fault) {
  struct sync *sync = sync_of(spot->run);
  struct home *home = sync->moves->homes[from->home];
  struct directory *to = spot->node->directory[RIGHT], *of = directory_of(home);
  const struct store_ops *ops = of->store->ops;
  span path = path_in(home, mover_name(from), spot->arena);
  span own = sync_path(spot, left->name);
  if (!path.at || !own.at) return no_memory(fault);
  struct entry now = {.name = mover_name(from)};
  spot->side = RIGHT;
  if (!look_again(of, from, &now)) return 0;
  if (sync->twins && (left->has & HAS_LINKED)) {
    int32_t code = sync_twin(spot, left, nullptr, fault);
    if (code <= 0) return code < 0 ? code : 1;
  }
  int32_t code = allows_rename(sync->plan, own, path, left, &now, fault);
  if (code <= 0) return code;
  if (!sync->is_dry) {
    code = ops->rename(of, &now, to, left->name, fault);
    if (code < 0) {  // taken meanwhile, or another file system: then it is copied
      *fault = (struct fault){};
      return 0;
    }
    from->partner = HAS_MOVED;
    sync_changed(spot->node);
    if (home->node) sync_changed(home->node);
    struct entry want;
    struct wanted wanted;
    bool is_same = sync_is_metadata_same(sync, 1, left, &now) && !(sync->preserve & WANT_XATTR);
    code = is_same ? 0
                   : sync_want(spot, spot->node->directory[LEFT], left, left->name, &want, &wanted,
                               fault);
    spot->side = RIGHT;
    if (code == 0 && !is_same) code = ops->set(to, &wanted, fault);
    if (code < 0) return code;
  } else {
    if (!took_it(sync->moves, path)) return no_memory(fault);
    from->partner = HAS_MOVED;
  }
  sync_twin_came(spot, left);
  sync_count(sync, COUNT_RENAMED, 1);
  sync_count(sync, COUNT_SAVED, left->size);
  sync_row_from(spot, COPSE_ROW_RENAMED, left, &now, path);
  return 1;
}

static void move_one(struct run *run, const struct mover *mover, struct worker *worker) {
  struct moves *moves = sync_of(run)->moves;
  struct node *node = moves->homes[mover->home]->node;
  struct mover *from = &moves->movers[RIGHT].at[mover->partner];
  struct arena arena;
  struct spot spot = run_spot(run, node, worker, &arena);
  struct entry room, *left = mover_entry(moves->homes[mover->home], LEFT, mover, &room);
  struct fault fault = {};
  int32_t code = node_use(node, &spot.side, &fault);
  if (code == 0) {
    struct directory *of = directory_of(moves->homes[from->home]);
    code = of->store->ops->hold(of, &fault);
    if (code == 0) {
      if (look_again(node->directory[LEFT], mover, left))
        code = rename_held(&spot, left, from, &fault);
      of->store->ops->drop(of);
    }
    if (code == 0) code = sync_files(&spot, left, nullptr, &fault);
    node_let_go(node);
  }
  if (code < 0) sync_error(&spot, &fault, left->name);
  run_spot_end(&spot);
}

static void move_run(struct job *job, struct worker *worker) {
  struct part *part = (struct part *)job;
  const struct mover *left = sync_of(part->run)->moves->movers[LEFT].at;
  for (size_t i = part->from; i < part->to && !run_over(part->run); i++)
    if (left[i].partner != NOBODY) move_one(part->run, &left[i], worker);
  free(part);
}

bool sync_moves_do(struct run *run) {
  struct moves *moves = sync_of(run)->moves;
  pair_hashed(moves);
  const struct movers *left = &moves->movers[LEFT];
  bool any = false;
  for (size_t from = 0, to; from < left->count; from = to) {
    to = left->count - from < PART_COUNT ? left->count : from + PART_COUNT;
    bool has_some = false;
    for (size_t i = from; i < to; i++) has_some |= left->at[i].partner != NOBODY;
    if (!has_some) continue;
    if (!part_add(run, JOB_LEAF, move_run, from, to)) return any;
    any = true;
  }
  return any;
}

void sync_moves_end(struct run *run) {
  struct sync *sync = sync_of(run);
  struct moves *moves = sync->moves;
  struct fault fault = {};
  int32_t code = 0;
  for (uint8_t side = 0; side < 2; side++)
    for (size_t i = 0; i < moves->movers[side].count && code == 0; i++) {
      const struct mover *mover = &moves->movers[side].at[i];
      struct home *home = moves->homes[mover->home];
      // A left one that has a partner is there, or its error is told.
      if (!home->node || mover->partner == HAS_MOVED || (side == LEFT && mover->partner != NOBODY))
        continue;
      struct entry room, *entry = mover_entry(home, side, mover, &room);
      code = side == LEFT ? sync_keep(sync, &sync->left_only, home->node, entry, nullptr, &fault)
                          : sync_keep(sync, &sync->right_only, home->node, nullptr, entry, &fault);
    }
  if (code < 0) run_out_of_memory(run);
  let_go(moves);
  if (moves->took_count > 1) qsort(moves->took, moves->took_count, sizeof *moves->took, by_digest);
}
