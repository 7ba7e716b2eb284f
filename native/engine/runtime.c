#include "engine/runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/record.h"

constexpr uint64_t MEMORY_DEFAULT = 1ull << 30;
constexpr uint32_t DESCRIPTORS_A_WORKER = 6;   // two directories, two files, and room

// ── How much of the machine there is ──

// cgroup v2: "max 100000" or "200000 100000". Containers see it at the root of the mount.
static uint32_t quota_cores(void) {
  FILE *file = fopen("/sys/fs/cgroup/cpu.max", "re");
  if (!file) return UINT32_MAX;
  unsigned long long quota = 0, period = 0;
  int fields = fscanf(file, "%llu %llu", &quota, &period);
  fclose(file);
  if (fields != 2 || period == 0 || quota == 0) return UINT32_MAX;
  unsigned long long cores = (quota + period - 1) / period;
  return cores > 4096 ? UINT32_MAX : (uint32_t)cores;
}

uint32_t system_cores(void) {
  long online = sysconf(_SC_NPROCESSORS_ONLN);
  uint32_t cores = online > 0 ? (uint32_t)online : 1, quota = quota_cores();
  return quota < cores ? quota : cores;
}

// ── Options ──

struct range {
  uint16_t key;
  const char *name;
  uint64_t least, most;
};

static const struct range ranges[] = {
    {COPSE_OPTION_WORKERS, "workers", 1, 256},
    {COPSE_OPTION_IO_WORKERS, "ioWorkers", 1, 256},
    {COPSE_OPTION_CONNECTIONS, "connections", 1, 4096},
    {COPSE_OPTION_MEMORY, "memory", 16ull << 20, 1ull << 40},
    {COPSE_OPTION_IO, "io", COPSE_IO_AUTO, COPSE_IO_URING},
    {COPSE_OPTION_BANDWIDTH, "bandwidth", 1, UINT64_MAX},
};

static int32_t check_options(span options, struct fault *fault) {
  span rest = options;
  struct field field;
  int32_t more;
  while ((more = record_next(&rest, &field, fault)) == 1) {
    const struct range *range = nullptr;
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
      if (ranges[i].key == field.key) range = &ranges[i];
    if (!range || field.kind != COPSE_FIELD_NUMBER)
      return fault_set(fault, COPSE_E_ARGUMENT, "an unknown runtime option (key %u)", field.key);
    if (field.number < range->least || field.number > range->most)
      return fault_set(fault, COPSE_E_ARGUMENT, "%s must be between %llu and %llu, not %llu", range->name,
                       (unsigned long long)range->least, (unsigned long long)range->most,
                       (unsigned long long)field.number);
  }
  return more;
}

static uint32_t least(uint64_t left, uint64_t right) { return (uint32_t)(left < right ? left : right); }

int32_t runtime_open(struct runtime **out, span options, struct fault *fault) {
  int32_t code = check_options(options, fault);
  if (code < 0) return code;
  struct runtime *runtime = calloc(1, sizeof *runtime);
  if (!runtime) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  runtime->cores = system_cores();
  uint32_t usual = runtime->cores * 4 < 8 ? 8 : runtime->cores * 4 > 32 ? 32 : runtime->cores * 4;
  uint64_t memory = record_number(options, COPSE_OPTION_MEMORY, MEMORY_DEFAULT);
  uint64_t io = record_number(options, COPSE_OPTION_IO, COPSE_IO_AUTO);
  runtime->cpu_workers = (uint32_t)record_number(options, COPSE_OPTION_WORKERS, runtime->cores);
  runtime->io_workers = (uint32_t)record_number(options, COPSE_OPTION_IO_WORKERS, usual);
  runtime->connections = (uint32_t)record_number(options, COPSE_OPTION_CONNECTIONS, 64);
  // Workers that could not open their files, or have no memory to read into, would only fail.
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 1024) {
    uint64_t room = limit.rlim_cur > 46 ? (limit.rlim_cur - 46) / DESCRIPTORS_A_WORKER : 1;
    runtime->io_workers = least(runtime->io_workers, room ? room : 1);
  }
  uint64_t slabs = memory / 2 / (2 * WORKER_SLAB);
  runtime->io_workers = least(runtime->io_workers, slabs);
  runtime->cpu_workers = least(runtime->cpu_workers, slabs);
  runtime->backend = COPSE_IO_THREADS;
  if (io == COPSE_IO_BLOCKING) {
    runtime->backend = COPSE_IO_BLOCKING;
    runtime->io_workers = 1;
    runtime->cpu_workers = 0;
  }
  runtime->io = &io_plain;
  buffers_begin(&runtime->buffers, memory);
  mutex_begin(&runtime->lock);
  condition_begin(&runtime->tasks_gone);
  int32_t wake = wake_begin(&runtime->wake);
  if (wake < 0) code = fault_from_errno(fault, -wake, "eventfd");
  bool woken = wake >= 0;
  if (code == 0) code = timers_begin(&runtime->timers);
  if (code == 0) {
    struct pool_options pool = {runtime->io_workers, runtime->cpu_workers, runtime->cores};
    code = pool_begin(&runtime->pool, &pool, &runtime->buffers, runtime->timers);
  }
  if (code == 0) {
    *out = runtime;
    return 0;
  }
  if (fault->code == 0) fault_set(fault, code, "out of memory");
  timers_end(runtime->timers);
  if (woken) wake_end(&runtime->wake);
  condition_end(&runtime->tasks_gone);
  mutex_end(&runtime->lock);
  free(runtime);
  return code;
}

void runtime_close(struct runtime *runtime) {
  for (;;) {  // one at a time: cancelling may end the task, which takes the lock
    mutex_lock(&runtime->lock);
    struct task *task = runtime->all;
    while (task && task_cancelled(task)) task = task->next_all;
    if (task) task_hold(task);
    mutex_unlock(&runtime->lock);
    if (!task) break;
    task_cancel(task, COPSE_E_CANCELLED);
    task_drop(task);
  }
  mutex_lock(&runtime->lock);
  while (runtime->all) condition_wait(&runtime->tasks_gone, &runtime->lock);
  mutex_unlock(&runtime->lock);
  pool_end(runtime->pool);
  timers_end(runtime->timers);
  while (runtime->attachments) {
    struct attachment *attachment = runtime->attachments;
    runtime->attachments = attachment->next;
    attachment->free(attachment);
  }
  wake_end(&runtime->wake);
  condition_end(&runtime->tasks_gone);
  mutex_end(&runtime->lock);
  free(runtime);
}

// ── Tasks ──

void runtime_add(struct runtime *runtime, struct task *task) {
  mutex_lock(&runtime->lock);
  task->next_all = runtime->all;
  if (runtime->all) runtime->all->previous_all = task;
  runtime->all = task;
  runtime->tasks++;
  mutex_unlock(&runtime->lock);
}

// The lock is held.
static void ready_remove(struct runtime *runtime, struct task *task) {
  struct task *before = nullptr;
  for (struct task *at = runtime->ready; at && at != task; at = at->next_ready) before = at;
  *(before ? &before->next_ready : &runtime->ready) = task->next_ready;
  if (runtime->ready_last == task) runtime->ready_last = before;
  task->next_ready = nullptr;
  task->is_ready = false;
}

void runtime_forget(struct runtime *runtime, struct task *task) {
  mutex_lock(&runtime->lock);
  if (task->is_ready) ready_remove(runtime, task);
  if (task->previous_all) task->previous_all->next_all = task->next_all;
  else if (runtime->all == task) runtime->all = task->next_all;
  if (task->next_all) task->next_all->previous_all = task->previous_all;
  runtime->tasks--;
  if (!runtime->all) condition_all(&runtime->tasks_gone);
  mutex_unlock(&runtime->lock);
}

void runtime_ready(struct runtime *runtime, struct task *task) {
  mutex_lock(&runtime->lock);
  if (!task->is_ready) {
    task->is_ready = true;
    task->next_ready = nullptr;
    *(runtime->ready ? &runtime->ready_last->next_ready : &runtime->ready) = task;
    runtime->ready_last = task;
  }
  bool raise = !runtime->raised;
  if (raise) {
    runtime->raised = true;
    runtime->wakes++;
    wake_raise(&runtime->wake);
  }
  mutex_unlock(&runtime->lock);
}

int32_t runtime_drain(struct runtime *runtime, copse_event *events, uint32_t capacity) {
  uint32_t taken = 0;
  mutex_lock(&runtime->lock);
  while (taken < capacity && runtime->ready) {
    struct task *task = runtime->ready;
    runtime->ready = task->next_ready;
    if (!runtime->ready) runtime->ready_last = nullptr;
    task->next_ready = nullptr;
    task->is_ready = false;
    task_hold(task);
    mutex_unlock(&runtime->lock);
    taken += (uint32_t)task_take_events(task, events + taken, capacity - taken);
    // Full: this task may have more to say, and comes again.
    if (taken == capacity) runtime_ready(runtime, task);
    task_drop(task);
    mutex_lock(&runtime->lock);
  }
  // Only under the lock that adding takes: nothing can be added between the look and the flag.
  if (!runtime->ready) runtime->raised = false;
  mutex_unlock(&runtime->lock);
  return (int32_t)taken;
}

int32_t runtime_cancel(struct runtime *runtime, uint32_t token) {
  if (token == 0) return 0;
  int32_t count = 0;
  for (;;) {
    mutex_lock(&runtime->lock);
    struct task *task = runtime->all;
    while (task && (task->token != token || task_cancelled(task))) task = task->next_all;
    if (task) task_hold(task);
    mutex_unlock(&runtime->lock);
    if (!task) return count;
    task_cancel(task, COPSE_E_CANCELLED);
    task_drop(task);
    count++;
  }
}

void runtime_stats(struct runtime *runtime, copse_stats *out) {
  uint32_t io_workers, cpu_workers;
  uint64_t steps;
  pool_counts(runtime->pool, &io_workers, &cpu_workers, &steps);
  mutex_lock(&runtime->lock);
  *out = (copse_stats){.started = runtime->started,
                       .done = runtime->done,
                       .failed = runtime->failed,
                       .cancelled = runtime->cancelled,
                       .running = runtime->running,
                       .queued = runtime->queued,
                       .steps = steps,
                       .wakes = runtime->wakes,
                       .bytes_read = runtime->bytes_read,
                       .bytes_written = runtime->bytes_written,
                       .buffer_bytes = atomic_load(&runtime->buffers.taken),
                       .buffer_limit = runtime->buffers.limit,
                       .io_workers = io_workers,
                       .cpu_workers = cpu_workers,
                       .connections = runtime->connections,
                       .backend = runtime->backend};
  mutex_unlock(&runtime->lock);
}

struct attachment *runtime_attachment(struct runtime *runtime, const void *key,
                                      struct attachment *(*make)(struct runtime *runtime)) {
  mutex_lock(&runtime->lock);
  struct attachment *found = runtime->attachments;
  while (found && found->key != key) found = found->next;
  if (!found && (found = make(runtime))) {
    found->next = runtime->attachments;
    runtime->attachments = found;
  }
  mutex_unlock(&runtime->lock);
  return found;
}
