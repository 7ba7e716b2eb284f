// sync_forward: copies a tree whose content comes only in its own order (a streamed archive), in
// one pass. A worker takes entry after entry; each is put into its directory by held descriptors,
// no link on the way is followed. Directories get their modes and times when everything is there.
#include <stdlib.h>

#include "base/path.h"
#include "base/sorted.h"
#include "verb/pump.h"
#include "verb/sync.h"

constexpr size_t ENTRIES_BETWEEN_LOOKS = 64;  // at whether the task is parked

struct later {  // a directory, to be set at the end
  struct later *next;
  span path;
  struct entry entry;
  struct verdict verdict;
  bool is_set, is_made;
};

struct forward {
  struct job job;
  struct run *run;
  struct node *root;          // held
  struct arena arena;         // of what is kept until the end
  struct later *laters;       // the last one first: what is below comes before what is above
  bool has_come;              // the last file that has content of its own
  bool is_left_out;           // the filter did so with that one
  struct sorted directories;  // with a filter: laters by path
  struct sieve sieve;         // of the directory at sieve_of
  span sieve_of;
  bool has_sieve;
};

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory");
}

// Whether the plan, when there is one, has something to be done there.
static bool is_planned(const struct sync *sync, span path, uint8_t kind, uint8_t or_kind) {
  return !sync->plan || sync_plan_has(sync->plan, kind, path) ||
         sync_plan_has(sync->plan, or_kind, path);
}

// 0: a plan does not make what it would stand in, so that its step is not met.
static int32_t place(struct spot *spot, span path, struct entry *found, struct directory **parent,
                     struct fault *fault) {
  const struct plan *plan = sync_of(spot->run)->plan;
  spot->side = RIGHT;
  int32_t code = store_place(&spot->run->store[RIGHT], path, plan ? nullptr : &(uint32_t){},
                             spot->arena, found, parent, fault);
  if (code != COPSE_E_NOT_FOUND || !plan) return code < 0 ? code : 1;
  *fault = (struct fault){};
  return 0;
}

static int32_t create(struct spot *spot, struct directory *parent, span name,
                      const struct entry *left, struct fault *fault) {
  const struct store_ops *ops = parent->store->ops;
  struct directory *made;
  struct entry want;
  struct wanted wanted;
  int32_t code = sync_want(spot, nullptr, left, name, &want, &wanted, fault);
  if (code == 0) code = ops->create(parent, &wanted, &made, fault);
  if (code < 0) return code;
  ops->leave(made);
  sync_count(sync_of(spot->run), COUNT_CREATED, 1);
  sync_row(spot, COPSE_ROW_CREATED, left, nullptr, 0);
  return 0;
}

static int by_path(const void *left, const void *right) {
  return span_compare(((const struct later *)left)->path, ((const struct later *)right)->path);
}

// What the filter makes of it: by its parent's verdict, which came before. A name that is no path
// counts as one in the root.
static int32_t judge(struct forward *forward, span path, const struct entry *entry,
                     struct verdict *out, struct fault *fault) {
  const struct filter *filter = forward->run->filter;
  bool is_bad = entry->type == ENTRY_NONE;
  span above = is_bad ? (span){} : path_parent(path);
  *out = (struct verdict){.seen = !filter, .descend = !filter};
  if (!filter) return 0;
  struct later wanted = {.path = above};
  struct later *found = nullptr;
  if (above.size && !(found = sorted_find(&forward->directories, &wanted))) return 0;
  if (!forward->has_sieve || !span_equal(above, forward->sieve_of)) {
    sieve_end(&forward->sieve);
    int32_t code = sieve_begin(&forward->sieve, filter, nullptr, above, fault);
    if (code < 0) sieve_end(&forward->sieve);
    if (code < 0) forward->sieve = (struct sieve){};
    forward->has_sieve = code == 0;
    if (code < 0) return code;
    forward->sieve_of = found ? found->path : (span){};
  }
  *out = sieve_entry(&forward->sieve, is_bad ? path : path_name(path),
                     entry->type == ENTRY_DIRECTORY, found && found->verdict.inside);
  return 0;
}

static struct later *keep_directory(struct forward *forward, span path, const struct entry *left,
                                    struct verdict verdict) {
  struct later *later = (struct later *)(void *)arena_take(&forward->arena, sizeof *later);
  span kept = arena_copy(&forward->arena, path);
  if (!later || !kept.at) return nullptr;
  *later =
      (struct later){.next = forward->laters, .path = kept, .entry = *left, .verdict = verdict};
  if (forward->run->filter && !sorted_add(&forward->directories, later)) return nullptr;
  forward->laters = later;
  return later;
}

static int32_t forward_directory(struct forward *forward, struct spot *spot, span path,
                                 const struct entry *left, struct verdict verdict,
                                 struct fault *fault) {
  struct sync *sync = sync_of(forward->run);
  struct later *later = keep_directory(forward, path, left, verdict);
  if (!later) return no_memory(fault);
  struct directory *parent;
  struct entry found;
  if (!is_planned(sync, path, COPSE_ROW_CREATED, COPSE_ROW_UPDATED)) return 0;
  int32_t code = place(spot, path, &found, &parent, fault);
  if (code <= 0) return code;
  bool is_new = found.type == ENTRY_NONE;
  if (!is_new && found.type != ENTRY_DIRECTORY)
    code = fault_set(fault, COPSE_E_EXISTS,
                     "something that is no directory has that name and is not replaced");
  if (code > 0)
    code = sync_allows_path(sync->plan, is_new ? COPSE_ROW_CREATED : COPSE_ROW_UPDATED, path,
                            (span){}, left, is_new ? nullptr : &found, fault);
  bool is_allowed = code > 0;
  if (is_allowed && is_new) {
    code = create(spot, parent, found.name, left, fault);
  } else if (is_allowed && sync->plan) {
    sync_count(sync, COUNT_UPDATED, 1);
    sync_row(spot, COPSE_ROW_UPDATED, left, nullptr, 0);
  }
  parent->store->ops->leave(parent);
  later->is_set = code >= 0 && is_allowed;
  later->is_made = later->is_set && is_new;
  return code < 0 ? code : 0;
}

// A further name of a file that came before. 1: it is that file already.
static int32_t forward_twin(struct spot *spot, const struct entry *left, struct directory *parent,
                            const struct entry *found, struct fault *fault) {
  struct store *store = &spot->run->store[RIGHT];
  const struct store_ops *ops = store->ops;
  struct directory *from;
  struct entry first;
  int32_t code = path_safe(left->target, fault);
  if (code == 0)
    code = store_place(store, left->target, nullptr, spot->arena, &first, &from, fault);
  if (code < 0) return code;
  if (first.type != ENTRY_FILE)
    code = fault_set(fault, COPSE_E_NOT_FOUND, "the file it is a further name of is not there");
  else if ((found->has & HAS_STAT) && first.inode == found->inode && first.device == found->device)
    code = 1;
  else
    code = ops->link(from, &first, parent, found->name, fault);
  ops->leave(from);
  return code;
}

// The source does not come again: what was written is held against the hash of what was read.
int32_t sync_verify_hash(struct spot *spot, struct directory *parent, span name, uint64_t size,
                         const struct hash *read, struct fault *fault) {
  const struct store_ops *ops = parent->store->ops;
  struct entry made = {.name = name, .type = ENTRY_FILE};
  struct reader reader = {};
  struct hash hash;
  uint8_t expected[HASH_BYTES], found[HASH_BYTES];
  uint64_t at = 0;
  hash_begin(&hash);
  int32_t code = ops->stat(parent, &made, false, fault);
  if (code == 0) code = ops->reader(parent, &made, &reader, fault);
  if (code < 0) return code;
  for (int64_t got = 1; code == 0 && got > 0; at += (uint64_t)got) {
    got = run_read_full(&reader, at, spot->worker->slab[0], WORKER_SLAB, size, fault);
    if (got < 0) return ops->read_end(&reader), (int32_t)got;
    hash_add(&hash, spot->worker->slab[0], (size_t)got);
  }
  ops->read_end(&reader);
  hash_end(read, expected);
  hash_end(&hash, found);
  if (at != size || memcmp(expected, found, sizeof found) != 0)
    return fault_set(fault, COPSE_E_CORRUPT, "what was written is not what was read; run again");
  sync_count(sync_of(spot->run), COUNT_VERIFIED, 1);
  return 0;
}

static bool is_ours(span path) {
  span part;
  while (path_next(&path, &part))
    if (store_name_is_ours(part)) return true;
  return false;
}

// 1: *action is what is to be done, and what it replaces is kept; 0: nothing, without a word.
static int32_t decide_leaf(struct spot *spot, span path, const struct entry *left, bool is_own,
                           struct entry *found, struct directory **parent, enum sync_action *action,
                           struct fault *fault) {
  struct sync *sync = sync_of(spot->run);
  if (!is_planned(sync, path, COPSE_ROW_COPIED, COPSE_ROW_UPDATED)) return 0;
  int32_t code = place(spot, path, found, parent, fault);
  if (code <= 0) return code;
  if (found->type == ENTRY_DIRECTORY)
    return fault_set(fault, COPSE_E_EXISTS,
                     "a directory has that name on the right and is not replaced; remove it first");
  bool is_new = found->type == ENTRY_NONE;
  bool stays = sync->overwrite == OVERWRITE_NEVER ||
               (sync->overwrite == OVERWRITE_NEWER && left->mtime_ns <= found->mtime_ns);
  if (found->type == ENTRY_FILE && is_own)
    *action = sync_decide(sync, 1, left, found, false, false);
  else
    *action = !is_new && stays ? ACTION_KEEP : ACTION_COPY;
  if (*action != ACTION_SET && *action != ACTION_COPY) return 1;
  uint8_t kind = *action == ACTION_SET ? COPSE_ROW_UPDATED : COPSE_ROW_COPIED;
  code = sync_allows_path(sync->plan, kind, path, (span){}, left, is_new ? nullptr : found, fault);
  if (code <= 0 || is_new || *action == ACTION_SET) return code;
  code = sync_back_up(spot, *parent, found, path, false, fault);
  return code < 0 ? code : 1;
}

// `reader` nullptr: it is a link, or a further name of a file that came before.
static int32_t copy_leaf(struct spot *spot, const struct entry *left, struct reader *reader,
                         struct directory *parent, const struct entry *found,
                         const struct wanted *wanted, struct fault *fault) {
  struct sync *sync = sync_of(spot->run);
  const struct store_ops *ops = parent->store->ops;
  struct pump pump = {.to = parent, .source = left, .wanted = *wanted};
  int32_t code;
  if (reader) {
    struct hash hash;
    hash_begin(&hash);
    if (sync->verifies) pump.hash = &hash;
    if (sync->plan && found->type != ENTRY_NONE) pump.replaced = found;
    code = pump_reader(spot, &pump, reader, fault);
    if (code == 0 && sync->verifies)
      code = sync_verify_hash(spot, parent, found->name, pump.bytes, &hash, fault);
  } else if (left->type == ENTRY_FILE) {
    code = forward_twin(spot, left, parent, found, fault);
    if (code == 1) return sync_skip(spot, left, 0);
  } else {
    code = ops->make(parent, wanted, fault);
  }
  if (code == 0 && ops->settle) code = ops->settle(parent, fault);
  if (code < 0) return code;
  sync_count(sync, COUNT_COPIED, 1);
  sync_count(sync, COUNT_BYTES, pump.bytes);
  sync_row(spot, COPSE_ROW_COPIED, left, nullptr, 0);
  return 0;
}

static int32_t set_leaf(struct spot *spot, const struct entry *left, struct directory *parent,
                        const struct wanted *wanted, struct fault *fault) {
  int32_t code = parent->store->ops->set(parent, wanted, fault);
  if (code < 0) return code;
  sync_count(sync_of(spot->run), COUNT_UPDATED, 1);
  sync_row(spot, COPSE_ROW_UPDATED, left, nullptr, 0);
  return 0;
}

// Whether the file that this is a further name of is there, with this content: it was kept, or
// could not be copied, and what has its name may be what it was before.
static int32_t is_first_there(struct spot *spot, const struct entry *left, struct fault *fault) {
  const struct sync *sync = sync_of(spot->run);
  struct directory *from;
  struct entry first;
  spot->side = RIGHT;
  int32_t code = path_safe(left->target, fault);
  if (code < 0) return code;
  code = store_place(&spot->run->store[RIGHT], left->target, nullptr, spot->arena, &first, &from,
                     fault);
  if (code == COPSE_E_NOT_FOUND) *fault = (struct fault){};
  if (code < 0) return code == COPSE_E_NOT_FOUND ? 0 : code;
  from->store->ops->leave(from);
  if (first.type != ENTRY_FILE) return 0;
  enum sync_action action = sync_decide(sync, 1, left, &first, false, false);
  return action == ACTION_NOTHING || action == ACTION_SET;
}

// Its content once more, which costs another pass over what lies before it.
static int32_t open_again(struct spot *spot, span path, struct entry *entry, struct reader *reader,
                          struct fault *fault) {
  struct store *store = &spot->run->store[LEFT];
  struct directory *parent;
  spot->side = LEFT;
  int32_t code = store->ops->find(store, path, spot->arena, entry, &parent, fault);
  if (code < 0) return code;
  code = store->ops->reader(parent, entry, reader, fault);
  store->ops->leave(parent);
  return code;
}

// What is neither a directory nor refused. Ends the reader.
static int32_t forward_leaf(struct forward *forward, struct spot *spot, span path,
                            struct entry *left, struct reader *reader, struct fault *fault) {
  bool has_reader = left->type == ENTRY_FILE && !(left->has & HAS_TWIN), is_own = has_reader;
  // Else each name is a file of its own. What is made as a whole knows them by themselves.
  const struct store *right = &spot->run->store[RIGHT];
  bool has_twins = (right->can & CAN_TWINS) || right->ops->file;
  bool needs_first = left->type == ENTRY_FILE && !is_own && !(has_twins && forward->has_come);
  struct directory *parent = nullptr;
  struct entry found = {}, want;
  struct wanted wanted;
  enum sync_action action;
  // What the filter leaves out is not given another name.
  if (forward->is_left_out) has_twins = false;
  int32_t code = decide_leaf(spot, path, left, is_own || (needs_first && !has_twins), &found,
                             &parent, &action, fault);
  bool is_done = code <= 0, is_decided = code > 0;
  if (!is_done) code = sync_want(spot, nullptr, left, found.name, &want, &wanted, fault);
  is_done |= code < 0;
  if (!is_done && action == ACTION_COPY && needs_first) {
    code = has_twins ? is_first_there(spot, left, fault) : 0;
    if (code == 0) {
      code = open_again(spot, path, &(struct entry){}, reader, fault);
      has_reader = code == 0;
    }
    is_done = code < 0;
  }
  if (!is_done && action == ACTION_COPY)
    code = copy_leaf(spot, left, has_reader ? reader : nullptr, parent, &found, &wanted, fault);
  else if (!is_done && action == ACTION_SET)
    code = set_leaf(spot, left, parent, &wanted, fault);
  else if (!is_done)
    code = sync_skip(spot, left, action == ACTION_KEEP ? COPSE_SKIPPED_EXISTS : 0);
  if (has_reader) reader->store->ops->read_end(reader);
  if (parent) parent->store->ops->leave(parent);
  if (is_own) forward->has_come = is_decided && code == 0 && action != ACTION_KEEP;
  return code;
}

static int32_t forward_entry(struct forward *forward, struct spot *spot, span path,
                             struct entry *left, struct reader *reader, struct verdict verdict,
                             struct fault *fault) {
  struct run *run = forward->run;
  bool is_left_out = !verdict.seen && !(left->type == ENTRY_DIRECTORY && verdict.descend);
  spot->side = LEFT;
  if (is_left_out || is_ours(path)) {
    if (left->type == ENTRY_FILE && !(left->has & HAS_TWIN)) reader->store->ops->read_end(reader);
    return 0;
  }
  if (left->type == ENTRY_DIRECTORY) {
    spot->side = RIGHT;
    return forward_directory(forward, spot, path, left, verdict, fault);
  }
  if (left->type == ENTRY_OTHER) {
    sync_count(sync_of(run), COUNT_SKIPPED, 1);
    sync_row(spot, COPSE_ROW_SKIPPED, left, nullptr, COPSE_SKIPPED_SPECIAL);
    return 0;
  }
  if (left->type == ENTRY_LINK) {
    size_t depth = 0;
    span rest = path_parent(path), part;
    while (path_next(&rest, &part)) depth++;
    if (!(run->store[RIGHT].can & CAN_LINKS))
      return fault_set(fault, COPSE_E_UNSUPPORTED, "a %s location holds no links",
                       run->store[RIGHT].ops->scheme);
    if (sync_escapes(depth, left->target))
      return fault_set(fault, COPSE_E_UNSAFE_PATH,
                       "the link leads out of its tree and is not made");
  }
  spot->files = left->type == ENTRY_FILE;  // also when it is the second try
  return forward_leaf(forward, spot, path, left, reader, fault);
}

// A file whose content broke off, once more: found by its path, which costs another pass over what
// lies before it.
static int32_t forward_again(struct forward *forward, struct spot *spot, span path,
                             struct fault *fault) {
  int32_t code = fault->code;
  for (uint64_t tries = 0; fault_retryable(code) && sync_try_again(forward->run, tries); tries++) {
    struct entry entry = {};
    struct reader reader = {};
    *fault = (struct fault){};
    code = open_again(spot, path, &entry, &reader, fault);
    if (code == 0)
      code = forward_entry(forward, spot, path, &entry, &reader, (struct verdict){.seen = true},
                           fault);
  }
  return code;
}

static void set_laters(struct forward *forward, struct spot *spot) {
  struct run *run = forward->run;
  struct store *store = &run->store[RIGHT];
  for (struct later *later = forward->laters; later && !run_over(run); later = later->next) {
    struct fault fault = {};
    struct directory *parent = nullptr;
    struct entry found, want;
    struct wanted wanted;
    if (!later->is_set) continue;
    int32_t code = store_place(store, later->path, nullptr, spot->arena, &found, &parent, &fault);
    bool is_there = code == 0 && found.type == ENTRY_DIRECTORY;
    // Made for what an include might have named below it; it stays where something is in it.
    if (is_there && later->is_made && !later->verdict.seen) {
      is_there = store->ops->remove(parent, &found, &fault) < 0;
      fault = (struct fault){};
    }
    if (is_there) {
      code = sync_want(spot, nullptr, &later->entry, found.name, &want, &wanted, &fault);
      if (code == 0) code = store->ops->set(parent, &wanted, &fault);
    }
    if (parent) store->ops->leave(parent);
    spot->side = RIGHT;
    spot->directory = (span){};
    spot->has_directory = true;
    if (code < 0) spot_error(spot, &fault, later->path);
  }
}

static void forward_run(struct job *job, struct worker *worker) {
  struct forward *forward = (struct forward *)job;
  struct run *run = forward->run;
  struct store *left = &run->store[LEFT];
  bool goes_on = true;
  for (size_t i = 0; goes_on && !run_over(run); i++) {
    if (i == ENTRIES_BETWEEN_LOOKS || task_parked(run->task)) {
      run_add(run, JOB_BRANCH, &forward->job);
      return;
    }
    struct arena arena;
    struct spot spot = run_spot(run, forward->root, worker, &arena);
    struct fault fault = {};
    struct entry entry = {};
    struct reader reader = {};
    span path = {};
    int32_t code = left->ops->next(left, &arena, &path, &entry, &reader, &fault);
    if (code < 0) {
      task_fail(run->task, &fault, left->shown, (span){});
      goes_on = false;
    } else if (code == 0) {
      set_laters(forward, &spot);
      goes_on = false;
    } else {
      // One that is only told of keeps its name as it is: it may not be a path at all.
      bool is_bad = entry.type == ENTRY_NONE;
      spot.directory = is_bad ? (span){} : path_parent(path);
      spot.has_directory = true;
      entry.name = is_bad ? path : path_name(path);
      struct verdict verdict;
      struct fault unfit = {};
      bool is_own = entry.type == ENTRY_FILE && !(entry.has & HAS_TWIN);
      int32_t done = judge(forward, path, &entry, &verdict, &unfit);
      if (done < 0) fault = unfit;
      if (is_own) forward->is_left_out = !verdict.seen;
      if (!(entry.has & HAS_TWIN)) forward->has_come = false;
      if (done < 0 && is_own) left->ops->read_end(&reader);
      if (done == 0 && is_bad)
        done = verdict.seen ? fault.code : 0;
      else if (done == 0)
        done = forward_entry(forward, &spot, path, &entry, &reader, verdict, &fault);
      bool is_content = is_bad || (entry.type == ENTRY_FILE && !(entry.has & HAS_TWIN));
      if (done < 0 && is_content && fault_retryable(done))
        done = forward_again(forward, &spot, path, &fault);
      if (done < 0) {
        atomic_store_explicit(&run->unseen, true, memory_order_relaxed);
        spot_error(&spot, &fault, entry.name);
      }
    }
    run_spot_end(&spot);
  }
  for (struct later *later = forward->laters; later && run->filter; later = later->next)
    sorted_drop(&forward->directories, later);
  sieve_end(&forward->sieve);
  arena_free(&forward->arena);
  node_drop(forward->root);
  free(forward);
}

bool sync_forward(struct spot *spot) {
  struct run *run = spot->run;
  struct sync *sync = sync_of(run);
  const struct store *left = &run->store[LEFT];
  bool fits = (left->can & ONLY_FORWARD) && left->ops->next && !sync->deletes && !sync->is_dry &&
              sync->by == COPSE_BY_STAT && run->walk.links == COPSE_LINKS_KEEP;
  if (!fits || run->path.size > 0) return false;
  struct forward *forward = calloc(1, sizeof *forward);
  if (!forward) return false;
  forward->job.run = forward_run;
  forward->run = run;
  forward->directories.order = by_path;
  forward->root = spot->node;
  arena_begin(&forward->arena);
  node_hold(spot->node);
  run_add(run, JOB_BRANCH, &forward->job);
  return true;
}
