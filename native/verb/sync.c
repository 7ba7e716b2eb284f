// sync: makes the right tree like the left one. Copying is the same without deleting.
//
// Both trees are listed in step. A directory is made on the right before it is listed, files are
// copied while the walk goes on, and a directory gets its mode and time when nothing below it is
// pending any more. What only the right side has is kept in a list and taken away when everything
// else is done, and only if every listing succeeded.
#include "verb/sync.h"

#include <stdlib.h>

#include "base/record.h"
#include "engine/io.h"

static span request_of(const struct run *run) {
  return (span){run->task->request, run->task->request_len};
}

void sync_options(struct run *run) {
  struct sync *sync = sync_of(run);
  span request = request_of(run);
  sync->is_dry = record_number(request, COPSE_KEY_DRY_RUN, 0);
  sync->keeps_special = record_number(request, COPSE_KEY_SPECIAL_BITS, 0);
  sync->preserve = (uint32_t)record_number(request, COPSE_KEY_PRESERVE, WANT_MODE | WANT_MTIME);
  // What one of the two does not know is not kept.
  uint32_t can = run->store[LEFT].can & run->store[RIGHT].can;
  if (!(can & CAN_MODE)) sync->preserve &= ~(uint32_t)WANT_MODE;
  if (!(run->store[RIGHT].can & CAN_MTIME)) sync->preserve &= ~(uint32_t)WANT_MTIME;
  if (!(can & CAN_OWNER)) sync->preserve &= ~(uint32_t)WANT_OWNER;
  if (!(can & CAN_XATTR)) sync->preserve &= ~(uint32_t)WANT_XATTR;
  mutex_begin(&sync->lock);
  sync->is_ready = true;
}

static int32_t begin(struct run *run, struct fault *fault) {
  struct sync *sync = sync_of(run);
  span request = request_of(run);
  struct store *right = &run->store[RIGHT];
  sync_options(run);
  sync->by = (uint32_t)record_number(request, COPSE_KEY_SYNC_BY, COPSE_BY_STAT);
  sync->overwrite = (uint8_t)record_number(request, COPSE_KEY_OVERWRITE, OVERWRITE_DIFFERENT);
  sync->deletes = record_number(request, COPSE_KEY_DELETE, 0);
  sync->is_forced = record_number(request, COPSE_KEY_FORCE, 0);
  sync->verifies = record_number(request, COPSE_KEY_VERIFY, 0);
  sync->delta = (uint8_t)record_number(request, COPSE_KEY_DELTA, DELTA_SHARED);
  sync->deletes_max = record_number(request, COPSE_KEY_MAX_DELETE, UINT64_MAX);
  sync->retries_max = record_number(request, COPSE_KEY_RETRIES, 3);
  sync->stage_began_ns = clock_now();
  if (!(right->can & CAN_WRITE))
    return fault_set(fault, COPSE_E_UNSUPPORTED,
                     "%s locations are never written to: name a directory", right->ops->scheme);
  if (sync->deletes && !(right->can & CAN_DELETE))
    return fault_set(fault, COPSE_E_UNSUPPORTED, "nothing is removed from a %s location; use copy",
                     right->ops->scheme);
  if (sync->verifies && (right->can & ONLY_ONCE))
    return fault_set(fault, COPSE_E_UNSUPPORTED,
                     "what went into a pipe cannot be read again to verify it");
  if (sync->verifies && !(right->can & CAN_RANGE))
    return fault_set(fault, COPSE_E_UNSUPPORTED,
                     "what is written to a new %s is not read again; verify it when it is there",
                     right->ops->scheme);
  sync->plans_ahead = record_number(request, COPSE_KEY_PROGRESS, 0) && !sync->is_dry &&
                      (run->store[LEFT].can & CAN_RANGE) && (right->can & CAN_DELETE);
  bool can_move = sync->deletes && (right->can & CAN_RENAME);
  sync->finds_moves = can_move && record_number(request, COPSE_KEY_SYNC_MOVES, 0);
  int32_t code = 0;
  if ((right->can & CAN_TWINS) && record_number(request, COPSE_KEY_HARD_LINKS, 0))
    code = sync_twins_begin(sync, fault);
  span backup = record_record(request, COPSE_KEY_BACKUP);
  if (code == 0 && backup.size && !sync->is_dry) code = sync_backup_begin(run, backup, fault);
  if (code == 0 && record_number(request, COPSE_KEY_HAS_PLAN, 0))
    code = sync_plan_read(request, &sync->plan, fault);
  if (code == 0) sync_total_begin(run);
  // Who looks for further names keeps what is found out about each.
  bool is_dear = sync->finds_moves && !(run->store[LEFT].can & IS_LOCAL);  // to look at again
  run->keeps_entries = sync->twins || is_dear;
  return code;
}

static void close(struct run *run) {
  struct sync *sync = sync_of(run);
  sync_let_go(&sync->right_only);
  sync_let_go(&sync->in_the_way);
  sync_let_go(&sync->left_only);
  sync_let_go(&sync->twin_lates);
  sync_moves_free(sync->moves);
  sync_twins_free(sync->twins);
  sync_plan_free(sync->plan);
  sync_backup_end(sync);
  if (sync->is_ready) mutex_end(&sync->lock);
}

// ── What is kept for later ──

static void note(struct late *late, uint8_t side, const struct entry *entry) {
  if (!entry) return;
  late->has[side] = true;
  late->type[side] = entry->type;
  late->name = entry->name.at ? entry->name.at : (const uint8_t *)"";
  late->name_size = (uint32_t)entry->name.size;
}

struct entry *late_entry(const struct late *late, uint8_t side, struct entry *room) {
  struct node *node = late->node;
  const struct listing *listing = &node->listing[side];
  if (!late->has[side]) return nullptr;
  if (node->nameless) return &node->entry[side];
  if (listing->entries || listing->lent)
    return node_find(node, side, late_name(late), room, nullptr);
  // All that a listing of names says, which may be gone.
  *room = (struct entry){.name = late_name(late), .type = late->type[side], .mtime_ns = INT64_MIN};
  return room;
}

int32_t sync_keep(struct sync *sync, struct lates *lates, struct node *node, struct entry *left,
                  struct entry *right, struct fault *fault) {
  struct late late = {.node = node};
  note(&late, LEFT, left);
  note(&late, RIGHT, right);
  mutex_lock(&sync->lock);
  if (lates->count == lates->capacity) {
    size_t capacity = lates->capacity ? lates->capacity * 2 : 64;
    struct late *more = realloc(lates->at, capacity * sizeof *more);
    if (!more) {
      mutex_unlock(&sync->lock);
      return fault_set(fault, COPSE_E_MEMORY, "out of memory");
    }
    lates->at = more;
    lates->capacity = capacity;
  }
  lates->at[lates->count++] = late;
  node_hold(node);
  mutex_unlock(&sync->lock);
  return 0;
}

void sync_let_go(struct lates *lates) {
  for (size_t i = 0; i < lates->count; i++)
    if (lates->at[i].node) node_drop(lates->at[i].node);
  free(lates->at);
  *lates = (struct lates){};
}

// ── Pairs ──

static struct step plan(const struct run *, const struct pair *pair) {
  const struct entry *left = pair->left;
  // A directory needs no step of its own: it is made before it is visited, and set when it is left.
  bool descend = left && left->type == ENTRY_DIRECTORY && !store_name_is_ours(left->name);
  return (struct step){
      .pair = *pair, .kind = descend ? STEP_NONE : STEP_COMPARE, .descend = descend};
}

void sync_missed(struct spot *spot, const struct fault *fault) {
  // One that is refused, or that changes all the time, was seen.
  bool was_seen = fault->code == COPSE_E_UNSAFE_PATH || fault->code == COPSE_E_UNSUPPORTED ||
                  fault->code == COPSE_E_CHANGED || fault->code == COPSE_E_EXISTS;
  if (spot->side == LEFT && !was_seen)
    atomic_store_explicit(&spot->run->unseen, true, memory_order_relaxed);
}

void sync_error(struct spot *spot, const struct fault *fault, span name) {
  sync_missed(spot, fault);
  spot_error(spot, fault, name);
}

static int32_t is_in_the_way(struct fault *fault) {
  return fault_set(fault, COPSE_E_EXISTS,
                   "a directory has that name on the right and is not replaced; remove it first");
}

int32_t sync_pair(struct spot *spot, struct entry *left, struct entry *right, struct fault *fault) {
  struct sync *sync = sync_of(spot->run);
  if (right && store_name_is_ours(right->name)) return sync_sweep(spot, RIGHT, right, fault);
  if (!left)
    return sync->deletes ? sync_keep(sync, &sync->right_only, spot->node, nullptr, right, fault)
                         : 0;
  if (store_name_is_ours(left->name)) return 0;
  if (left->type == ENTRY_NONE) {
    atomic_store_explicit(&spot->run->unseen, true, memory_order_relaxed);
    spot->side = LEFT;
    return node_trouble(spot->node, LEFT, left, fault);
  }
  if (left->type == ENTRY_OTHER) return sync_skip(spot, left, COPSE_SKIPPED_SPECIAL);
  if (right && right->type == ENTRY_DIRECTORY) {
    spot->side = RIGHT;
    if (!sync->deletes) {
      bool is_wanted =
          !sync->plan || sync_plan_has(sync->plan, COPSE_ROW_COPIED, sync_path(spot, left->name));
      return is_wanted ? is_in_the_way(fault) : 0;
    }
    return sync_keep(sync, &sync->in_the_way, spot->node, left, right, fault);
  }
  if (left->type == ENTRY_LINK) return sync_links(spot, left, right, fault);
  bool may_have_moved = !right && sync->finds_moves && sync->stage == STAGE_COPY;
  return may_have_moved && !spot->node->nameless
             ? sync_keep(sync, &sync->left_only, spot->node, left, nullptr, fault)
             : sync_files(spot, left, right, fault);
}

static int32_t work_pair(struct spot *spot, const struct step *step, struct fault *fault) {
  struct entry *left = step->pair.left, *right = step->pair.right;
  if (right && right->type == ENTRY_NONE) {
    if (!spot->node->nameless) {
      spot->side = RIGHT;
      return node_trouble(spot->node, RIGHT, right, fault);
    }
    // Nothing is there yet.
    return sync_pair(spot, left, nullptr, fault);
  }
  return sync_pair(spot, left, right, fault);
}

static int32_t work(struct spot *spot, const struct step *step, struct fault *fault) {
  spot->side = LEFT;
  int32_t code = work_pair(spot, step, fault);
  if (code < 0) sync_missed(spot, fault);
  if (code == 0 && spot->node->nameless && step->pair.left)
    sync_sweep_one(spot, spot->node->entry[RIGHT].name);
  return code;
}

// ── The end ──

static void summary(struct run *run) {
  struct sync *sync = sync_of(run);
  uint8_t bytes[COUNTS * 16 + IO_WAYS * 16];  // eight for the head of each field
  struct record_writer writer = {bytes, sizeof bytes, 0};
  for (uint8_t i = 0; i < COUNTS; i++)
    record_put_number(&writer, (uint16_t)(COPSE_DETAIL_COPIED + i),
                      atomic_load_explicit(&sync->counts[i], memory_order_relaxed));
  static const uint16_t ways[IO_WAYS] = {COPSE_DETAIL_WAY_CLONE, COPSE_DETAIL_WAY_COPY_RANGE,
                                         COPSE_DETAIL_WAY_SPLICE, COPSE_DETAIL_WAY_SENDFILE};
  for (uint8_t i = 0; i < IO_WAYS; i++)
    record_put_number(&writer, ways[i],
                      atomic_load_explicit(&run->task->ways[i], memory_order_relaxed));
  run_summary(run->task, (span){bytes, writer.size});
}

void sync_refuse(struct run *run, const struct fault *fault) {
  task_emit_error(run->task, fault, (span){}, (span){}, run->store[RIGHT].shown);
}

static void keep_all(struct sync *sync) {
  sync_count(sync, COUNT_KEPT, sync->right_only.count + sync->in_the_way.count);
  sync_let_go(&sync->right_only);
  sync_let_go(&sync->in_the_way);
}

// Whether something may be deleted at all; says why not.
static bool may_delete(struct run *run) {
  struct sync *sync = sync_of(run);
  struct fault fault = {};
  if (atomic_load_explicit(&run->unseen, memory_order_relaxed)) {
    fault_set(&fault, COPSE_E_CHANGED,
              "not all of the source was seen, so nothing is deleted; run again");
    sync_refuse(run, &fault);
    return false;
  }
  if (run->walk.entries[LEFT] > 0 || sync->is_forced) return true;
  fault_set(&fault, COPSE_E_ARGUMENT,
            "the source is empty, so nothing is deleted; use force when that is right");
  sync_refuse(run, &fault);
  return false;
}

struct each {
  struct job job;
  struct run *run;
  struct late late;
  int32_t (*each)(struct spot *, struct entry *, struct entry *, struct fault *);
};

static void each_run(struct job *job, struct worker *worker) {
  struct each *each = (struct each *)job;
  struct run *run = each->run;
  struct late *late = &each->late;
  struct arena arena;
  struct spot spot = run_spot(run, late->node, worker, &arena);
  struct fault fault = {};
  if (!run_over(run)) {
    int32_t code = node_use(late->node, &spot.side, &fault);
    if (code == 0) {
      struct entry room[2];
      code = each->each(&spot, late_entry(late, LEFT, &room[LEFT]),
                        late_entry(late, RIGHT, &room[RIGHT]), &fault);
      node_let_go(late->node);
    }
    if (code < 0) sync_error(&spot, &fault, late_name(late));
  }
  run_spot_end(&spot);
  node_drop(late->node);
  free(each);
}

bool sync_each(struct run *run, struct lates *lates,
               int32_t (*each)(struct spot *, struct entry *, struct entry *, struct fault *)) {
  // The jobs may keep others in this list.
  struct lates now = *lates;
  *lates = (struct lates){};
  bool any = false;
  for (size_t i = 0; i < now.count; i++) {
    if (!now.at[i].node) continue;  // somebody else has it
    struct each *job = malloc(sizeof *job);
    if (!job) {
      run_out_of_memory(run);
      break;
    }
    *job = (struct each){.job.run = each_run, .run = run, .late = now.at[i], .each = each};
    now.at[i].node = nullptr;
    run_add(run, JOB_LEAF, &job->job);
    any = true;
  }
  sync_let_go(&now);
  return any;
}

static int32_t replace(struct spot *spot, struct entry *left, struct entry *, struct fault *fault) {
  return sync_pair(spot, left, nullptr, fault);
}

// What a stage took is counted for its phase.
static void stage_over(struct sync *sync, enum sync_count phase) {
  uint64_t now = clock_now();
  sync_count(sync, phase, now - sync->stage_began_ns);
  sync->stage_began_ns = now;
}

// True: jobs were added.
static bool next_stage(struct run *run) {
  struct sync *sync = sync_of(run);
  size_t right_count = sync->right_only.count + sync->in_the_way.count;
  switch (sync->stage++) {
    case STAGE_COPY:
      stage_over(sync, COUNT_COPY_NS);
      if (right_count > 0 && !may_delete(run)) keep_all(sync);
      return sync->left_only.count > 0 && sync_moves_gather(run);
    case STAGE_GATHER:
      return sync->moves && sync_moves_hash(run);
    case STAGE_HASH:
      return sync->moves && sync_moves_find(run);
    case STAGE_FIND:
      return sync->moves && sync_moves_do(run);
    case STAGE_MOVE:
      if (sync->moves) sync_moves_end(run);
      return sync_each(run, &sync->left_only, sync_files);
    case STAGE_COPY_REST:
      stage_over(sync, COUNT_MOVE_NS);
      return sync_each(run, &sync->twin_lates, sync_twin_link);
    case STAGE_LINK:
      stage_over(sync, COUNT_COPY_NS);
      // What waited for moves and links was read only now. What could not be may be there under its
      // old name, and nowhere else.
      if (right_count > 0 && !may_delete(run)) keep_all(sync);
      return sync->deletes_max != UINT64_MAX && sync_delete_begin(run, true);
    case STAGE_COUNT:
      if (atomic_load_explicit(&sync->to_delete, memory_order_relaxed) > sync->deletes_max) {
        struct fault fault = {};
        fault_set(&fault, COPSE_E_LIMIT,
                  "%llu entries would be deleted, more than maxDelete, so none is",
                  (unsigned long long)atomic_load_explicit(&sync->to_delete, memory_order_relaxed));
        sync_refuse(run, &fault);
        keep_all(sync);
      }
      return sync_delete_begin(run, false);
    case STAGE_DELETE:
      stage_over(sync, COUNT_DELETE_NS);
      sync_let_go(&sync->right_only);
      return sync_each(run, &sync->in_the_way, replace);
    case STAGE_REPLACE:
      return sync_each(run, &sync->twin_lates, sync_twin_link);
    case STAGE_LINK_AGAIN:
      stage_over(sync, COUNT_COPY_NS);
      sync_plan_end(run);
      summary(run);
      return false;
    default:
      sync->stage = STAGE_OVER;
      return false;
  }
}

static bool end(struct run *run, struct worker *) {
  struct sync *sync = sync_of(run);
  while (sync->stage != STAGE_OVER)
    if (next_stage(run)) return true;
  return false;
}

const struct verb sync_verb = {.name = "sync",
                               .sides = 2,
                               .writes_right = true,
                               .state_size = sizeof(struct sync),
                               .begin = begin,
                               .prepare = sync_prepare,
                               .enter = sync_enter,
                               .see = sync_see,
                               .whole = sync_whole,
                               .leave = sync_leave,
                               .plan = plan,
                               .work = work,
                               .end = end,
                               .close = close};
