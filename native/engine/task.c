#include "engine/task.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/record.h"
#include "engine/page.h"
#include "engine/runtime.h"

// The first page of a task is small: most tasks say little, and thousands may run at once.
constexpr size_t FIRST_PAGE_BYTES = 4096;

static void page_fire(struct timer *timer);
static void deadline_fire(struct timer *timer);
static void progress_fire(struct timer *timer);
static bool then(struct group *group, struct worker *worker);

#define TASK_OF(pointer, member) ((struct task *)(void *)((uint8_t *)(pointer) - offsetof(struct task, member)))

struct task *task_new(struct runtime *runtime, span request) {
  struct task *task = calloc(1, sizeof *task + request.size);
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
  mutex_begin(&task->push_lock);
  condition_begin(&task->waiting);
  task->page_timer.fire = page_fire;
  task->deadline_timer.fire = deadline_fire;
  task->progress_timer.fire = progress_fire;
  span own = {copy, request.size};
  struct fault ignored = {};
  if (record_check(own, &ignored) < 0) own = (span){};  // refused later, by who reads the verb
  task->token = (uint32_t)record_number(own, COPSE_KEY_TOKEN, 0);
  task->waited = record_number(own, COPSE_KEY_WAITED, 0) != 0;
  uint64_t priority = record_number(own, COPSE_KEY_PRIORITY, 1);
  group_begin(&task->group, runtime->pool, (uint8_t)(priority > 2 ? 1 : priority),
              (uint32_t)record_number(own, COPSE_KEY_CONCURRENCY, 0), then);
  return task;
}

static void count_started(struct task *task) {
  struct runtime *runtime = task->runtime;
  mutex_lock(&runtime->lock);
  runtime->started++;
  runtime->queued++;
  mutex_unlock(&runtime->lock);
}

void task_began(struct task *task) {
  struct runtime *runtime = task->runtime;
  mutex_lock(&runtime->lock);
  runtime->queued--;
  runtime->running++;
  atomic_store_explicit(&task->state, TASK_RUNNING, memory_order_relaxed);
  mutex_unlock(&runtime->lock);
}

static void count_ended(struct task *task, enum task_state state) {
  struct runtime *runtime = task->runtime;
  mutex_lock(&runtime->lock);
  bool ran = atomic_exchange_explicit(&task->state, state, memory_order_relaxed) == TASK_RUNNING;
  (*(ran ? &runtime->running : &runtime->queued))--;
  (*(state == TASK_DONE ? &runtime->done : state == TASK_FAILED ? &runtime->failed : &runtime->cancelled))++;
  mutex_unlock(&runtime->lock);
}

void task_start(struct task *task, enum job_place place, struct job *first) {
  span request = {task->request, task->request_len};
  uint64_t milliseconds = record_number(request, COPSE_KEY_DEADLINE, 0);
  uint64_t progress = record_number(request, COPSE_KEY_PROGRESS, 0);
  constexpr uint64_t LONGEST = UINT64_MAX / 2 / 1'000'000;
  count_started(task);
  // A deadline that cannot be kept is as good as passed.
  if (milliseconds && milliseconds < LONGEST &&
      !timer_set(task->runtime->timers, &task->deadline_timer, clock_now() + milliseconds * 1'000'000))
    task_cancel(task, COPSE_E_MEMORY);
  if (progress && progress < LONGEST && !task->waited) {
    task->progress_every_ns = progress * 1'000'000;
    if (!timer_set(task->runtime->timers, &task->progress_timer, clock_now() + task->progress_every_ns))
      task->progress_every_ns = 0;
  }
  group_run(&task->group, place, first);
}

// ── Telling JavaScript ──

// Somebody can take events now. The task's lock is not held.
static void tell(struct task *task) {
  if (!task->waited) runtime_ready(task->runtime, task);
}

// The filling page becomes an event. The lock is held; then call tell().
static void seal(struct task *task) {
  struct page *page = task->filling;
  if (!page) return;
  task->filling = nullptr;
  page->next = nullptr;
  *(task->sealed_last ? &task->sealed_last->next : &task->sealed) = page;
  task->sealed_last = page;
  task->unread++;
  if (task->unread >= PAGES_UNREAD_MAX && !task->parked && !task_cancelled(task)) {
    __atomic_store_n(&task->parked, true, __ATOMIC_RELAXED);
    group_park(&task->group);
  }
  if (task->waited) condition_all(&task->waiting);
}

static struct page *page_new(struct task *task, size_t size) {
  if (size > UINT32_MAX - sizeof(struct page)) return nullptr;
  struct page *page = (struct page *)(void *)buffer_take(&task->runtime->buffers, sizeof *page + size, false);
  if (page) *page = (struct page){.size = (uint32_t)size, .heap_at = (uint32_t)size};
  return page;
}

static void page_free(struct task *task, struct page *page) {
  buffer_give(&task->runtime->buffers, (uint8_t *)page, sizeof *page + page->size);
}

void task_emit(struct task *task, const copse_row *row, span directory, span name, span text) {
  size_t bytes = directory.size + 1 + name.size + text.size;
  bool sealed = false, failed = false;
  mutex_lock(&task->lock);
  if (task_cancelled(task) || task->closed) {
    mutex_unlock(&task->lock);
    return;
  }
  if (task->filling && !page_fits(task->filling, bytes)) {
    seal(task);
    sealed = true;
  }
  if (!task->filling) {
    size_t usual = task->unread || task->lent || sealed ? PAGE_BYTES : FIRST_PAGE_BYTES;
    usual -= sizeof(struct page);
    size_t needed = sizeof(copse_row) + bytes;
    task->filling = page_new(task, needed > usual ? needed : usual);
    failed = !task->filling;
    if (!failed && !task->waited && !task->page_timer_set)
      task->page_timer_set = timer_set(task->runtime->timers, &task->page_timer, clock_now() + PAGE_AGE_NS);
  }
  if (!failed) page_add(task->filling, row, directory, name, text);
  mutex_unlock(&task->lock);
  if (sealed) tell(task);
  if (failed) {
    struct fault fault = {};
    fault_set(&fault, COPSE_E_MEMORY, "out of memory for results");
    task_fail(task, &fault, (span){}, (span){});
  }
}

static void page_fire(struct timer *timer) {
  struct task *task = TASK_OF(timer, page_timer);
  mutex_lock(&task->lock);
  task->page_timer_set = false;
  bool sealed = task->filling != nullptr && !task->done_pending;
  if (sealed) seal(task);
  mutex_unlock(&task->lock);
  if (sealed) tell(task);
}

static void progress_fire(struct timer *timer) {
  struct task *task = TASK_OF(timer, progress_timer);
  mutex_lock(&task->lock);
  bool over = task->done_pending || task->closed;
  if (!over) task->progress_pending = true;
  mutex_unlock(&task->lock);
  if (over) return;
  tell(task);
  // Without memory for the timer there is no more progress, and nothing else is lost.
  (void)!timer_set(task->runtime->timers, timer, clock_now() + task->progress_every_ns);
}

static void deadline_fire(struct timer *timer) { task_cancel(TASK_OF(timer, deadline_timer), COPSE_E_TIMEOUT); }

struct page *task_page_of_bytes(struct task *task, uint8_t **bytes) {
  struct page *page = page_new(task, PAGE_BYTES);
  if (page) *bytes = page->at;
  return page;
}

void task_send_bytes(struct task *task, struct page *page, size_t filled) {
  mutex_lock(&task->lock);
  bool wanted = filled > 0 && !task_cancelled(task) && !task->closed;
  if (wanted) {
    page->filled = (uint32_t)filled;
    task->filling = page;
    seal(task);
  }
  mutex_unlock(&task->lock);
  if (wanted) tell(task);
  else page_free(task, page);
}

void task_room(struct task *task, uint32_t bytes) {
  mutex_lock(&task->lock);
  bool wanted = !task->done_pending && !task->closed;
  if (wanted) {
    task->room = bytes;
    task->room_pending = true;
    if (task->waited) condition_all(&task->waiting);
  }
  mutex_unlock(&task->lock);
  if (wanted) tell(task);
}

// ── Failing, cancelling, ending ──

static void put_fault(struct record_writer *writer, const struct fault *fault, span location, span path) {
  record_put_number(writer, COPSE_DETAIL_CODE, (uint64_t)(int64_t)fault->code);
  if (fault->os_errno) {
    record_put_number(writer, COPSE_DETAIL_ERRNO, (uint64_t)fault->os_errno);
    const char *name = fault_errno_name(fault->os_errno);
    if (name) record_put_text(writer, COPSE_DETAIL_ERRNO_NAME, span_of(name));
  }
  if (fault->status) record_put_number(writer, COPSE_DETAIL_STATUS, (uint64_t)fault->status);
  if (fault->call) record_put_text(writer, COPSE_DETAIL_CALL, span_of(fault->call));
  if (location.size) record_put_text(writer, COPSE_DETAIL_LOCATION, location);
  if (path.size) record_put_text(writer, COPSE_DETAIL_PATH, path);
  if (fault->text[0]) record_put_text(writer, COPSE_DETAIL_SENTENCE, span_of(fault->text));
}

void task_emit_error(struct task *task, const struct fault *fault, span directory, span name, span location) {
  atomic_fetch_add_explicit(&task->errors, 1, memory_order_relaxed);
  atomic_fetch_or_explicit(&task->done_flags, COPSE_DONE_INCOMPLETE, memory_order_relaxed);
  uint8_t small[1024];
  struct record_writer writer = {small, sizeof small, 0};
  put_fault(&writer, fault, location, (span){});
  uint8_t *large = nullptr;
  if (writer.size > sizeof small) {
    large = malloc(writer.size);
    writer = (struct record_writer){large ? large : small, large ? writer.size : sizeof small, 0};
    put_fault(&writer, fault, large ? location : (span){}, (span){});
  }
  copse_row row = {.kind = COPSE_ROW_ERROR,
                   .code = fault->code,
                   .left_size = COPSE_UNKNOWN,
                   .right_size = COPSE_UNKNOWN,
                   .left_mtime_ns = COPSE_UNKNOWN_TIME,
                   .right_mtime_ns = COPSE_UNKNOWN_TIME};
  task_emit(task, &row, directory, name, (span){writer.at, writer.size});
  free(large);
}

static char *keep(span bytes, size_t *size) {
  char *copy = bytes.size ? malloc(bytes.size) : nullptr;
  *size = copy ? bytes.size : 0;
  if (copy) memcpy(copy, bytes.at, bytes.size);
  return copy;
}

void task_fail(struct task *task, const struct fault *fault, span location, span path) {
  mutex_lock(&task->lock);
  if (task->fault.code == 0 && !task->done_pending) {
    task->fault = *fault;
    if (task->fault.code == 0) task->fault.code = COPSE_E_INTERNAL;
    task->fault_location = keep(location, &task->fault_location_len);
    task->fault_path = keep(path, &task->fault_path_len);
  }
  mutex_unlock(&task->lock);
  task_cancel(task, fault->code ? fault->code : COPSE_E_INTERNAL);
}

void task_cancel(struct task *task, int32_t code) {
  uint32_t none = 0;
  if (!atomic_compare_exchange_strong(&task->cancelled, &none, (uint32_t)-code)) return;
  mutex_lock(&task->lock);
  bool unpark = task->parked;
  if (unpark) {
    __atomic_store_n(&task->parked, false, __ATOMIC_RELAXED);
    task_hold(task);
  }
  mutex_unlock(&task->lock);
  if (!unpark) return;
  group_unpark(&task->group);
  task_drop(task);
}

static int32_t outcome(struct task *task) {
  if (task->fault.code) return task->fault.code;
  return -(int32_t)atomic_load(&task->cancelled);
}

static void end(struct task *task) {
  struct timers *timers = task->runtime->timers;
  timer_clear(timers, &task->deadline_timer);
  timer_clear(timers, &task->progress_timer);
  timer_clear(timers, &task->page_timer);
  mutex_lock(&task->lock);
  int32_t code = outcome(task);
  mutex_unlock(&task->lock);
  bool cancelled = code == COPSE_E_CANCELLED;
  count_ended(task, code == 0 ? TASK_DONE : cancelled ? TASK_CANCELLED : TASK_FAILED);
  mutex_lock(&task->lock);
  seal(task);
  task->done_pending = true;
  if (task->waited) condition_all(&task->waiting);
  mutex_unlock(&task->lock);
  tell(task);
  task_drop(task);
}

static bool then(struct group *group, struct worker *worker) {
  struct task *task = TASK_OF(group, group);
  if (task->finish && task->finish(task, worker)) return true;
  mutex_lock(&task->push_lock);
  task->pushed = nullptr;
  mutex_unlock(&task->push_lock);
  if (task->destroy) task->destroy(task);
  end(task);
  return false;
}

void task_refuse(struct task *task, const struct fault *fault) {
  count_started(task);
  task_fail(task, fault, (span){}, (span){});
  end(task);
}

// ── Taking events ──

// The lock is held.
static uint32_t take(struct task *task, copse_event *events, uint32_t capacity) {
  uint32_t taken = 0;
  copse_event totals = {.task = task->id,
                        .files = atomic_load_explicit(&task->files, memory_order_relaxed),
                        .bytes = atomic_load_explicit(&task->bytes, memory_order_relaxed),
                        .total_bytes = atomic_load_explicit(&task->total_bytes, memory_order_relaxed)};
  while (taken < capacity && task->sealed) {
    struct page *page = task->sealed;
    task->sealed = page->next;
    if (!task->sealed) task->sealed_last = nullptr;
    page->next = task->lent;
    task->lent = page;
    events[taken++] = (copse_event){.kind = COPSE_EVENT_PAGE,
                                    .task = task->id,
                                    .page = (uint64_t)(uintptr_t)page->at,
                                    .page_size = page->rows ? page->size : page->filled,
                                    .rows = page->rows,
                                    .heap_at = page->rows ? page->heap_at : 0};
  }
  if (taken < capacity && task->room_pending && !task->done_pending) {
    task->room_pending = false;
    events[taken] = totals;
    events[taken].kind = COPSE_EVENT_ROOM;
    events[taken++].rows = task->room;
  }
  if (taken < capacity && task->progress_pending && !task->done_pending) {
    task->progress_pending = false;
    events[taken] = totals;
    events[taken++].kind = COPSE_EVENT_PROGRESS;
  }
  if (taken < capacity && task->done_pending && !task->done_taken && !task->sealed) {
    task->done_taken = true;
    events[taken] = totals;
    events[taken].kind = COPSE_EVENT_DONE;
    events[taken].code = outcome(task);
    events[taken].heap_at = atomic_load_explicit(&task->done_flags, memory_order_relaxed);
    events[taken++].total_bytes = atomic_load_explicit(&task->errors, memory_order_relaxed);
  }
  return taken;
}

int32_t task_take_events(struct task *task, copse_event *events, uint32_t capacity) {
  mutex_lock(&task->lock);
  uint32_t taken = task->closed ? 0 : take(task, events, capacity);
  mutex_unlock(&task->lock);
  return (int32_t)taken;
}

int32_t task_wait(struct task *task, copse_event *events, uint32_t capacity, uint32_t timeout_ms) {
  if (!task->waited) return COPSE_E_ARGUMENT;
  uint64_t until = clock_now() + (uint64_t)timeout_ms * 1'000'000;
  mutex_lock(&task->lock);
  uint32_t taken = take(task, events, capacity);
  while (taken == 0 && !task->done_taken && !task->closed) {
    if (!condition_wait_until(&task->waiting, &task->lock, until) && clock_now() >= until) break;
    taken = take(task, events, capacity);
  }
  mutex_unlock(&task->lock);
  return (int32_t)taken;
}

int32_t task_release(struct task *task, uint64_t address) {
  mutex_lock(&task->lock);
  struct page **at = &task->lent;
  while (*at && (uint64_t)(uintptr_t)(*at)->at != address) at = &(*at)->next;
  struct page *page = *at;
  bool unpark = false;
  if (page) {
    *at = page->next;
    task->unread--;
    unpark = task->parked && task->unread < PAGES_UNREAD_MAX;
    if (unpark) __atomic_store_n(&task->parked, false, __ATOMIC_RELAXED);
  }
  mutex_unlock(&task->lock);
  if (!page) return COPSE_E_ARGUMENT;
  page_free(task, page);
  if (unpark) group_unpark(&task->group);
  return 0;
}

int32_t task_push(struct task *task, span bytes, struct fault *fault) {
  mutex_lock(&task->push_lock);
  int32_t code = !task->pushed          ? fault_set(fault, COPSE_E_CLOSED, "the task has ended")
                 : task_cancelled(task) ? fault_set(fault, COPSE_E_CANCELLED, "cancelled")
                                        : task->pushed(task, bytes, fault);
  mutex_unlock(&task->push_lock);
  return code;
}

int32_t task_error(struct task *task, uint8_t *into, size_t capacity) {
  struct record_writer writer = {into, capacity, 0};
  mutex_lock(&task->lock);
  struct fault fault = task->fault;
  int32_t code = outcome(task);
  if (code < 0 && fault.code == 0) {
    if (code == COPSE_E_TIMEOUT) fault_set(&fault, code, "the task took longer than its timeout; allow more time");
    else fault_set(&fault, code, "%s", code == COPSE_E_CANCELLED ? "cancelled" : "the task could not be done");
  }
  if (code < 0)
    put_fault(&writer, &fault, (span){(const uint8_t *)task->fault_location, task->fault_location_len},
              (span){(const uint8_t *)task->fault_path, task->fault_path_len});
  mutex_unlock(&task->lock);
  return writer.size > INT32_MAX ? COPSE_E_LIMIT : (int32_t)writer.size;
}

// ── Lifetime ──

void task_close(struct task *task) {
  mutex_lock(&task->lock);
  task->closed = true;
  condition_all(&task->waiting);
  mutex_unlock(&task->lock);
  task_cancel(task, COPSE_E_CANCELLED);
  task_drop(task);
}

void task_hold(struct task *task) { atomic_fetch_add_explicit(&task->references, 1, memory_order_relaxed); }

void task_drop(struct task *task) {
  if (atomic_fetch_sub_explicit(&task->references, 1, memory_order_acq_rel) != 1) return;
  struct page *lists[] = {task->filling, task->sealed, task->lent};
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
    while (lists[i]) {
      struct page *page = lists[i];
      lists[i] = page->next;
      page_free(task, page);
    }
  free(task->fault_location);
  free(task->fault_path);
  condition_end(&task->waiting);
  mutex_end(&task->push_lock);
  mutex_end(&task->lock);
  struct runtime *runtime = task->runtime;
  runtime_forget(runtime, task);
  free(task);
}
