// sync_delete: takes away what only the right side has. A job goes through a few of the entries
// that were kept, and through what is below each by a stack of its own: entered relative to its
// parent, never through a link, removed by the identity it was seen with. What the filter leaves
// out is protected, and so is every directory above it.
#include <stdckdint.h>
#include <stdlib.h>

#include "base/path.h"
#include "verb/sync.h"

constexpr size_t RECORDS_A_JOB = 64;
constexpr size_t STEPS_BETWEEN_LOOKS = 256;  // at whether the task is parked

struct level {
  struct directory *directory;  // held
  struct listing listing;
  struct entry entry;  // the directory itself, as its parent's listing names it
  struct sieve sieve;
  size_t at, path_size;  // next entry; bytes of the directory's path
  bool is_inside, is_kept;
};

struct deletion {
  struct job job;
  struct run *run;
  size_t at, end;  // of the records
  bool only_counts, is_holding;
  struct level **levels;  // each by itself: a sieve stays where it began
  size_t depth, capacity;
  uint8_t *path;
  size_t path_capacity;
};

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory");
}

static bool path_room(struct deletion *deletion, size_t size) {
  if (size <= deletion->path_capacity) return true;
  size_t capacity = deletion->path_capacity ? deletion->path_capacity : 256;
  while (capacity < size) capacity *= 2;
  uint8_t *path = realloc(deletion->path, capacity);
  if (!path) return false;
  deletion->path = path;
  deletion->path_capacity = capacity;
  return true;
}

static struct late *record_of(struct deletion *deletion) {
  struct sync *sync = sync_of(deletion->run);
  struct lates *right_only = &sync->right_only, *in_the_way = &sync->in_the_way;
  return deletion->at < right_only->count ? &right_only->at[deletion->at]
                                          : &in_the_way->at[deletion->at - right_only->count];
}

static struct level *top(struct deletion *deletion) {
  return deletion->depth ? deletion->levels[deletion->depth - 1] : nullptr;
}

// Rows name the path of the level, or of the record's node.
static void show_path(struct deletion *deletion, struct spot *spot) {
  const struct level *level = top(deletion);
  spot->has_directory = level;
  if (level) spot->directory = (span){deletion->path, level->path_size};
}

static void deleted(struct deletion *deletion, struct spot *spot, const struct entry *entry) {
  struct sync *sync = sync_of(deletion->run);
  if (deletion->only_counts) {
    atomic_fetch_add_explicit(&sync->to_delete, 1, memory_order_relaxed);
    return;
  }
  sync_count(sync, COUNT_DELETED, 1);
  show_path(deletion, spot);
  sync_row(spot, COPSE_ROW_DELETED, entry, nullptr, 0);
}

static bool only_looks(const struct deletion *deletion) {
  return deletion->only_counts || sync_of(deletion->run)->is_dry;
}

// A directory stays when something in it does.
static void keep_above(struct deletion *deletion) {
  struct level *level = top(deletion);
  if (level) level->is_kept = true;
}

// The entry's path, in the spot's arena.
static span path_of(struct deletion *deletion, struct spot *spot, size_t parent_size, span name) {
  size_t slash = parent_size ? 1 : 0;
  uint8_t *at = arena_take_bytes(spot->arena, parent_size + slash + name.size);
  if (!at) return (span){};
  memcpy(at, deletion->path, parent_size);
  if (slash) at[parent_size] = '/';
  memcpy(at + parent_size + slash, name.at, name.size);
  return (span){at, parent_size + slash + name.size};
}

// Takes the entry away, or finds that it is to stay: 1 and 0.
static int32_t go(struct deletion *deletion, struct spot *spot, struct directory *parent,
                  const struct entry *entry, size_t parent_size, struct fault *fault) {
  struct sync *sync = sync_of(deletion->run);
  bool was_taken = sync->moves && sync->is_dry;  // perhaps
  bool needs_path = sync->plan || sync->backs_up || was_taken;
  span path = needs_path ? path_of(deletion, spot, parent_size, entry->name) : (span){};
  if (needs_path && !path.at) return no_memory(fault);
  if (was_taken && sync_moves_took(sync, path)) return 2;
  if (only_looks(deletion)) return 1;
  int32_t code =
      sync_allows_path(sync->plan, COPSE_ROW_DELETED, path, (span){}, entry, nullptr, fault);
  if (code <= 0) return code;
  code = entry->type == ENTRY_DIRECTORY ? 0 : sync_back_up(spot, parent, entry, path, true, fault);
  if (code == 0) code = parent->store->ops->remove(parent, entry, fault);
  return code < 0 ? code : 1;
}

static void level_free(struct level *level) {
  sieve_end(&level->sieve);
  listing_free(&level->listing);
  if (level->directory) level->directory->store->ops->leave(level->directory);
  free(level);
}

// The directory goes onto the stack. *entry has HAS_STAT.
static int32_t go_below(struct deletion *deletion, struct directory *parent,
                        const struct entry *entry, size_t parent_size, bool is_inside,
                        struct fault *fault) {
  if (run_is_same(deletion->run, entry, &sync_of(deletion->run)->root[LEFT]))
    return fault_set(fault, COPSE_E_UNSUPPORTED, "the source lies here; it is left alone");
  if (sync_is_backup(sync_of(deletion->run), entry)) {
    keep_above(deletion);
    return 0;
  }
  if (deletion->depth == deletion->capacity) {
    size_t capacity = deletion->capacity ? deletion->capacity * 2 : 16;
    struct level **levels = realloc(deletion->levels, capacity * sizeof *levels);
    if (!levels) return no_memory(fault);
    deletion->levels = levels;
    deletion->capacity = capacity;
  }
  size_t slash = parent_size ? 1 : 0;
  if (!path_room(deletion, parent_size + slash + entry->name.size)) return no_memory(fault);
  if (slash) deletion->path[parent_size] = '/';
  memcpy(deletion->path + parent_size + slash, entry->name.at, entry->name.size);
  struct level *level = malloc(sizeof *level);
  if (!level) return no_memory(fault);
  *level = (struct level){
      .entry = *entry, .path_size = parent_size + slash + entry->name.size, .is_inside = is_inside};
  level->entry.has &= (uint8_t)~HAS_FOLLOWED;
  const struct store_ops *ops = parent->store->ops;
  int32_t code = ops->enter(parent, &level->entry, &level->directory, fault);
  listing_begin(&level->listing);
  if (code == 0) code = ops->list(level->directory, &level->listing, fault);
  if (code == 0 && deletion->run->filter)
    code = sieve_begin(&level->sieve, deletion->run->filter, nullptr,
                       (span){deletion->path, level->path_size}, fault);
  if (code < 0) {
    level_free(level);
    return code;
  }
  deletion->levels[deletion->depth++] = level;
  return 0;
}

// One entry of a held directory. A directory goes onto the stack; the rest goes away at once.
static int32_t take(struct deletion *deletion, struct spot *spot, struct directory *parent,
                    struct entry *entry, size_t parent_size, bool is_inside, struct fault *fault) {
  const struct store_ops *ops = parent->store->ops;
  int32_t code = entry->has & HAS_STAT ? 0 : ops->stat(parent, entry, false, fault);
  if (code == COPSE_E_NOT_FOUND) {  // gone by itself
    *fault = (struct fault){};
    return 0;
  }
  if (code < 0) return code;
  if (entry->type == ENTRY_DIRECTORY)
    return go_below(deletion, parent, entry, parent_size, is_inside, fault);
  code = go(deletion, spot, parent, entry, parent_size, fault);
  if (code == 0) keep_above(deletion);
  if (code == 1) deleted(deletion, spot, entry);
  return code < 0 ? code : 0;
}

// The level on top has no more entries: the directory itself goes, when nothing in it stays.
static int32_t come_back(struct deletion *deletion, struct spot *spot, struct directory *parent,
                         struct fault *fault) {
  struct level *done = top(deletion);
  struct entry entry = done->entry;
  bool is_kept = done->is_kept;
  size_t path_size = done->path_size;
  deletion->depth--;
  // The name is the parent's listing's, which lives on.
  level_free(done);
  struct level *above = top(deletion);
  if (is_kept) {
    if (above) above->is_kept = true;
    return 0;
  }
  size_t parent_size = path_parent((span){deletion->path, path_size}).size;
  int32_t code = go(deletion, spot, parent, &entry, parent_size, fault);
  if (code == 1) deleted(deletion, spot, &entry);
  if (code <= 0 && above) above->is_kept = true;
  return code < 0 ? code : 0;
}

static int32_t record_begin(struct deletion *deletion, struct spot *spot, struct late *late,
                            struct fault *fault) {
  struct node *node = late->node;
  struct directory *directory = node->directory[RIGHT];
  int32_t code = directory->store->ops->hold(directory, fault);
  if (code < 0) return code;
  deletion->is_holding = true;
  size_t size = node_path_size(node);
  if (!path_room(deletion, size + 1)) return no_memory(fault);
  node_path(node, deletion->path);
  struct entry room;
  const struct entry *right = late_entry(late, RIGHT, &room);
  bool is_inside = true;
  if (deletion->run->filter) {
    struct sieve sieve;
    code = sieve_begin(&sieve, deletion->run->filter, nullptr, (span){deletion->path, size}, fault);
    if (code == 0)
      is_inside =
          sieve_entry(&sieve, right->name, right->type == ENTRY_DIRECTORY, node->inside).inside;
    sieve_end(&sieve);
    if (code < 0) return code;
  }
  if (!only_looks(deletion)) atomic_store_explicit(&node->is_changed, true, memory_order_relaxed);
  // A copy: what it is found to be here must not be seen by who looks once more.
  struct entry entry = *right;
  return take(deletion, spot, directory, &entry, size, is_inside, fault);
}

static void record_end(struct deletion *deletion, struct late *late) {
  struct directory *directory = late->node->directory[RIGHT];
  if (deletion->is_holding) directory->store->ops->drop(directory);
  deletion->is_holding = false;
  deletion->at++;
}

// One entry further. False: the record is done.
static bool step(struct deletion *deletion, struct spot *spot, struct late *late) {
  struct level *level = top(deletion);
  if (!level) return false;
  struct directory *parent = deletion->depth > 1 ? deletion->levels[deletion->depth - 2]->directory
                                                 : late->node->directory[RIGHT];
  struct fault fault = {};
  if (level->at == level->listing.count) {
    span name = level->entry.name;
    if (come_back(deletion, spot, parent, &fault) < 0) {
      show_path(deletion, spot);
      spot_error(spot, &fault, name);
    }
    return deletion->depth > 0;
  }
  struct entry *entry = &level->listing.entries[level->at++];
  bool is_inside = true;
  if (deletion->run->filter) {
    struct verdict verdict =
        sieve_entry(&level->sieve, entry->name, entry->type == ENTRY_DIRECTORY, level->is_inside);
    if (!verdict.seen) {
      level->is_kept = true;
      return true;
    }
    is_inside = verdict.inside;
  }
  size_t depth = deletion->depth;
  if (take(deletion, spot, level->directory, entry, level->path_size, is_inside, &fault) < 0) {
    deletion->levels[depth - 1]->is_kept = true;
    show_path(deletion, spot);
    spot_error(spot, &fault, entry->name);
  }
  return true;
}

static void deletion_free(struct deletion *deletion) {
  while (deletion->depth) level_free(deletion->levels[--deletion->depth]);
  if (deletion->is_holding) record_end(deletion, record_of(deletion));
  free(deletion->levels);
  free(deletion->path);
  free(deletion);
}

static void delete_run(struct job *job, struct worker *worker) {
  struct deletion *deletion = (struct deletion *)job;
  struct run *run = deletion->run;
  size_t steps = 0;
  while (deletion->at < deletion->end && !run_over(run)) {
    struct late *late = record_of(deletion);
    struct arena arena;
    struct spot spot = run_spot(run, late->node, worker, &arena);
    spot.side = RIGHT;
    bool is_parked = false;
    struct fault fault = {};
    if (!deletion->is_holding && record_begin(deletion, &spot, late, &fault) < 0) {
      spot.has_directory = false;
      spot_error(&spot, &fault, late_name(late));
    }
    while (!is_parked && !run_over(run) && step(deletion, &spot, late))
      is_parked = (++steps % STEPS_BETWEEN_LOOKS) == 0 && task_parked(run->task);
    run_spot_end(&spot);
    if (is_parked) {
      run_add(run, JOB_LEAF, &deletion->job);
      return;
    }
    if (!run_over(run)) record_end(deletion, late);
  }
  deletion_free(deletion);
}

bool sync_delete_begin(struct run *run, bool only_counts) {
  struct sync *sync = sync_of(run);
  size_t count = sync->right_only.count + sync->in_the_way.count;
  bool any = false;
  for (size_t at = 0; at < count; at += RECORDS_A_JOB) {
    struct deletion *deletion = calloc(1, sizeof *deletion);
    if (!deletion) {
      run_out_of_memory(run);
      break;
    }
    deletion->job.run = delete_run;
    deletion->run = run;
    deletion->at = at;
    deletion->end = count - at < RECORDS_A_JOB ? count : at + RECORDS_A_JOB;
    deletion->only_counts = only_counts;
    run_add(run, JOB_LEAF, &deletion->job);
    any = true;
  }
  return any;
}
