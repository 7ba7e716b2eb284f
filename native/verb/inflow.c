#include "verb/inflow.h"

#include "engine/runtime.h"

constexpr size_t BLOCK_BYTES = 64 * 1024;  // small pushes are gathered into writes of this size
// Pushed and not yet taken; enough to keep a disk busy.
constexpr size_t QUEUE_BYTES_MAX = 1024 * 1024;
constexpr size_t BLOCK_ROOM = BLOCK_BYTES - sizeof(struct block);

static void block_free(struct run *run, struct block *block) {
  buffer_give(&run->task->runtime->buffers, (uint8_t *)block, BLOCK_BYTES);
}

static void blocks_free(struct run *run, struct block *block) {
  while (block) {
    struct block *next = block->next;
    block_free(run, block);
    block = next;
  }
}

// Copies the bytes to the end of the queue, all or none. The lock is held.
static int32_t queue_add(struct inflow *inflow, struct run *run, span bytes, struct fault *fault) {
  // A push larger than the queue is taken when nothing else is there, or it would never be.
  if (inflow->queued > 0 && inflow->queued + bytes.size > QUEUE_BYTES_MAX) {
    inflow->refused = bytes.size;
    return fault_set(fault, COPSE_E_BUSY, "no room now: wait for room and push again");
  }
  size_t room = inflow->last ? BLOCK_ROOM - inflow->last->filled : 0;
  struct block *added = nullptr, **end = &added;
  for (; room < bytes.size; room += BLOCK_ROOM) {
    struct block *block =
        (struct block *)(void *)buffer_take(&run->task->runtime->buffers, BLOCK_BYTES, false);
    if (!block) {
      blocks_free(run, added);
      return fault_set(fault, COPSE_E_MEMORY, "out of memory for pushed bytes");
    }
    *block = (struct block){};
    *end = block;
    end = &block->next;
  }
  *(inflow->last ? &inflow->last->next : &inflow->first) = added;
  if (!inflow->last) inflow->last = added;
  inflow->queued += bytes.size;
  for (struct block *block = inflow->last; bytes.size > 0; block = block->next) {
    size_t free = BLOCK_ROOM - block->filled, taken = bytes.size < free ? bytes.size : free;
    memcpy(block->bytes + block->filled, bytes.at, taken);
    block->filled += taken;
    bytes = (span){bytes.at + taken, bytes.size - taken};
    inflow->last = block;
  }
  return 0;
}

// Whether the caller has to add the job. The lock is held.
static bool schedule(struct inflow *inflow) {
  bool wanted = inflow->is_open && !inflow->is_scheduled && (inflow->first || inflow->is_ended);
  if (wanted) inflow->is_scheduled = true;
  return wanted;
}

int32_t inflow_push(struct inflow *inflow, struct run *run, span bytes, struct fault *fault) {
  int32_t code = 0;
  mutex_lock(&run->task->lock);
  if (inflow->is_ended)
    code = fault_set(fault, COPSE_E_CLOSED, "the end came already");
  else if (bytes.size == 0)
    inflow->is_ended = true;
  else
    code = queue_add(inflow, run, bytes, fault);
  bool wanted = code == 0 && schedule(inflow);
  mutex_unlock(&run->task->lock);
  if (wanted) run_add(run, JOB_LEAF, &inflow->job);
  return code;
}

void inflow_open(struct inflow *inflow, struct run *run,
                 void (*take)(struct job *, struct worker *)) {
  inflow->run = run;
  inflow->job.run = take;
  task_expect(run->task);
  mutex_lock(&run->task->lock);
  inflow->is_open = true;
  bool wanted = schedule(inflow);  // what was pushed before now
  mutex_unlock(&run->task->lock);
  if (wanted) run_add(run, JOB_LEAF, &inflow->job);
}

struct block *inflow_take(struct inflow *inflow, bool *is_ended) {
  struct task *task = inflow->run->task;
  mutex_lock(&task->lock);
  struct block *block = inflow->first;
  *is_ended = !block && inflow->is_ended;
  if (block) {
    inflow->first = block->next;
    if (!inflow->first) inflow->last = nullptr;
  } else if (!*is_ended) {
    inflow->is_scheduled = false;
  }
  mutex_unlock(&task->lock);
  return block;
}

// Room is told when a push was refused, half of the queue is free, and that push would fit.
void inflow_give(struct inflow *inflow, struct block *block) {
  struct task *task = inflow->run->task;
  size_t size = block->filled;
  block_free(inflow->run, block);
  mutex_lock(&task->lock);
  size_t queued = inflow->queued -= size;
  bool fits = queued <= QUEUE_BYTES_MAX / 2 && inflow->refused <= QUEUE_BYTES_MAX - queued;
  bool tell = inflow->refused > 0 && (queued == 0 || fits);
  if (tell) inflow->refused = 0;
  mutex_unlock(&task->lock);
  if (tell) task_room(task, (uint32_t)(QUEUE_BYTES_MAX - queued));
}

void inflow_close(struct inflow *inflow, struct run *run) { blocks_free(run, inflow->first); }
