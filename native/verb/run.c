#include "verb/run.h"

#include <stdlib.h>

#include "base/path.h"
#include "base/record.h"
#include "engine/runtime.h"
#include "tree/ignore.h"
#include "verb/run_cache.h"

static const uint16_t keys[2] = {COPSE_KEY_LEFT, COPSE_KEY_RIGHT};

// After this many bytes read in one batch, an idle worker gets half of what is left of it.
constexpr uint64_t SPLIT_BYTES = 1 << 20;

// So many waiting batches of one directory go first: they need less than all of a large one.
constexpr size_t BATCHES_AHEAD = 32;

struct batch {
  struct job job;
  struct node *node;
  size_t count;
  bool is_half;         // of another batch, which looked ahead for both
  struct entry *entry;  // behind the steps, the next free one: for what the listings do not keep
  struct step steps[];
};

void run_out_of_memory(struct run *run) {
  struct fault fault = {};
  fault_set(&fault, COPSE_E_MEMORY, "out of memory");
  task_fail(run->task, &fault, (span){}, (span){});
}

// ── Spots: where a step is done ──

struct spot run_spot(struct run *run, struct node *node, struct worker *worker,
                     struct arena *arena) {
  arena_begin(arena);
  return (struct spot){.run = run, .node = node, .worker = worker, .arena = arena};
}

static void spot_count(struct spot *spot) {
  task_count(spot->run->task, spot->files, spot->bytes);
  atomic_fetch_add_explicit(&spot->run->task->runtime->bytes_read, spot->bytes,
                            memory_order_relaxed);
  spot->files = spot->bytes = 0;
}

void run_spot_end(struct spot *spot) {
  spot_count(spot);
  arena_free(spot->arena);
}

span spot_path(struct spot *spot) {
  if (spot->has_directory) return spot->directory;
  size_t size = node_path_size(spot->node);
  uint8_t *into = worker_scratch(spot->worker, size + 1);
  if (!into) {
    run_out_of_memory(spot->run);
    return (span){};
  }
  node_path(spot->node, into);
  spot->directory = (span){into, size};
  spot->has_directory = true;
  return spot->directory;
}

span spot_path_of(struct spot *spot, span name) {
  span above = spot_path(spot);
  if (above.size == 0) return name;
  if (name.size == 0) return above;
  uint8_t *at = arena_take_bytes(spot->arena, above.size + 1 + name.size);
  if (!at) return (span){};
  memcpy(at, above.at, above.size);
  at[above.size] = '/';
  memcpy(at + above.size + 1, name.at, name.size);
  return (span){at, above.size + 1 + name.size};
}

// Which name a single file has got: a server may have chosen it.
static span name_detail(struct spot *spot) {
  span name = spot->node->entry[RIGHT].name;
  if (!spot->run->verb->writes_right || name.size == 0) return (span){};
  struct record_writer writer = {.capacity = name.size + 16};
  writer.at = arena_take_bytes(spot->arena, writer.capacity);
  if (writer.at) record_put_text(&writer, COPSE_DETAIL_NAME, name);
  return (span){writer.at, writer.at ? writer.size : 0};
}

void spot_emit(struct spot *spot, const copse_row *row, span name, span detail) {
  if (spot->node->nameless)
    task_emit(spot->run->task, row, (span){}, spot->run->path,
              detail.size ? detail : name_detail(spot));
  else
    task_emit(spot->run->task, row, spot_path(spot), name, detail);
}

void spot_error(struct spot *spot, const struct fault *fault, span name) {
  if (fault->code == COPSE_E_CANCELLED && run_over(spot->run))
    return;  // cancelled, or stopped at the first
  span location = spot->run->store[spot->side].shown;
  if (spot->run->stop_on_error && !spot->node->nameless) {
    task_fail(spot->run->task, fault, location, spot_path_of(spot, name));
    return;
  }
  // A root that cannot be opened is the task's failure, be it a file or a directory; one that
  // changes has a row.
  if (spot->node->nameless && (fault->code == COPSE_E_DENIED || fault->code == COPSE_E_NOT_FOUND))
    task_fail(spot->run->task, fault, location, spot->run->path);
  else if (spot->node->nameless)
    task_emit_error(spot->run->task, fault, (span){}, spot->run->path, location);
  else
    task_emit_error(spot->run->task, fault, spot_path(spot), name, location);
}

copse_row run_row_of(uint8_t kind, const struct entry *entry) {
  copse_row row = {.kind = kind,
                   .left_size = COPSE_UNKNOWN,
                   .right_size = COPSE_UNKNOWN,
                   .left_mtime_ns = COPSE_UNKNOWN_TIME,
                   .right_mtime_ns = COPSE_UNKNOWN_TIME};
  bool right = kind == COPSE_ROW_ONLY_RIGHT;
  row.type = (uint8_t)(right ? entry->type << 4 : entry->type);
  *(right ? &row.right_size : &row.left_size) = entry->size;
  *(right ? &row.right_mtime_ns : &row.left_mtime_ns) = entry->mtime_ns;
  if (entry->mode) row.extra = (entry->mode & 07777) | COPSE_MODE_KNOWN;
  return row;
}

static int32_t report(struct spot *spot, uint8_t kind, struct entry *entry, uint8_t side,
                      const uint8_t *hash, span more, struct fault *fault) {
  struct directory *directory = spot->node->directory[side];
  const struct store_ops *ops = directory->store->ops;
  spot->side = side;
  int32_t code = 0;
  if (!(entry->has & HAS_STAT)) code = ops->stat(directory, entry, false, fault);
  if (code == 0 && entry->type == ENTRY_LINK && !(entry->has & HAS_TARGET))
    code = ops->target(directory, entry, spot->arena, fault);
  if (code < 0) return code;
  copse_row row = run_row_of(kind, entry);
  bool right = kind == COPSE_ROW_ONLY_RIGHT;
  span detail = {};
  if (hash || more.size || (entry->has & HAS_TARGET)) {
    struct record_writer writer = {.capacity = entry->target.size + HASH_BYTES + 32 + more.size};
    writer.at = arena_take_bytes(spot->arena, writer.capacity);
    if (!writer.at) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
    if (entry->has & HAS_TARGET)
      record_put_text(&writer, right ? COPSE_DETAIL_RIGHT_TARGET : COPSE_DETAIL_LEFT_TARGET,
                      entry->target);
    if (hash) record_put_text(&writer, COPSE_DETAIL_LEFT_HASH, (span){hash, HASH_BYTES});
    if (more.size) memcpy(writer.at + writer.size, more.at, more.size);
    detail = (span){writer.at, writer.size + more.size};
  }
  if (entry->type == ENTRY_FILE) spot->files++;
  spot_emit(spot, &row, entry->name, detail);
  return 0;
}

int32_t spot_report(struct spot *spot, uint8_t kind, struct entry *entry, uint8_t side,
                    struct fault *fault) {
  return report(spot, kind, entry, side, nullptr, (span){}, fault);
}

int32_t spot_report_hash(struct spot *spot, struct entry *entry, const uint8_t hash[HASH_BYTES],
                         struct fault *fault) {
  return report(spot, COPSE_ROW_ENTRY, entry, LEFT, hash, (span){}, fault);
}

int32_t spot_report_with(struct spot *spot, struct entry *entry, span details,
                         struct fault *fault) {
  return report(spot, COPSE_ROW_ENTRY, entry, LEFT, nullptr, details, fault);
}

bool run_stop(struct run *run) {
  if (atomic_exchange_explicit(&run->stopped, true, memory_order_relaxed)) return false;
  atomic_fetch_or_explicit(&run->task->done_flags, COPSE_DONE_INCOMPLETE, memory_order_relaxed);
  return true;
}

bool run_is_same(const struct run *run, const struct entry *left, const struct entry *right) {
  return run->store[LEFT].ops->scheme == run->store[RIGHT].ops->scheme &&
         (run->store[LEFT].can & run->store[RIGHT].can & CAN_IDENTITY) &&
         (left->has & right->has & HAS_STAT) && (left->inode || left->device) &&
         left->inode == right->inode && left->device == right->device;
}

// ── Batches of leaf steps ──

static void batch_free(struct batch *batch) {
  node_drop(batch->node);
  free(batch);
}

static void batch_run(struct job *job, struct worker *worker);

// With room for so many steps, and entries of theirs.
static struct batch *batch_new(struct node *node, size_t steps, size_t entries) {
  struct batch *batch =
      malloc(sizeof *batch + steps * sizeof(struct step) + entries * sizeof(struct entry));
  if (!batch) return nullptr;
  batch->job = (struct job){.run = batch_run};
  batch->node = node;
  batch->count = 0;
  batch->is_half = false;
  batch->entry = (struct entry *)(batch->steps + steps);
  node_hold(node);
  return batch;
}

static void batch_keep(struct batch *batch, struct entry **entry) {
  *batch->entry = **entry;
  *entry = batch->entry++;
}

// The last so many steps of it as a batch of their own. nullptr: out of memory.
static struct batch *batch_cut(struct batch *from, size_t count) {
  struct batch *half = batch_new(from->node, count, 2 * count);
  if (!half) return nullptr;
  half->count = count;
  half->is_half = true;
  from->count -= count;
  memcpy(half->steps, &from->steps[from->count], count * sizeof *half->steps);
  const struct listing *listing = from->node->listing;
  for (size_t i = 0; i < count; i++) {
    struct pair *pair = &half->steps[i].pair;
    if (pair->left && !listing[LEFT].entries) batch_keep(half, &pair->left);
    if (pair->right && !listing[RIGHT].entries) batch_keep(half, &pair->right);
  }
  return half;
}

// From here on another worker may look at what the node's listings hold.
static void queue_batch(struct run *run, struct batch *batch) {
  if (batch->node->forgotten) batch->node->forgotten = false;
  run_add(run, run->batch_place, &batch->job);
}

// The node's directories are held by the caller.
static void batch_work(struct batch *batch, struct spot *spot) {
  struct run *run = spot->run;
  uint64_t split_at = SPLIT_BYTES;
  if (!batch->is_half) run_ahead(spot, batch->steps, batch->count);
  for (size_t i = 0; i < batch->count; i++) {
    if (run_over(run)) return;
    struct step *step = &batch->steps[i];
    struct fault fault = {};
    if (run->verb->work(spot, step, &fault) < 0)
      spot_error(spot, &fault, (step->pair.left ? step->pair.left : step->pair.right)->name);
    size_t left = batch->count - i - 1;
    if (spot->bytes < split_at || left < 2 || !run_is_idle(run, run->batch_place)) continue;
    struct batch *half = batch_cut(batch, left / 2);
    if (!half) continue;
    queue_batch(run, half);
    split_at = spot->bytes + SPLIT_BYTES;
  }
}

static void batch_run(struct job *job, struct worker *worker) {
  struct batch *batch = (struct batch *)job;
  struct run *run = batch->node->walk->owner;
  if (!run_over(run)) {
    struct arena arena;
    struct spot spot = run_spot(run, batch->node, worker, &arena);
    struct fault fault = {};
    if (node_use(batch->node, &spot.side, &fault) < 0) {
      spot_error(&spot, &fault, (span){});
    } else {
      batch_work(batch, &spot);
      node_let_go(batch->node);
    }
    run_spot_end(&spot);
  }
  batch_free(batch);
}

// ── Visits of directories ──

// What a visit goes through its directory with.
struct visiting {
  struct merge merge;
  struct batch *batch;
  size_t sent;  // batches
};

static struct batch *batch_for(struct node *node) {
  size_t most = node_rest(node) + 2, steps = most < BATCH_STEPS ? most : BATCH_STEPS;
  bool keeps = node->listing[LEFT].entries && node->listing[RIGHT].entries;
  return batch_new(node, steps, keeps ? 0 : most < 2 * steps ? most : 2 * steps);
}

static bool add_step(struct run *run, struct node *node, struct visiting *at,
                     const struct step *step) {
  if (!at->batch && !(at->batch = batch_for(node))) {
    run_out_of_memory(run);
    return false;
  }
  struct batch *batch = at->batch;
  struct step *added = &batch->steps[batch->count++];
  *added = *step;
  struct pair *pair = &added->pair;
  if (pair->left == &at->merge.room[LEFT]) batch_keep(batch, &pair->left);
  if (pair->right == &at->merge.room[RIGHT]) batch_keep(batch, &pair->right);
  if (batch->count == BATCH_STEPS) {
    queue_batch(run, batch);
    at->batch = nullptr;
    at->sent++;
  }
  return true;
}

// The limits say why something is not looked at: an entry whose path is too long is left out, a
// directory that lies too deep is not entered.
static bool path_fits(struct run *run, struct spot *spot, span name) {
  uint64_t most = run->walk.path_max;
  if (most == UINT64_MAX) return true;
  size_t above = spot_path(spot).size;
  if (above + (above ? 1 : 0) + name.size <= most) return true;
  spot->node->cut = true;
  atomic_store_explicit(&run->unseen, true, memory_order_relaxed);
  struct fault fault = {};
  fault_set(&fault, COPSE_E_LIMIT, "the path is longer than limits.pathLength (%llu)",
            (unsigned long long)most);
  spot_error(spot, &fault, name);
  return false;
}

static bool depth_fits(struct run *run, struct spot *spot, span name) {
  if (spot->node->depth < run->walk.depth_max) return true;
  spot->node->cut = true;
  atomic_store_explicit(&run->unseen, true, memory_order_relaxed);
  struct fault fault = {};
  fault_set(&fault, COPSE_E_LIMIT, "deeper than limits.depth (%llu)",
            (unsigned long long)run->walk.depth_max);
  spot_error(spot, &fault, name);
  return false;
}

// What the filter makes of a pair. Of a directory and something else under one name it may leave
// one: a rule like "build/" names directories only, and only a directory can hold what is included.
static struct verdict judge(struct sieve *sieve, struct pair *pair, bool inside) {
  bool left = pair->left && pair->left->type == ENTRY_DIRECTORY;
  bool right = pair->right && pair->right->type == ENTRY_DIRECTORY;
  span name = (pair->left ? pair->left : pair->right)->name;
  struct verdict verdict = sieve_entry(sieve, name, left || right, inside);
  if (!pair->left || !pair->right || left == right) return verdict;
  struct verdict other = sieve_entry(sieve, name, false, inside);
  if (verdict.seen && other.seen) return verdict;
  // The directory goes when only the other is seen, else what is no directory.
  *(other.seen == left ? &pair->left : &pair->right) = nullptr;
  return other.seen ? other : verdict;
}

// ── Ignore files ──

// Files of one directory are read as one, in the order of their names in the request. One that
// cannot be read has an error row, and what it would have left out is there.
static void read_ignore_files(struct run *run, struct spot *spot) {
  struct node *node = spot->node;
  if (!node->directory[LEFT]) return;
  span request = {run->task->request, run->task->request_len};
  struct field field;
  struct fault fault = {};
  uint8_t *text = nullptr;
  size_t size = 0;
  while (record_next(&request, &field, &fault) == 1) {
    if (field.key != COPSE_KEY_IGNORE_FILE) continue;
    struct entry room, *entry = node_find(node, LEFT, field.bytes, &room, nullptr);
    if (!entry || entry->type != ENTRY_FILE) continue;
    spot->side = LEFT;
    fault = (struct fault){};
    if (ignore_load(node->directory[LEFT], entry, &text, &size, &fault) < 0)
      spot_error(spot, &fault, entry->name);
  }
  struct ignore *ignore = nullptr;
  fault = (struct fault){};
  if (size > 0 &&
      ignore_read((span){text, size}, spot_path(spot).size, node->ignore, &ignore, &fault) < 0)
    spot_error(spot, &fault, (span){});
  if (ignore) node->ignore = ignore;
  free(text);
}

// ── Names ──

// Entries of one directory of which only names and types are told, many to a row.
struct names {
  size_t size;
  uint64_t count;
  uint8_t at[4096];
};

static void names_emit(struct spot *spot, struct names *names) {
  if (names->count == 0) return;
  copse_row row = {.kind = COPSE_ROW_NAMES, .extra = names->count};
  task_emit(spot->run->task, &row, spot_path(spot), (span){}, (span){names->at, names->size});
  names->size = names->count = 0;
}

static void names_add(struct spot *spot, struct names *names, span name, enum entry_type type) {
  size_t size = name.size + 2;
  if (size > sizeof names->at - names->size) names_emit(spot, names);
  if (type == ENTRY_FILE) spot->files++;
  if (size > sizeof names->at) {  // no file system has such names; some store may
    copse_row row = {.kind = COPSE_ROW_ENTRY,
                     .type = type,
                     .left_size = COPSE_UNKNOWN,
                     .left_mtime_ns = COPSE_UNKNOWN_TIME};
    spot_emit(spot, &row, name, (span){});
    return;
  }
  uint8_t *at = names->at + names->size;
  at[0] = (uint8_t)('0' + type);
  memcpy(at + 1, name.at, name.size);
  at[size - 1] = 0;
  names->size += size;
  names->count++;
}

// Those that come next in a list of which nothing is left out: what is no directory needs no entry
// and no plan. After 256 entries somebody looks whether to go on.
static void names_take(struct spot *spot, struct names *names, size_t *seen) {
  struct node *node = spot->node;
  const struct listing *listing = &node->listing[LEFT];
  for (; node->at[LEFT] < listing->count && (*seen & 255) != 255; ++*seen) {
    const struct order *order = &listing->order[node->at[LEFT]];
    enum entry_type type = order_type(order);
    if (type == ENTRY_DIRECTORY || type == ENTRY_NONE) return;
    names_add(spot, names, order_name(order), type);
    node->at[LEFT]++;
  }
}

// ── A visit ──

static bool is_here(struct run *run, struct spot *spot, struct pair *pair) {
  struct entry *sides[2] = {pair->left, pair->right};
  for (uint8_t side = 0; side < 2; side++) {
    struct entry *entry = sides[side];
    if (!entry || entry->type != ENTRY_DIRECTORY || run->device[side] == 0) continue;
    if (!(entry->has & HAS_STAT)) {
      struct directory *directory = spot->node->directory[side];
      struct fault fault = {};
      if (directory->store->ops->stat(directory, entry, false, &fault) < 0)
        continue;  // entering it will say what is wrong
    }
    if (entry->device && entry->device != run->device[side]) return false;
  }
  return true;
}

static bool is_shallow(const struct run *run, const struct node *node) {
  return node->depth + 1 < run->walk.look_max;
}

// False: out of memory.
static bool take_pair(struct run *run, struct spot *spot, struct pair *pair,
                      const struct verdict *verdict, struct visiting *at, struct names *names) {
  struct node *node = spot->node;
  struct entry *either = pair->left ? pair->left : pair->right;
  struct step step = run->verb->plan(run, pair);
  // First the visit, then the step: once a batch is given away, its entries belong to another
  // worker.
  bool goes_below = !run->verb->see || run->verb->see(spot, pair);
  bool descend = step.descend && verdict->descend && goes_below;
  if (descend && (!is_shallow(run, node) || (run->one_file_system && !is_here(run, spot, pair)))) {
    if (run->verb->closed) run->verb->closed(spot, pair);
    descend = false;
  }
  // Who looked closer may have found that it is no directory any more.
  bool left = pair->left && pair->left->type == ENTRY_DIRECTORY;
  bool right = pair->right && pair->right->type == ENTRY_DIRECTORY;
  descend = descend && (left || right) && depth_fits(run, spot, either->name);
  if (descend && !walk_descend(node, left ? pair->left : nullptr, right ? pair->right : nullptr,
                               verdict->seen, verdict->inside)) {
    run_out_of_memory(run);
    return false;
  }
  if (!verdict->seen || step.kind == STEP_NONE) return true;
  if (step.kind != STEP_NAME) return add_step(run, node, at, &step);
  names_add(spot, names, either->name, either->type);
  return true;
}

static bool visit(struct walk *walk, struct node *node, struct worker *worker) {
  struct run *run = walk->owner;
  struct arena arena;
  struct spot spot = run_spot(run, node, worker, &arena);
  struct visiting at = {};
  struct pair pair;
  bool again = false, first = node->at[0] == 0 && node->at[1] == 0;
  if (first) node->forgotten = run->verb->forgets;
  bool go_on = !first || !run->verb->enter || run->verb->enter(&spot);
  if (go_on && first && run->ignores) read_ignore_files(run, &spot);
  struct sieve sieve = {.levels = sieve.few};
  struct names names;
  names.size = names.count = 0;
  bool sifts = run->filter || node->ignore;
  if (go_on && sifts) {
    struct fault fault = {};
    go_on = sieve_begin(&sieve, run->filter, node->ignore, spot_path(&spot), &fault) == 0;
    if (!go_on) run_out_of_memory(run);
  }
  bool is_plain = run->only_names && !sifts && walk->path_max == UINT64_MAX &&
                  listing_is_names(&node->listing[LEFT]);
  for (size_t seen = 0; go_on;) {
    if (is_plain) names_take(&spot, &names, &seen);
    if (!node_next(node, &at.merge, &pair.left, &pair.right)) break;
    struct verdict verdict = {true, true, node->inside};
    if (sifts) verdict = judge(&sieve, &pair, node->inside);
    if ((verdict.seen || verdict.descend) &&
        path_fits(run, &spot, (pair.left ? pair.left : pair.right)->name))
      go_on = take_pair(run, &spot, &pair, &verdict, &at, &names);
    if ((++seen & 255) != 0) continue;
    if (run_over(run)) break;
    again = go_on && (at.sent >= BATCHES_AHEAD || task_parked(run->task));
    if (again) break;
  }
  if (go_on && !again && run->verb->whole && !run_over(run)) run->verb->whole(&spot);
  sieve_end(&sieve);
  names_emit(&spot, &names);
  // A few steps are done at once, while the directories are at hand.
  struct batch *last = at.batch;
  if (last && !again && run->batch_place == JOB_LEAF && last->count <= BATCH_STEPS / 2) {
    batch_work(last, &spot);
    batch_free(last);
  } else if (last) {
    queue_batch(run, last);
  }
  run_spot_end(&spot);
  return !again;
}

static void visit_failed(struct walk *walk, struct node *node, struct worker *worker, uint8_t side,
                         const struct fault *fault) {
  struct run *run = walk->owner;
  if (run_over(run)) return;
  if (side == LEFT || !run->verb->writes_right)
    atomic_store_explicit(&run->unseen, true, memory_order_relaxed);
  if (!node->parent) {  // the root itself: the task has nothing to say
    task_fail(run->task, fault, run->store[side].shown, run->path);
    return;
  }
  struct arena arena;
  struct spot spot = run_spot(run, node, worker, &arena);
  spot.side = side;
  spot_error(&spot, fault, (span){});
  if (run->verb->failed) run->verb->failed(&spot, fault);
  run_spot_end(&spot);
}

static int32_t prepare(struct walk *walk, struct node *node, struct worker *worker, uint8_t *side,
                       struct fault *fault) {
  struct run *run = walk->owner;
  struct arena arena;
  struct spot spot = run_spot(run, node, worker, &arena);
  int32_t code = run->verb->prepare(&spot, fault);
  *side = spot.side;
  run_spot_end(&spot);
  return code;
}

static bool walk_over(struct walk *walk) { return run_over(walk->owner); }

static void walk_leave(struct walk *walk, struct node *node) {
  struct run *run = walk->owner;
  run->verb->leave(run, node);
}

// ── The roots ──

// One pair that is no directory, or is looked at only itself: a node whose single row has the path
// "".
static int32_t start_single(struct run *run, struct worker *worker, struct directory *directory[2],
                            struct entry entry[2], struct fault *fault) {
  struct pair pair = {&entry[LEFT], run->sides == 2 ? &entry[RIGHT] : nullptr};
  struct node *node =
      walk_root(&run->walk, (span){}, directory[LEFT], pair.left, directory[RIGHT], pair.right);
  if (!node) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  node->nameless = true;
  if (run->verb->writes_right && entry[LEFT].type == ENTRY_FILE && (entry[LEFT].has & HAS_SIZE))
    atomic_store_explicit(&run->task->total_bytes, entry[LEFT].size, memory_order_relaxed);
  directory[LEFT] = directory[RIGHT] = nullptr;
  // The node's own copies: they live as long as the batch.
  pair.left = &node->entry[LEFT];
  if (pair.right) pair.right = &node->entry[RIGHT];
  struct step step = run->verb->plan(run, &pair);
  struct batch *batch = step.kind == STEP_NONE ? nullptr : batch_new(node, 1, 0);
  if (batch) {
    // Done here and now: for one pair, handing it to another worker costs more than the work.
    batch->steps[batch->count++] = step;
    node_let_go(node);
    batch_run(&batch->job, worker);
  }
  node_drop(node);
  return step.kind == STEP_NONE || batch ? 0 : fault_set(fault, COPSE_E_MEMORY, "out of memory");
}

static int32_t start_roots(struct run *run, struct worker *worker, uint8_t *side,
                           struct fault *fault) {
  struct entry entry[2] = {};
  struct directory *directory[2] = {};
  int32_t code = run_open_roots(run, side, entry, directory, fault);
  span request = {run->task->request, run->task->request_len};
  bool both_directories =
      entry[LEFT].type == ENTRY_DIRECTORY &&
      (run->sides == 1 || !directory[RIGHT] || entry[RIGHT].type == ENTRY_DIRECTORY);
  if (code == 0 && both_directories && !record_number(request, COPSE_KEY_SELF, 0)) {
    const struct entry *right = directory[RIGHT] ? &entry[RIGHT] : nullptr;
    run->same_root = right && run_is_same(run, &entry[LEFT], right);
    struct node *root =
        walk_root(&run->walk, run->path, directory[LEFT], &entry[LEFT], directory[RIGHT], right);
    if (!root) {
      code = fault_set(fault, COPSE_E_MEMORY, "out of memory");
    } else {
      directory[LEFT] = directory[RIGHT] = nullptr;
      for (uint8_t i = 0; i < 2; i++) root->entry[i].name = SPAN("");
      // The roots' own step, where a verb has one for a pair of directories (their metadata).
      struct pair pair = {&root->entry[LEFT], right ? &root->entry[RIGHT] : nullptr};
      struct step step = right ? run->verb->plan(run, &pair) : (struct step){};
      struct batch *batch = step.kind == STEP_NONE ? nullptr : batch_new(root, 1, 0);
      if (batch) {
        batch->steps[batch->count++] = step;
        run_add(run, run->batch_place, &batch->job);
      } else if (step.kind != STEP_NONE) {
        run_out_of_memory(run);
      }
      walk_visit(root);
    }
  } else if (code == 0 && run->verb->trees_only) {
    *side = LEFT;
    code =
        fault_set(fault, COPSE_E_ARGUMENT, "it is a file; %s wants a directory", run->verb->name);
  } else if (code == 0) {
    code = start_single(run, worker, directory, entry, fault);
  }
  for (uint8_t i = 0; i < 2; i++)
    if (directory[i]) directory[i]->store->ops->leave(directory[i]);
  return code;
}

static uint64_t limit(span request, uint16_t key) {
  return record_number(request, key, UINT64_MAX);
}

static int32_t open_run(struct run *run, struct worker *worker, uint8_t *side,
                        struct fault *fault) {
  span request = {run->task->request, run->task->request_len};
  int32_t code = 0;
  for (*side = 0; *side < run->sides; ++*side) {
    code = store_open(&run->store[*side], record_record(request, keys[*side]), run->task, fault);
    if (code < 0) return code;
  }
  atomic_store_explicit(&run->task->has_opened, true, memory_order_release);
  *side = LEFT;
  run->path = record_text(request, COPSE_KEY_PATH);
  code = path_safe(run->path, fault);
  if (code == 0) code = filter_compile(request, &run->filter, fault);
  if (code == 0) code = cache_open_asked(run, fault);
  if (code == 0) *side = run->verb->writes_right;  // what cannot be done is said of it
  if (code == 0 && run->verb->begin) code = run->verb->begin(run, fault);
  if (code < 0) return code;
  if (run->verb->once) return run->verb->once(run, worker, fault);
  run->ignores = record_text(request, COPSE_KEY_IGNORE_FILE).size > 0;
  run->one_file_system = record_number(request, COPSE_KEY_ONE_FILE_SYSTEM, 0);
  run->stop_on_error = record_number(request, COPSE_KEY_STOP_ON_ERROR, 0);
  run->walk =
      (struct walk){.group = &run->task->group,
                    .links = (uint32_t)record_number(request, COPSE_KEY_LINKS, COPSE_LINKS_KEEP),
                    .depth_max = limit(request, COPSE_KEY_LIMIT_DEPTH),
                    .path_max = limit(request, COPSE_KEY_LIMIT_PATH),
                    .entries_max = limit(request, COPSE_KEY_LIMIT_ENTRIES),
                    .look_max = limit(request, COPSE_KEY_MAX_DEPTH),
                    .owner = run,
                    .visit = visit,
                    .failed = visit_failed,
                    .over = walk_over,
                    .keeps_entries = run->keeps_entries,
                    .prepare = run->verb->prepare ? prepare : nullptr,
                    .leave = run->verb->leave ? walk_leave : nullptr};
  return start_roots(run, worker, side, fault);
}

static void open_job(struct job *job, struct worker *worker) {
  struct run *run = (struct run *)((uint8_t *)job - offsetof(struct run, open));
  task_began(run->task);
  if (run_over(run)) return;
  struct fault fault = {};
  uint8_t side = LEFT;
  if (open_run(run, worker, &side, &fault) < 0)
    task_fail(run->task, &fault, run->store[side].shown, side == LEFT ? run->path : (span){});
}

// ── Beginning and end ──

void run_summary(struct task *task, span details) {
  copse_row row = {.kind = COPSE_ROW_SUMMARY,
                   .left_size = COPSE_UNKNOWN,
                   .right_size = COPSE_UNKNOWN,
                   .left_mtime_ns = COPSE_UNKNOWN_TIME,
                   .right_mtime_ns = COPSE_UNKNOWN_TIME};
  task_emit(task, &row, (span){}, (span){}, details);
}

static bool finish(struct task *task, struct worker *worker) {
  return run_end(task->run, worker,
                 record_number((span){task->request, task->request_len}, COPSE_KEY_DRY_RUN, 0));
}

static void destroy(struct task *task) {
  struct run *run = task->run;
  run_end_name(run);
  if (run->verb->close) run->verb->close(run);
  cache_close(run->cache);
  for (uint8_t side = 0; side < run->sides; side++) store_close(&run->store[side]);
  filter_free(run->filter);
  arena_free(&run->arena);
  free(run);
  task->run = nullptr;
}

static int32_t pushed(struct task *task, span bytes, struct fault *fault) {
  struct run *run = task->run;
  int32_t code;
  if (run_hear(run, bytes, &code, fault)) return code;
  if (!run->verb->pushed)
    return fault_set(fault, COPSE_E_ARGUMENT, "only a write task takes bytes");
  return run->verb->pushed(run, bytes, fault);
}

int32_t run_start(struct task *task, const struct verb *verb, struct fault *fault) {
  constexpr size_t ALIGN = alignof(max_align_t);
  size_t size = (sizeof(struct run) + ALIGN - 1) / ALIGN * ALIGN;
  struct run *run = calloc(1, size + verb->state_size);
  if (!run) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  run->task = task;
  run->verb = verb;
  run->sides = verb->sides;
  run->state = (uint8_t *)run + size;
  run->batch_place = JOB_LEAF;
  run->open.run = open_job;
  arena_begin(&run->arena);
  task->run = run;
  task->finish = finish;
  task->destroy = destroy;
  task->pushed = pushed;
  task_start(task, JOB_LEAF, &run->open);
  return 0;
}
