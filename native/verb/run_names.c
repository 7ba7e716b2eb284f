// run_names: which files the tasks of one batch have named. A server says what a file is called, so
// two that are fetched into one directory may turn out to have one name.
#include <stdlib.h>

#include "engine/runtime.h"
#include "engine/thread.h"
#include "verb/run.h"

struct taken {
  struct taken *next;
  uint64_t batch, device, inode;
  size_t size;
  uint8_t name[];
};

struct names {
  struct attachment attachment;
  mutex lock;
  struct taken *first;
};

static const char names_key;

static void names_free(struct attachment *attachment) {
  struct names *names = (struct names *)attachment;
  while (names->first) {
    struct taken *taken = names->first;
    names->first = taken->next;
    free(taken);
  }
  mutex_end(&names->lock);
  free(names);
}

static struct attachment *names_make(struct runtime *) {
  struct names *names = calloc(1, sizeof *names);
  if (!names) return nullptr;
  names->attachment.key = &names_key;
  names->attachment.free = names_free;
  mutex_begin(&names->lock);
  return &names->attachment;
}

int32_t run_take_name(struct run *run, uint64_t batch, const struct entry *directory, span name,
                      struct fault *fault) {
  struct names *names =
      (struct names *)runtime_attachment(run->task->runtime, &names_key, names_make);
  struct taken *mine = names ? malloc(sizeof *mine + name.size) : nullptr;
  if (!mine) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  *mine = (struct taken){
      .batch = batch, .device = directory->device, .inode = directory->inode, .size = name.size};
  memcpy(mine->name, name.at, name.size);
  bool is_taken = false;
  mutex_lock(&names->lock);
  for (const struct taken *one = names->first; one && !is_taken; one = one->next)
    is_taken = one->batch == batch && one->device == mine->device && one->inode == mine->inode &&
               span_equal((span){one->name, one->size}, name);
  if (!is_taken) {
    mine->next = names->first;
    names->first = mine;
  }
  mutex_unlock(&names->lock);
  if (!is_taken) {
    run->taken = mine;
    return 0;
  }
  free(mine);
  return fault_set(fault, COPSE_E_EXISTS,
                   "another source of this run is called %.*s too and was there first; copy them "
                   "into two directories",
                   (int)(name.size < 128 ? name.size : 128), (const char *)name.at);
}

void run_end_name(struct run *run) {
  const struct task *task = run->task;
  bool has_come =
      !task_cancelled(task) && atomic_load_explicit(&task->errors, memory_order_relaxed) == 0;
  if (!run->taken || has_come) return;
  struct names *names = (struct names *)runtime_attachment(task->runtime, &names_key, names_make);
  mutex_lock(&names->lock);
  struct taken **at = &names->first;
  while (*at != run->taken) at = &(*at)->next;
  *at = run->taken->next;
  mutex_unlock(&names->lock);
  free(run->taken);
}
