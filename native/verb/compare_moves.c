// compare_moves: an only-left and an only-right file of the same size and content are one file that
// moved.
//
// One-sided files are kept until the walk is over. Then only those whose size occurs on both sides
// are hashed, as jobs; when those ended, a content that exists exactly once on each side is a move.
// Unclear ties stay what they are.
#include <stdlib.h>

#include "base/record.h"
#include "engine/thread.h"
#include "verb/compare.h"

struct candidate {
  struct job job;
  struct run *run;
  struct candidate *next;
  struct node *node;   // held
  struct entry entry;  // its name lives in the node's listing
  uint8_t side;
  bool wanted, hashed;
  uint8_t digest[HASH_BYTES];
};

struct moves {
  mutex lock;
  struct candidate *first;  // guarded by the lock while the walk goes on
  size_t count;
  struct candidate **sorted;
  bool hashing;
};

int32_t moves_begin(struct run *, struct moves **out, struct fault *fault) {
  struct moves *moves = calloc(1, sizeof *moves);
  if (!moves) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  mutex_begin(&moves->lock);
  *out = moves;
  return 0;
}

void moves_free(struct moves *moves) {
  if (!moves) return;
  while (moves->first) {
    struct candidate *candidate = moves->first;
    moves->first = candidate->next;
    node_drop(candidate->node);
    free(candidate);
  }
  mutex_end(&moves->lock);
  free(moves->sorted);
  free(moves);
}

static void hash_job(struct job *job, struct worker *worker) {
  struct candidate *candidate = (struct candidate *)job;
  if (run_over(candidate->run)) return;
  struct arena arena;
  arena_begin(&arena);
  struct spot spot = {
      .run = candidate->run, .node = candidate->node, .worker = worker, .arena = &arena};
  struct fault fault = {};
  // What cannot be read is no move; its one-sided row says what is known.
  if (node_use(candidate->node, &spot.side, &fault) == 0) {
    uint32_t algorithm;
    candidate->hashed = compare_algorithm(candidate->run, &algorithm, &fault) == 0 &&
                        spot_digest(&spot, candidate->side, &candidate->entry, algorithm,
                                    candidate->digest, &fault) == 0;
    node_let_go(candidate->node);
  }
  task_count(candidate->run->task, 0, spot.bytes);
  arena_free(&arena);
}

int32_t moves_keep(struct moves *moves, struct spot *spot, struct entry *entry, uint8_t side,
                   struct fault *fault) {
  struct candidate *candidate = malloc(sizeof *candidate);
  if (!candidate) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  *candidate = (struct candidate){
      .job.run = hash_job, .run = spot->run, .node = spot->node, .entry = *entry, .side = side};
  node_hold(spot->node);
  mutex_lock(&moves->lock);
  candidate->next = moves->first;
  moves->first = candidate;
  moves->count++;
  mutex_unlock(&moves->lock);
  return 0;
}

static int by_size(const void *left, const void *right) {
  const struct candidate *a = *(struct candidate *const *)left,
                         *b = *(struct candidate *const *)right;
  return (a->entry.size > b->entry.size) - (a->entry.size < b->entry.size);
}

static int by_content(const void *left, const void *right) {
  const struct candidate *a = *(struct candidate *const *)left,
                         *b = *(struct candidate *const *)right;
  if (a->hashed != b->hashed) return a->hashed ? -1 : 1;
  int order = a->hashed ? memcmp(a->digest, b->digest, HASH_BYTES) : 0;
  return order ? order : a->side - b->side;
}

static void tell(struct candidate *candidate, struct candidate *from, struct worker *worker) {
  struct run *run = candidate->run;
  struct arena arena;
  arena_begin(&arena);
  struct spot spot = {.run = run, .node = candidate->node, .worker = worker, .arena = &arena};
  struct fault fault = {};
  int32_t code = 0;
  if (!from) {
    code = spot_report(&spot, candidate->side == LEFT ? COPSE_ROW_ONLY_LEFT : COPSE_ROW_ONLY_RIGHT,
                       &candidate->entry, candidate->side, &fault);
  } else {
    size_t above = node_path_size(from->node),
           size = above + (above ? 1 : 0) + from->entry.name.size;
    struct record_writer writer = {.capacity = size + 128};
    uint8_t *path = arena_take_bytes(&arena, size);
    writer.at = arena_take_bytes(&arena, writer.capacity);
    if (!path || !writer.at) {
      code = fault_set(&fault, COPSE_E_MEMORY, "out of memory");
    } else {
      node_path(from->node, path);
      if (above) path[above] = '/';
      memcpy(path + size - from->entry.name.size, from->entry.name.at, from->entry.name.size);
      record_put_text(&writer, COPSE_DETAIL_FROM, (span){path, size});
      if (from->entry.mode)
        record_put_number(&writer, COPSE_DETAIL_LEFT_MODE, from->entry.mode & 07777);
      if (candidate->entry.mode)
        record_put_number(&writer, COPSE_DETAIL_RIGHT_MODE, candidate->entry.mode & 07777);
      copse_row row = {.kind = COPSE_ROW_MOVED,
                       .type = ENTRY_FILE | ENTRY_FILE << 4,
                       .left_size = from->entry.size,
                       .right_size = candidate->entry.size,
                       .left_mtime_ns = from->entry.mtime_ns,
                       .right_mtime_ns = candidate->entry.mtime_ns,
                       .extra = COPSE_UNKNOWN};
      spot_emit(&spot, &row, candidate->entry.name, (span){writer.at, writer.size});
    }
  }
  if (code < 0) spot_error(&spot, &fault, candidate->entry.name);
  arena_free(&arena);
}

// Those of one size, on both sides: worth reading.
static size_t want_hashes(struct moves *moves) {
  size_t wanted = 0;
  for (size_t begin = 0, end; begin < moves->count; begin = end) {
    bool side[2] = {};
    for (end = begin;
         end < moves->count && moves->sorted[end]->entry.size == moves->sorted[begin]->entry.size;
         end++)
      side[moves->sorted[end]->side] = true;
    for (size_t i = begin; i < end; i++) moves->sorted[i]->wanted = side[LEFT] && side[RIGHT];
    wanted += side[LEFT] && side[RIGHT] ? end - begin : 0;
  }
  return wanted;
}

bool moves_end(struct run *run, struct worker *worker) {
  struct moves *moves = compare_of(run)->moves;
  if (moves->count == 0) return false;
  if (!moves->hashing) {
    moves->hashing = true;
    moves->sorted = malloc(moves->count * sizeof *moves->sorted);
    if (!moves->sorted) {
      struct fault fault = {};
      fault_set(&fault, COPSE_E_MEMORY, "out of memory");
      task_fail(run->task, &fault, (span){}, (span){});
      return false;
    }
    size_t count = 0;
    for (struct candidate *at = moves->first; at; at = at->next) moves->sorted[count++] = at;
    qsort(moves->sorted, count, sizeof *moves->sorted, by_size);
    if (want_hashes(moves) > 0) {
      for (size_t i = 0; i < count; i++)
        if (moves->sorted[i]->wanted) run_add(run, JOB_COMPUTE, &moves->sorted[i]->job);
      return true;
    }
  }
  qsort(moves->sorted, moves->count, sizeof *moves->sorted, by_content);
  for (size_t begin = 0, end; begin < moves->count && !run_over(run); begin = end) {
    struct candidate **at = &moves->sorted[begin];
    end = begin + 1;
    while (at[0]->hashed && end < moves->count && moves->sorted[end]->hashed &&
           memcmp(at[0]->digest, moves->sorted[end]->digest, HASH_BYTES) == 0)
      end++;
    if (end - begin == 2 && at[0]->side == LEFT && at[1]->side == RIGHT) {
      tell(at[1], at[0], worker);
      continue;
    }
    for (size_t i = begin; i < end; i++) tell(moves->sorted[i], nullptr, worker);
  }
  moves->count = 0;  // told; freed by moves_free
  return false;
}
