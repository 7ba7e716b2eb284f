#include "engine/runtime.h"

#include <stddef.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/record.h"

constexpr uint64_t MEMORY_DEFAULT = 1ull << 30;
constexpr uint32_t CONNECTIONS_DEFAULT = 64;
constexpr uint64_t CONNECTION_IDLE_NS = 90 * UINT64_C(1'000'000'000);
constexpr uint32_t DESCRIPTORS_A_WORKER = 6;  // two directories, two files, and room
constexpr uint32_t DESCRIPTORS_OTHERS = 46;   // what Bun itself and the program have open
// While more jobs wait, the event loop is told of this many rows or events at once, or after this
// long: being woken costs it more than most events do.
constexpr uint32_t UNTOLD_MAX = 16;
constexpr uint64_t UNTOLD_NS = 1'000'000;
constexpr uint32_t BATCH_TASKS = 32;  // taken off the ready list under one lock

// Options

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
      return fault_set(fault, COPSE_E_ARGUMENT, "%s must be between %llu and %llu, not %llu",
                       range->name, (unsigned long long)range->least,
                       (unsigned long long)range->most, (unsigned long long)field.number);
  }
  return more;
}

static uint32_t least(uint64_t left, uint64_t right) {
  return (uint32_t)(left < right ? left : right);
}

// What was asked for, as far as the machine goes along: workers that could not open their files, or
// have no memory to read into, would only fail.
static void fit(struct runtime *runtime, span options, uint64_t memory) {
  uint32_t cores = system_cores();
  uint32_t usual = cores * 4 < 8 ? 8 : cores * 4 > 32 ? 32 : cores * 4;
  runtime->cores = cores;
  runtime->cpu_workers = (uint32_t)record_number(options, COPSE_OPTION_WORKERS, cores);
  runtime->io_workers = (uint32_t)record_number(options, COPSE_OPTION_IO_WORKERS, usual);
  runtime->connections =
      (uint32_t)record_number(options, COPSE_OPTION_CONNECTIONS, CONNECTIONS_DEFAULT);
  runtime->connection_idle_ns = CONNECTION_IDLE_NS;
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    uint64_t room = limit.rlim_cur > DESCRIPTORS_OTHERS ? limit.rlim_cur - DESCRIPTORS_OTHERS : 0;
    uint64_t workers = room / DESCRIPTORS_A_WORKER;
    runtime->io_workers = least(runtime->io_workers, workers ? workers : 1);
  }
  uint64_t slabs = memory / 2 / (2 * WORKER_SLAB);  // at least 16, as memory's least value goes
  runtime->io_workers = least(runtime->io_workers, slabs);
  runtime->cpu_workers = least(runtime->cpu_workers, slabs);
  runtime->backend = COPSE_IO_THREADS;
  runtime->io = &io_plain;
  uint64_t asked = record_number(options, COPSE_OPTION_IO, COPSE_IO_AUTO);
  if (asked == COPSE_IO_BLOCKING) {
    runtime->backend = COPSE_IO_BLOCKING;
    runtime->io_workers = 1;
    runtime->cpu_workers = 0;
  }
  // AUTO never takes a ring: it loses on warm files, and containers often forbid it. Who asks for
  // one that the kernel refuses gets threads, and the backend says so.
  if (asked == COPSE_IO_URING) {
    struct io_ring_probe probe;
    io_ring_probe(&probe);
    if (probe.refused == 0) {
      runtime->backend = COPSE_IO_URING;
      io_ring_table(&runtime->io_own);
      runtime->io = &runtime->io_own;
    }
  }
}

// The lock is held. True: afterwards, without it, comes wake_raise. Whoever is woken wants the lock
// at once, and would have to wait for it.
[[nodiscard]] static bool raise_flag(struct runtime *runtime) {
  __atomic_store_n(&runtime->untold, 0, __ATOMIC_RELAXED);
  if (runtime->raised) return false;
  runtime->raised = true;
  runtime->wakes++;
  return true;
}

// A worker has nothing more to do, so there is nothing to wait for.
static void tell(void *owner) {
  struct runtime *runtime = owner;
  if (__atomic_load_n(&runtime->untold, __ATOMIC_RELAXED) == 0) return;
  mutex_lock(&runtime->lock);
  bool wake = runtime->untold > 0 && raise_flag(runtime);
  mutex_unlock(&runtime->lock);
  if (wake) wake_raise(&runtime->wake);
}

static void tell_fire(struct timer *timer) {
  struct runtime *runtime =
      (struct runtime *)(void *)((uint8_t *)timer - offsetof(struct runtime, tell_timer));
  mutex_lock(&runtime->lock);
  runtime->tell_timer_set = false;
  bool wake = runtime->untold > 0 && raise_flag(runtime);
  mutex_unlock(&runtime->lock);
  if (wake) wake_raise(&runtime->wake);
}

int32_t runtime_open(struct runtime **out, span options, struct fault *fault) {
  int32_t code = check_options(options, fault);
  if (code < 0) return code;
  struct runtime *runtime = calloc(1, sizeof *runtime);
  if (!runtime) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  uint64_t memory = record_number(options, COPSE_OPTION_MEMORY, MEMORY_DEFAULT);
  fit(runtime, options, memory);
  int32_t wake = wake_begin(&runtime->wake);
  if (wake < 0) {
    free(runtime);
    return fault_from_errno(fault, -wake, wake_name);
  }
  buffers_begin(&runtime->buffers, memory);
  limit_begin(&runtime->limit, record_number(options, COPSE_OPTION_BANDWIDTH, 0), clock_now());
  mutex_begin(&runtime->lock);
  condition_begin(&runtime->tasks_gone);
  struct pool_options pool = {
      .io_workers = runtime->io_workers,
      .cpu_workers = runtime->cpu_workers,
      .aside = runtime->backend == COPSE_IO_BLOCKING ? 0 : runtime->connections,
      .cores = runtime->cores,
      .out_of_work = tell,
      .owner = runtime,
  };
  runtime->tell_timer.fire = tell_fire;
  code = timers_begin(&runtime->timers);
  if (code == 0) code = pool_begin(&runtime->pool, &pool, &runtime->buffers, runtime->timers);
  if (code == 0) {
    *out = runtime;
    return 0;
  }
  runtime_close(runtime);
  return fault_set(fault, code, "out of memory");
}

// Calls for each task that carries the token, or for all. Without the lock, because cancelling may
// end the task; a task that is held stays on the list, so its neighbour can be found from it. Tasks
// that come meanwhile are not seen.
static int32_t cancel_each(struct runtime *runtime, bool all, uint32_t token) {
  int32_t count = 0;
  struct task *held = nullptr;
  for (;;) {
    mutex_lock(&runtime->lock);
    struct task *task = held ? held->next_all : runtime->all;
    while (task && ((!all && task->token != token) || !task_hold_alive(task)))
      task = task->next_all;
    mutex_unlock(&runtime->lock);
    task_drop(held);
    if (!task) return count;
    task_cancel(task, COPSE_E_CANCELLED);
    held = task;
    count++;
  }
}

void runtime_close(struct runtime *runtime) {
  cancel_each(runtime, true, 0);
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
  limit_end(&runtime->limit);
  wake_end(&runtime->wake);
  condition_end(&runtime->tasks_gone);
  mutex_end(&runtime->lock);
  free(runtime);
}

// Tasks

void runtime_add(struct runtime *runtime, struct task *task) {
  mutex_lock(&runtime->lock);
  task->next_all = runtime->all;
  if (runtime->all) runtime->all->previous_all = task;
  runtime->all = task;
  runtime->tasks++;
  task->turn = ++runtime->started;
  runtime->queued++;
  mutex_unlock(&runtime->lock);
}

void runtime_count_begin(struct runtime *runtime, struct task *task) {
  mutex_lock(&runtime->lock);
  runtime->queued--;
  runtime->running++;
  atomic_store_explicit(&task->state, TASK_RUNNING, memory_order_relaxed);
  mutex_unlock(&runtime->lock);
}

void runtime_count_end(struct runtime *runtime, struct task *task) {
  enum task_state state = task->code == 0                   ? TASK_DONE
                          : task->code == COPSE_E_CANCELLED ? TASK_CANCELLED
                                                            : TASK_FAILED;
  mutex_lock(&runtime->lock);
  bool ran = atomic_exchange_explicit(&task->state, state, memory_order_relaxed) == TASK_RUNNING;
  (*(ran ? &runtime->running : &runtime->queued))--;
  (*(state == TASK_DONE     ? &runtime->done
     : state == TASK_FAILED ? &runtime->failed
                            : &runtime->cancelled))++;
  mutex_unlock(&runtime->lock);
}

bool runtime_awaits_older(struct runtime *runtime, uint64_t turn) {
  bool awaits = false;
  mutex_lock(&runtime->lock);
  for (const struct task *task = runtime->all; task && !awaits; task = task->next_all)
    awaits = task->turn < turn &&
             atomic_load_explicit(&task->state, memory_order_relaxed) <= TASK_RUNNING &&
             !atomic_load_explicit(&task->has_opened, memory_order_acquire);
  mutex_unlock(&runtime->lock);
  return awaits;
}

// The lists; the lock is held

static void ready_append(struct runtime *runtime, struct task *task) {
  task->previous_ready = runtime->ready_last;
  task->next_ready = nullptr;
  *(runtime->ready_last ? &runtime->ready_last->next_ready : &runtime->ready) = task;
  runtime->ready_last = task;
  task->is_ready = true;
}

static void ready_remove(struct runtime *runtime, struct task *task) {
  *(task->previous_ready ? &task->previous_ready->next_ready : &runtime->ready) = task->next_ready;
  *(task->next_ready ? &task->next_ready->previous_ready : &runtime->ready_last) =
      task->previous_ready;
  task->previous_ready = task->next_ready = nullptr;
  task->is_ready = false;
}

static void ready_prepend(struct runtime *runtime, struct task *task) {
  if (task->is_ready) ready_remove(runtime, task);
  task->next_ready = runtime->ready;
  *(runtime->ready ? &runtime->ready->previous_ready : &runtime->ready_last) = task;
  runtime->ready = task;
  task->is_ready = true;
}

void runtime_forget(struct runtime *runtime, struct task *task) {
  mutex_lock(&runtime->lock);
  if (task->is_ready) ready_remove(runtime, task);
  *(task->previous_all ? &task->previous_all->next_all : &runtime->all) = task->next_all;
  if (task->next_all) task->next_all->previous_all = task->previous_all;
  runtime->tasks--;
  if (atomic_load_explicit(&task->state, memory_order_relaxed) ==
      TASK_QUEUED) {  // got no id: it never was
    runtime->started--;
    runtime->queued--;
  }
  if (!runtime->all) condition_all(&runtime->tasks_gone);
  mutex_unlock(&runtime->lock);
}

void runtime_ready(struct runtime *runtime, struct task *task, uint32_t count) {
  bool wait = pool_has_waiting(runtime->pool), set = false, wake = false;
  mutex_lock(&runtime->lock);
  if (!task->is_ready) ready_append(runtime, task);
  if (!runtime->raised) {
    uint32_t untold = runtime->untold + count;
    __atomic_store_n(&runtime->untold, untold, __ATOMIC_RELAXED);
    if (!wait || untold >= UNTOLD_MAX)
      wake = raise_flag(runtime);
    else if (!runtime->tell_timer_set)
      set = runtime->tell_timer_set = true;
  }
  mutex_unlock(&runtime->lock);
  if (wake) wake_raise(&runtime->wake);
  if (set && !timer_set(runtime->timers, &runtime->tell_timer, clock_now() + UNTOLD_NS))
    tell_fire(&runtime->tell_timer);
}

int32_t runtime_drain(struct runtime *runtime, copse_event *events, uint32_t capacity,
                      bool behind) {
  uint32_t taken = 0;
  struct task *batch[BATCH_TASKS];
  mutex_lock(&runtime->lock);
  while (taken < capacity && runtime->ready) {
    uint32_t count = 0, at = 0;
    while (count < BATCH_TASKS && count < capacity - taken && runtime->ready) {
      struct task *task = runtime->ready;
      ready_remove(runtime, task);
      if (task_hold_alive(task)) batch[count++] = task;
    }
    mutex_unlock(&runtime->lock);
    for (; at < count && taken < capacity; at++)
      taken += (uint32_t)task_take_events(batch[at], events + taken, capacity - taken, behind);
    mutex_lock(&runtime->lock);
    // Full: the last one may have more to say, and those behind it were not asked.
    if (taken == capacity)
      for (uint32_t i = count; i >= at && i > 0; i--) ready_prepend(runtime, batch[i - 1]);
    if (count == 0) continue;
    mutex_unlock(&runtime->lock);
    for (uint32_t i = 0; i < count; i++) task_drop(batch[i]);
    mutex_lock(&runtime->lock);
  }
  // Only under the lock that adding takes: nothing can be added between the look and the flag.
  if (!runtime->ready) {
    runtime->raised = false;
    __atomic_store_n(&runtime->untold, 0, __ATOMIC_RELAXED);
  }
  mutex_unlock(&runtime->lock);
  return (int32_t)taken;
}

int32_t runtime_cancel(struct runtime *runtime, uint32_t token) {
  return token == 0 ? 0 : cancel_each(runtime, false, token);
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
