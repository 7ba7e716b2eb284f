#include "engine/event.h"

#include <stddef.h>
#include <stdlib.h>

#include "engine/page.h"
#include "engine/runtime.h"

// The first page of a task is small: most tasks say little, and thousands may run at once.
constexpr size_t FIRST_PAGE_BYTES = 4096 - sizeof(struct page);
static_assert(sizeof(struct page) + PAGE_BYTES == BUFFER_KEPT_BYTES);
static_assert(sizeof(struct page) + PAGE_LARGE_BYTES == BUFFER_KEPT_LARGE_BYTES);

void event_tell(struct task *task, uint32_t count) {
  if (!task->waited) runtime_ready(task->runtime, task, count);
}

// Pages

static struct page *page_new(struct task *task, size_t size) {
  if (size > UINT32_MAX - sizeof(struct page)) return nullptr;
  uint8_t *memory = buffer_take(&task->runtime->buffers, sizeof(struct page) + size, false);
  struct page *page = (struct page *)(void *)memory;
  if (page) *page = (struct page){.size = (uint32_t)size, .heap_at = (uint32_t)size};
  return page;
}

static void page_free(struct task *task, struct page *page) {
  buffer_give(&task->runtime->buffers, (uint8_t *)page, sizeof *page + page->size);
}

uint32_t event_seal(struct task *task) {
  struct page *page = task->filling;
  if (!page) return 0;
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
  return page->rows;
}

// A page for a row with `text` bytes of text. The lock is held.
static bool begin_page(struct task *task, size_t text, bool first) {
  size_t usual = first ? FIRST_PAGE_BYTES : PAGE_BYTES;
  size_t needed = sizeof(copse_row) + text;
  task->filling = page_new(task, needed > usual ? needed : usual);
  if (!task->filling) return false;
  // Who waits for the task gets its pages when they are full, and asks for nothing in between.
  if (!task->waited && !task->page_timer_set) {
    task->timed = true;
    task->page_timer_set =
        timer_set(task->runtime->timers, &task->page_timer, clock_now() + PAGE_AGE_NS);
  }
  return true;
}

void task_emit(struct task *task, const copse_row *row, span directory, span name, span text) {
  if (row->kind < 64 && task->untold >> row->kind & 1) return;
  size_t bytes = directory.size + 1 + name.size + text.size;
  uint32_t sealed = 0;
  bool failed = false;
  mutex_lock(&task->lock);
  if (task_cancelled(task) || task->closed) {
    mutex_unlock(&task->lock);
    return;
  }
  if (task->filling && !page_fits(task->filling, bytes)) sealed = event_seal(task);
  if (!task->filling) failed = !begin_page(task, bytes, task->unread == 0);
  if (!failed) page_add(task->filling, row, directory, name, text);
  mutex_unlock(&task->lock);
  if (sealed) event_tell(task, sealed);
  if (!failed) return;
  struct fault fault = {};
  fault_set(&fault, COPSE_E_MEMORY, "out of memory for results");
  task_fail(task, &fault, (span){}, (span){});
}

void event_page_fire(struct timer *timer) {
  struct task *task = TASK_OF(timer, page_timer);
  mutex_lock(&task->lock);
  task->page_timer_set = false;
  uint32_t sealed = task->done_pending ? 0 : event_seal(task);
  mutex_unlock(&task->lock);
  if (sealed) event_tell(task, sealed);
}

struct page *task_page_of_bytes(struct task *task, size_t size, uint8_t **bytes) {
  struct page *page = page_new(task, size);
  if (page) *bytes = page->at;
  return page;
}

void task_send_bytes(struct task *task, struct page *page, size_t filled) {
  mutex_lock(&task->lock);
  bool wanted = filled > 0 && !task_cancelled(task) && !task->closed;
  if (wanted) {
    event_seal(task);  // rows that came before
    page->filled = (uint32_t)filled;
    task->filling = page;
    event_seal(task);
  }
  mutex_unlock(&task->lock);
  if (wanted)
    event_tell(task, 1);
  else
    page_free(task, page);
}

void page_free_kept(uint8_t *bytes) {
  struct page *page = (struct page *)(void *)(bytes - offsetof(struct page, at));
  buffer_free((uint8_t *)page, sizeof *page + page->size);
}

// nullptr: it is not lent.
static struct page *take_back(struct task *task, uint64_t address) {
  mutex_lock(&task->lock);
  struct page **at = &task->lent;
  while (*at && (uint64_t)(uintptr_t)(*at)->at != address) at = &(*at)->next;
  struct page *page = *at;
  bool unpark = false;
  if (page) {
    *at = page->next;
    task->unread--;
    unpark = task->parked && task->unread < PAGES_UNREAD_MAX;
    if (unpark) {
      __atomic_store_n(&task->parked, false, __ATOMIC_RELAXED);
      group_unpark(&task->group);
    }
  }
  mutex_unlock(&task->lock);
  if (unpark) pool_wake(task->runtime->pool);
  return page;
}

int32_t task_release(struct task *task, uint64_t address) {
  struct page *page = take_back(task, address);
  if (!page) return COPSE_E_ARGUMENT;
  page_free(task, page);
  return 0;
}

int32_t task_keep(struct task *task, uint64_t address) {
  struct page *page = take_back(task, address);
  if (!page) return COPSE_E_ARGUMENT;
  buffer_release(&task->runtime->buffers, sizeof *page + page->size);
  return 0;
}

void event_free(struct task *task) {
  struct page *lists[] = {task->filling, task->sealed, task->lent};
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
    while (lists[i]) {
      struct page *page = lists[i];
      lists[i] = page->next;
      page_free(task, page);
    }
}

// Error rows

void event_put_fault(struct record_writer *writer, const struct fault *fault, span location,
                     span path) {
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

void task_emit_error(struct task *task, const struct fault *fault, span directory, span name,
                     span location) {
  atomic_fetch_add_explicit(&task->errors, 1, memory_order_relaxed);
  atomic_fetch_or_explicit(&task->done_flags, COPSE_DONE_INCOMPLETE, memory_order_relaxed);
  uint8_t small[1024];
  struct record_writer writer = {small, sizeof small, 0};
  event_put_fault(&writer, fault, location, (span){});
  uint8_t *large = nullptr;
  if (writer.size > sizeof small) {  // a long location; it is left out when memory for it is
    large = malloc(writer.size);
    writer = (struct record_writer){large ? large : small, large ? writer.size : sizeof small, 0};
    event_put_fault(&writer, fault, large ? location : (span){}, (span){});
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

// Room and progress

void task_room(struct task *task, uint32_t bytes) {
  mutex_lock(&task->lock);
  bool wanted = !task->done_pending && !task->closed;
  if (wanted) {
    task->room = bytes;
    task->room_pending = true;
    if (task->waited) condition_all(&task->waiting);
  }
  mutex_unlock(&task->lock);
  if (wanted) event_tell(task, 1);
}

void event_progress_fire(struct timer *timer) {
  struct task *task = TASK_OF(timer, progress_timer);
  mutex_lock(&task->lock);
  bool over = task->done_pending || task->closed, told = task->progress_pending;
  if (!over) task->progress_pending = true;
  if (task->waited) condition_all(&task->waiting);
  mutex_unlock(&task->lock);
  if (over) return;
  if (!told) event_tell(task, 1);
  // Without memory for the timer there is no more progress, and nothing else is lost.
  (void)!timer_set(task->runtime->timers, timer, clock_now() + task->progress_every_ns);
}

// Taking; the lock is held

static copse_event page_event(struct task *task) {
  struct page *page = task->sealed;
  task->sealed = page->next;
  if (!task->sealed) task->sealed_last = nullptr;
  page->next = task->lent;
  task->lent = page;
  return (copse_event){.kind = COPSE_EVENT_PAGE,
                       .task = task->id,
                       .page = (uint64_t)(uintptr_t)page->at,
                       .page_size = page->rows ? page->size : page->filled,
                       .rows = page->rows,
                       .heap_at = page->rows ? page->heap_at : 0};
}

// The last pages of a task, when they are small, lie behind their event, rows and then text, in
// slots of the same size: nothing is left to be given back. Only the last ones, because pages that
// are unread are what holds a task back. Gives the slots that were filled; zero: it does not fit.
static uint32_t page_behind(struct task *task, copse_event *events, uint32_t capacity) {
  struct page *page = task->sealed;
  if (page->rows == 0 || page->rows >= capacity) return 0;
  uint32_t rows = page->rows * (uint32_t)sizeof(copse_row), text = page->size - page->heap_at;
  uint32_t slots = 1 + (rows + text + (uint32_t)sizeof *events - 1) / (uint32_t)sizeof *events;
  if (slots > capacity) return 0;
  events[0] = (copse_event){.kind = COPSE_EVENT_PAGE,
                            .task = task->id,
                            .page_size = rows + text,
                            .rows = page->rows,
                            .heap_at = rows};
  copse_row *into = (copse_row *)(void *)(events + 1);
  memcpy(into, page->at, rows);
  memcpy(into + page->rows, page->at + page->heap_at, text);
  uint32_t gap = page->heap_at - rows;
  for (uint32_t i = 0; i < page->rows; i++) {
    into[i].path_at -= gap;
    into[i].text_at -= gap;
  }
  task->sealed = page->next;
  if (!task->sealed) task->sealed_last = nullptr;
  task->unread--;
  page_free(task, page);
  return slots;
}

static copse_event totals_event(struct task *task, uint32_t kind) {
  return (copse_event){
      .kind = kind,
      .task = task->id,
      .files = atomic_load_explicit(&task->files, memory_order_relaxed),
      .bytes = atomic_load_explicit(&task->bytes, memory_order_relaxed),
      .total_bytes = atomic_load_explicit(&task->total_bytes, memory_order_relaxed)};
}

static copse_event done_event(struct task *task) {
  copse_event event = totals_event(task, COPSE_EVENT_DONE);
  event.code = task->code;
  event.heap_at = atomic_load_explicit(&task->done_flags, memory_order_relaxed);
  event.total_bytes = atomic_load_explicit(&task->errors, memory_order_relaxed);
  return event;
}

static uint32_t take(struct task *task, copse_event *events, uint32_t capacity, bool behind) {
  uint32_t taken = 0;
  while (taken < capacity && task->sealed) {
    uint32_t slots =
        behind && task->done_pending ? page_behind(task, events + taken, capacity - taken) : 0;
    if (slots == 0) events[taken] = page_event(task);
    taken += slots ? slots : 1;
  }
  if (taken < capacity && task->room_pending && !task->done_pending) {
    task->room_pending = false;
    events[taken] = totals_event(task, COPSE_EVENT_ROOM);
    events[taken++].rows = task->room;
  }
  if (taken < capacity && task->progress_pending && !task->done_pending) {
    task->progress_pending = false;
    events[taken] = totals_event(task, COPSE_EVENT_PROGRESS);
    if (atomic_load_explicit(&task->total_grows, memory_order_acquire))
      events[taken].heap_at = COPSE_PROGRESS_SAID_GROWS;
    taken++;
  }
  if (taken < capacity && task->done_pending && !task->done_taken && !task->sealed) {
    task->done_taken = true;
    events[taken++] = done_event(task);
  }
  return taken;
}

int32_t task_take_events(struct task *task, copse_event *events, uint32_t capacity, bool behind) {
  mutex_lock(&task->lock);
  uint32_t taken = task->closed ? 0 : take(task, events, capacity, behind);
  mutex_unlock(&task->lock);
  return (int32_t)taken;
}

int32_t task_wait(struct task *task, copse_event *events, uint32_t capacity, uint32_t timeout_ms) {
  if (!task->waited) return COPSE_E_ARGUMENT;
  uint64_t until = clock_now() + (uint64_t)timeout_ms * 1'000'000;
  uint32_t taken = 0;
  mutex_lock(&task->lock);
  while (!task->closed) {
    taken = take(task, events, capacity, false);
    if (taken > 0 || task->done_taken) break;
    if (!condition_wait_until(&task->waiting, &task->lock, until) && clock_now() >= until) break;
  }
  mutex_unlock(&task->lock);
  return (int32_t)taken;
}
