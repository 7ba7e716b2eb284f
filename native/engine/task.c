#include "engine/task.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/seal.h"
#include "engine/event.h"
#include "engine/runtime.h"

constexpr uint64_t WORKERS_LIMITED = 2;  // of a task with a bandwidth

static bool then(struct group *group, struct worker *worker);
static void deadline_fire(struct timer *timer);

struct task *task_new(struct runtime *runtime, span request) {
  struct task *task =
      request.size <= PTRDIFF_MAX - sizeof *task ? calloc(1, sizeof *task + request.size) : nullptr;
  if (!task) return nullptr;
  uint8_t *copy = (uint8_t *)(task + 1);
  if (request.size) memcpy(copy, request.at, request.size);
  task->runtime = runtime;
  task->request = copy;
  task->request_len = request.size;
  atomic_init(&task->references, 2);
  atomic_init(&task->total_bytes, COPSE_UNKNOWN);
  atomic_init(&task->state, TASK_QUEUED);
  mutex_begin(&task->lock);
  condition_begin(&task->waiting);
  task->page_timer.fire = event_page_fire;
  task->deadline_timer.fire = deadline_fire;
  task->progress_timer.fire = event_progress_fire;
  span own = {copy, request.size};
  struct fault ignored = {};
  if (record_check(own, &ignored) < 0) own = (span){};  // refused later, by who reads the verb
  task->token = (uint32_t)record_number(own, COPSE_KEY_TOKEN, 0);
  task->waited = record_number(own, COPSE_KEY_WAITED, 0) != 0;
  task->untold = record_number(own, COPSE_KEY_UNTOLD, 0);
  uint64_t priority = record_number(own, COPSE_KEY_PRIORITY, 1);
  uint64_t most = record_number(own, COPSE_KEY_CONCURRENCY, 0);
  limit_begin(&task->limit, record_number(own, COPSE_KEY_BANDWIDTH, 0), clock_now());
  // A worker that waits for its bytes to be allowed is no use to other tasks.
  if (task->limit.per_second && (most == 0 || most > WORKERS_LIMITED)) most = WORKERS_LIMITED;
  group_begin(&task->group, runtime->pool, (uint8_t)(priority > 2 ? 1 : priority), (uint32_t)most,
              then);
  return task;
}

static void deadline_fire(struct timer *timer) {
  task_cancel(TASK_OF(timer, deadline_timer), COPSE_E_TIMEOUT);
}

static void set_timers(struct task *task) {
  constexpr uint64_t LONGEST = UINT64_MAX / 2 / 1'000'000;  // 292 years are for ever
  span request = {task->request, task->request_len};
  uint64_t deadline = record_number(request, COPSE_KEY_DEADLINE, 0);
  uint64_t progress = record_number(request, COPSE_KEY_PROGRESS, 0);
  struct timers *timers = task->runtime->timers;
  uint64_t now = clock_now();
  if (deadline && deadline < LONGEST) {
    task->timed = true;
    if (!timer_set(timers, &task->deadline_timer, now + deadline * 1'000'000)) {
      struct fault fault = {};
      fault_set(&fault, COPSE_E_MEMORY, "out of memory for the deadline");
      task_fail(task, &fault, (span){}, (span){});
    }
  }
  if (progress && progress < LONGEST) {
    task->timed = true;
    task->progress_every_ns = progress * 1'000'000;
    (void)!timer_set(timers, &task->progress_timer, now + task->progress_every_ns);
  }
}

void task_start(struct task *task, enum job_place place, struct job *first) {
  set_timers(task);
  group_run(&task->group, place, first);
}

// Failing and cancelling

// Of several only the first says how the task ends. The lock is held.
static bool decide(struct task *task, int32_t code) {
  uint32_t none = 0;
  bool is_cancel = code == COPSE_E_CANCELLED || code == COPSE_E_TIMEOUT;
  if (task->committing && is_cancel) return false;
  return !task->ending && atomic_compare_exchange_strong(&task->cancelled, &none, (uint32_t)-code);
}

// After a decision nothing waits for JavaScript any more.
static void wind_up(struct task *task) {
  struct pool *pool = task->runtime->pool;
  mutex_lock(&task->lock);
  bool unpark = task->parked, let_go = task->expecting;
  __atomic_store_n(&task->parked, false, __ATOMIC_RELAXED);
  task->expecting = false;
  if (unpark) group_unpark(&task->group);
  if (let_go) task_hold(task);
  mutex_unlock(&task->lock);
  if (unpark) pool_wake(pool);
  if (!let_go) return;
  group_let_go(&task->group);
  task_drop(task);
}

bool task_cancel(struct task *task, int32_t code) {
  mutex_lock(&task->lock);
  bool first = decide(task, code), is_late = task->committing;
  mutex_unlock(&task->lock);
  if (first || is_late) wind_up(task);
  return is_late;
}

bool task_commits(struct task *task) {
  mutex_lock(&task->lock);
  if (!task_cancelled(task)) task->committing = true;
  bool is_on = task->committing;
  mutex_unlock(&task->lock);
  return is_on;
}

static char *keep(span bytes, size_t *size) {
  char *copy = bytes.size ? malloc(bytes.size) : nullptr;
  *size = copy ? bytes.size : 0;
  if (copy) memcpy(copy, bytes.at, bytes.size);
  return copy;
}

void task_fail(struct task *task, const struct fault *fault, span location, span path) {
  int32_t code = fault->code < 0 ? fault->code : COPSE_E_INTERNAL;
  mutex_lock(&task->lock);
  bool first = decide(task, code);
  if (first) {
    task->fault = *fault;
    task->fault.code = code;
    task->fault_location = keep(location, &task->fault_location_len);
    task->fault_path = keep(path, &task->fault_path_len);
  }
  mutex_unlock(&task->lock);
  if (first) wind_up(task);
}

int32_t task_error(struct task *task, uint8_t *into, size_t capacity) {
  struct record_writer writer = {into, capacity, 0};
  mutex_lock(&task->lock);
  struct fault fault = task->fault;
  int32_t code = task->done_pending ? task->code : 0;
  if (code < 0 && fault.code == 0) {
    if (code == COPSE_E_TIMEOUT)
      fault_set(&fault, code, "the task took longer than its timeout; allow more time");
    else
      fault_set(&fault, code, "%s",
                code == COPSE_E_CANCELLED ? "cancelled" : "the task could not be done");
  }
  if (code < 0)
    event_put_fault(&writer, &fault,
                    (span){(const uint8_t *)task->fault_location, task->fault_location_len},
                    (span){(const uint8_t *)task->fault_path, task->fault_path_len});
  mutex_unlock(&task->lock);
  return writer.size > INT32_MAX ? COPSE_E_LIMIT : (int32_t)writer.size;
}

// Pushed bytes

void task_expect(struct task *task) {
  mutex_lock(&task->lock);
  if (!task->expecting && !task_cancelled(task)) {
    task->expecting = true;
    task->deaf = false;
    group_hold(&task->group);
  }
  mutex_unlock(&task->lock);
}

void task_expect_no_more(struct task *task) {
  mutex_lock(&task->lock);
  bool let_go = task->expecting;
  task->expecting = false;
  if (let_go) task_hold(task);
  mutex_unlock(&task->lock);
  if (!let_go) return;
  group_let_go(&task->group);
  task_drop(task);
}

int32_t task_push(struct task *task, span bytes, struct fault *fault) {
  mutex_lock(&task->lock);
  bool open = task->pushed && !task->deaf && !task_cancelled(task);
  if (open) {
    task->pushing++;
    group_hold(&task->group);  // `then` looks at `pushing` first, so it is not past us
  }
  mutex_unlock(&task->lock);
  if (!open) {
    bool cancelled = task_cancelled(task);
    return fault_set(fault, cancelled ? COPSE_E_CANCELLED : COPSE_E_CLOSED,
                     cancelled ? "cancelled" : "the task has ended");
  }
  int32_t code = task->pushed(task, bytes, fault);
  mutex_lock(&task->lock);
  task->pushing--;
  mutex_unlock(&task->lock);
  group_let_go(
      &task->group);  // the caller's reference keeps it, though the task may be over by now
  return code;
}

// The end

bool task_answer(struct task *task, bool answered) {
  mutex_lock(&task->lock);
  task->ending = true;
  if (answered) atomic_store_explicit(&task->cancelled, 0, memory_order_relaxed);
  bool is_heard = !task->closed;
  mutex_unlock(&task->lock);
  return is_heard;
}

void task_answer_lost(struct task *task) {
  atomic_store_explicit(&task->cancelled, (uint32_t)-COPSE_E_MEMORY, memory_order_relaxed);
}

static void end(struct task *task) {
  struct runtime *runtime = task->runtime;
  mutex_lock(&task->lock);
  task->ending = true;  // whoever cancels from here on comes too late
  task->code = -(int32_t)atomic_load_explicit(&task->cancelled, memory_order_relaxed);
  bool timed = task->timed;
  mutex_unlock(&task->lock);
  if (timed) {
    timer_clear(runtime->timers, &task->deadline_timer);
    timer_clear(runtime->timers, &task->progress_timer);
    timer_clear(runtime->timers, &task->page_timer);
  }
  runtime_count_end(runtime, task);  // before anybody can see DONE
  mutex_lock(&task->lock);
  uint32_t rows = event_seal(task);
  task->done_pending = true;
  bool closed = task->closed;
  if (task->waited) condition_all(&task->waiting);
  mutex_unlock(&task->lock);
  if (!closed) event_tell(task, rows + 1);
  task_drop(task);
}

static bool then(struct group *group, struct worker *worker) {
  struct task *task = TASK_OF(group, group);
  mutex_lock(&task->lock);
  bool pushing = task->pushing > 0;
  if (!pushing) task->deaf = true;
  mutex_unlock(&task->lock);
  if (pushing) return true;  // their hold brings us here again
  if (task->finish && task->finish(task, worker)) return true;
  if (task->destroy) task->destroy(task);
  end(task);
  return false;
}

void task_refuse(struct task *task, const struct fault *fault) {
  task_fail(task, fault, (span){}, (span){});
  end(task);
}

// Lifetime

void task_began(struct task *task) { runtime_count_begin(task->runtime, task); }

void task_close(struct task *task) {
  mutex_lock(&task->lock);
  task->closed = true;
  bool first = decide(task, COPSE_E_CANCELLED), is_late = task->committing;
  if (task->waited) condition_all(&task->waiting);
  mutex_unlock(&task->lock);
  if (first || is_late) wind_up(task);
  task_drop(task);
}

void task_hold(struct task *task) {
  atomic_fetch_add_explicit(&task->references, 1, memory_order_relaxed);
}

bool task_hold_alive(struct task *task) {
  uint32_t count = atomic_load_explicit(&task->references, memory_order_relaxed);
  while (count > 0)
    if (atomic_compare_exchange_weak_explicit(&task->references, &count, count + 1,
                                              memory_order_relaxed, memory_order_relaxed))
      return true;
  return false;
}

void task_drop(struct task *task) {
  if (!task || atomic_fetch_sub_explicit(&task->references, 1, memory_order_acq_rel) != 1) return;
  event_free(task);
  free(task->fault_location);
  free(task->fault_path);
  limit_end(&task->limit);
  condition_end(&task->waiting);
  mutex_end(&task->lock);
  runtime_forget(task->runtime, task);     // the runtime may be gone after this
  seal_wipe(task + 1, task->request_len);  // it may hold passwords and keys
  free(task);
}
