// blocks: cuts the files of a tree into blocks where their content says so (base/chunker.h), and
// says of each whether the tree has its content already.
//
// A file is cut by one worker, files by as many as there are. Its blocks are rows as they come: a
// file with many of them gives its worker back when nobody reads the rows.
#include <stdlib.h>

#include "base/record.h"
#include "engine/runtime.h"
#include "tree/block_index.h"
#include "verb/cutter.h"

// One file being cut.
struct cutting {
  struct job job;
  struct cutting *next_spare;
  struct node *node;  // kept
  struct entry entry, before;
  struct reader reader;
  struct cutter cutter;
  int64_t file;  // its number in the index; negative: none yet
  uint8_t buffer[];
};

struct blocks {
  struct block_index index;
  struct chunker fresh;
  size_t buffer_size;
  mutex lock;
  struct cutting *spare;  // guarded by `lock`
};

static size_t cutting_size(const struct blocks *blocks) {
  return sizeof(struct cutting) + blocks->buffer_size;
}

static int32_t begin(struct run *run, struct fault *) {
  struct blocks *blocks = run->state;
  mutex_begin(&blocks->lock);
  block_index_begin(&blocks->index, &run->task->runtime->buffers);
  span request = {run->task->request, run->task->request_len};
  // The request was checked when it came.
  chunker_begin(&blocks->fresh,
                (uint32_t)record_number(request, COPSE_KEY_BLOCK_SIZE, CHUNK_SIZE_DEFAULT));
  blocks->buffer_size = cutter_room(&blocks->fresh);
  run->batch_place = JOB_COMPUTE;
  return 0;
}

static void close_blocks(struct run *run) {
  struct blocks *blocks = run->state;
  if (!blocks->index.buffers) return;  // it did not begin
  for (struct cutting *cutting = blocks->spare; cutting;) {
    struct cutting *next = cutting->next_spare;
    buffer_give(&run->task->runtime->buffers, (uint8_t *)cutting, cutting_size(blocks));
    cutting = next;
  }
  block_index_end(&blocks->index);
  mutex_end(&blocks->lock);
}

static struct step plan(const struct run *, const struct pair *pair) {
  enum entry_type type = pair->left->type;
  bool is_cut = type == ENTRY_FILE || type == ENTRY_NONE;
  return (struct step){
      .pair = *pair, .kind = is_cut ? STEP_COMPARE : STEP_NONE, .descend = type == ENTRY_DIRECTORY};
}

// ── Rows ──

static int64_t number_of_file(struct spot *spot, struct cutting *cutting, struct fault *fault) {
  if (cutting->file >= 0) return cutting->file;
  struct blocks *blocks = spot->run->state;
  bool is_root = spot->node->nameless;
  span path = is_root ? spot->run->path : spot_path_of(spot, cutting->entry.name);
  if (!is_root && !path.at) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  return cutting->file = block_index_file(&blocks->index, path, fault);
}

static int32_t tell_block(struct spot *spot, struct cutting *cutting, const uint8_t *bytes,
                          uint64_t offset, size_t size, struct fault *fault) {
  struct blocks *blocks = spot->run->state;
  struct block block = {.offset = offset, .size = (uint32_t)size}, first;
  hash_of((span){bytes, size}, block.hash);
  int64_t file = number_of_file(spot, cutting, fault);
  if (file < 0) return (int32_t)file;
  block.file = (uint32_t)file;
  span path = {};
  int32_t code = block_index_add(&blocks->index, &block, &first, &path, fault);
  if (code < 0) return code;
  copse_row row = {.kind = code == 1 ? COPSE_ROW_DUPLICATE : COPSE_ROW_UNIQUE,
                   .type = ENTRY_FILE,
                   .left_size = size,
                   .right_size = code == 1 ? first.offset : COPSE_UNKNOWN,
                   .left_mtime_ns = COPSE_UNKNOWN_TIME,
                   .right_mtime_ns = COPSE_UNKNOWN_TIME,
                   .extra = offset};
  struct record_writer writer = {.capacity = HASH_BYTES + path.size + 16};
  writer.at = worker_slabs(spot->worker) && writer.capacity <= WORKER_SLAB ? spot->worker->slab[0]
                                                                           : nullptr;
  if (!writer.at) return fault_set(fault, COPSE_E_MEMORY, "out of memory for a row");
  record_put_text(&writer, COPSE_DETAIL_LEFT_HASH, (span){block.hash, HASH_BYTES});
  if (code == 1) record_put_text(&writer, COPSE_DETAIL_FROM, path);
  spot_emit(spot, &row, cutting->entry.name, (span){writer.at, writer.size});
  return 0;
}

// ── Files ──

static struct cutting *cutting_take(struct blocks *blocks, struct buffers *buffers) {
  mutex_lock(&blocks->lock);
  struct cutting *cutting = blocks->spare;
  if (cutting) blocks->spare = cutting->next_spare;
  mutex_unlock(&blocks->lock);
  return cutting ? cutting : (struct cutting *)buffer_take(buffers, cutting_size(blocks), true);
}

static void cutting_give(struct blocks *blocks, struct cutting *cutting) {
  mutex_lock(&blocks->lock);
  cutting->next_spare = blocks->spare;
  blocks->spare = cutting;
  mutex_unlock(&blocks->lock);
}

// 1: all of it was cut; 0: nobody reads the rows, so it goes on later.
static int32_t cut(struct spot *spot, struct cutting *cutting, struct fault *fault) {
  while (!task_parked(spot->run->task)) {
    const uint8_t *bytes;
    uint64_t offset, before = cutting->cutter.read_at;
    int64_t size = cutter_next(&cutting->cutter, spot, &bytes, &offset, fault);
    if (size < 0) return (int32_t)size;
    spot->bytes += cutting->cutter.read_at - before;
    if (size == 0) return 1;
    int32_t code = tell_block(spot, cutting, bytes, offset, (size_t)size, fault);
    if (code < 0) return code;
  }
  return run_over(spot->run) ? fault_set(fault, COPSE_E_CANCELLED, "cancelled") : 0;
}

static int32_t still_the_same(struct spot *spot, struct cutting *cutting, struct fault *fault) {
  struct entry after = cutting->before;
  int32_t code = cutting->reader.store->ops->measure(&cutting->reader, &after, nullptr, fault);
  if (code == 0 &&
      (cutting->before.size != after.size || cutting->before.mtime_ns != after.mtime_ns))
    code = fault_set(fault, COPSE_E_CHANGED,
                     "the file changed while it was read; run again when nobody writes to it");
  // What one read took was whole when it was read.
  if (code < 0 || after.size <= WORKER_SLAB) return code;
  code = node_use(spot->node, &spot->side, fault);
  if (code < 0) return code;
  code = run_still_there(spot->node->directory[LEFT], &after, &cutting->entry, fault);
  node_let_go(spot->node);
  return code;
}

static void job_run(struct job *job, struct worker *worker);

// Cuts as much as is wanted now. What is left is a job; else `cutting` is given back.
static int32_t go_on(struct spot *spot, struct cutting *cutting, struct fault *fault) {
  int32_t code = cut(spot, cutting, fault);
  if (code == 0) {
    cutting->job = (struct job){.run = job_run};
    run_add(spot->run, JOB_COMPUTE, &cutting->job);
    return 0;
  }
  if (code > 0) code = still_the_same(spot, cutting, fault);
  cutting->reader.store->ops->read_end(&cutting->reader);
  node_drop(cutting->node);
  cutting_give(spot->run->state, cutting);
  return code;
}

static void job_run(struct job *job, struct worker *worker) {
  struct cutting *cutting = (struct cutting *)job;
  struct arena arena;
  struct node *node = cutting->node;
  node_hold(node);  // for the row of a fault
  struct spot spot = run_spot(node->walk->owner, node, worker, &arena);
  struct fault fault = {};
  span name = cutting->entry.name;
  if (go_on(&spot, cutting, &fault) < 0) spot_error(&spot, &fault, name);
  run_spot_end(&spot);
  node_drop(node);
}

static int32_t work(struct spot *spot, const struct step *step, struct fault *fault) {
  struct entry *entry = step->pair.left;
  if (entry->type == ENTRY_NONE) return node_trouble(spot->node, LEFT, entry, fault);
  struct directory *directory = spot->node->directory[LEFT];
  const struct store_ops *ops = directory->store->ops;
  struct blocks *blocks = spot->run->state;
  spot->side = LEFT;
  if (directory->store->can & ONLY_DIGEST)
    return fault_set(fault, COPSE_E_UNSUPPORTED, "a manifest has hashes, and no content to cut");
  struct cutting *cutting = cutting_take(blocks, &spot->run->task->runtime->buffers);
  if (!cutting)
    return fault_set(fault, COPSE_E_LIMIT,
                     "a buffer for blocks of this size does not fit into the memory of this "
                     "runtime: take smaller blocks (size), or more memory");
  cutting->entry = cutting->before = *entry;
  cutting->entry.has &= (uint8_t)~HAS_TARGET;
  cutting->file = -1;
  cutting->reader = (struct reader){};
  int32_t code = ops->reader(directory, entry, &cutting->reader, fault);
  if (code == 0) {
    code = ops->measure(&cutting->reader, &cutting->before, nullptr, fault);
    if (code < 0) ops->read_end(&cutting->reader);
  }
  if (code < 0) {
    cutting_give(blocks, cutting);
    return code;
  }
  cutter_begin(&cutting->cutter, &blocks->fresh, &cutting->reader, 0, cutting->before.size,
               cutting->buffer);
  spot->files++;
  cutting->node = spot->node;
  node_hold(spot->node);
  return go_on(spot, cutting, fault);
}

const struct verb blocks_verb = {.name = "blocks",
                                 .sides = 1,
                                 .state_size = sizeof(struct blocks),
                                 .begin = begin,
                                 .plan = plan,
                                 .work = work,
                                 .close = close_blocks};
