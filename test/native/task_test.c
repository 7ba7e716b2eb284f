// task: rows and bytes arrive whole and in order, two unread pages are the most, DONE is one and
// last, and whatever ends a task early leaves nothing behind.
#include "engine/task.h"

#include <poll.h>
#include <stdatomic.h>
#include <unistd.h>

#include "scene.h"

#define WAITED {COPSE_KEY_WAITED, 1}

static struct runtime *runtime;

static void finish(struct task *task) { task_close(task); }

// Every task is gone and every page given back.
static void end(void) {
  mutex_lock(&runtime->lock);
  while (runtime->all) condition_wait(&runtime->tasks_gone, &runtime->lock);
  CHECK(runtime->tasks == 0);
  CHECK(runtime->started == runtime->done + runtime->failed + runtime->cancelled);
  CHECK(runtime->queued == 0 && runtime->running == 0);
  CHECK(!runtime->ready);
  mutex_unlock(&runtime->lock);
  CHECK(atomic_load(&runtime->buffers.taken) == 0);
  runtime_close(runtime);
}

static void begin(void) { runtime = open_runtime((span){}); }

// Rows

static void emit_rows(struct act *act, struct worker *worker) {
  (void)worker;
  uint64_t count = (uint64_t)(uintptr_t)act->with;
  for (uint64_t i = 0; i < count; i++) {
    char name[64];
    int size = snprintf(name, sizeof name, "name-%llu", (unsigned long long)i);
    copse_row row = {.kind = COPSE_ROW_ENTRY, .left_size = i, .left_mtime_ns = -(int64_t)i};
    span directory = i % 3 == 0 ? (span){} : SPAN("some/directory");
    task_emit(act->task, &row, directory, (span){(const uint8_t *)name, (size_t)size},
              i % 5 == 0 ? SPAN("a text") : (span){});
  }
  task_count(act->task, count, 10 * count);
}

static void check_row(const copse_event *page, const copse_row *row, uint64_t i) {
  char path[128];
  snprintf(path, sizeof path, "%sname-%llu", i % 3 == 0 ? "" : "some/directory/",
           (unsigned long long)i);
  CHECK(row->kind == COPSE_ROW_ENTRY);
  CHECK(row->left_size == i && row->left_mtime_ns == -(int64_t)i);
  CHECK(span_equal(row_path(page, row), span_of(path)));
  CHECK(span_equal(row_text(page, row), i % 5 == 0 ? SPAN("a text") : SPAN("")));
}

static void rows_arrive_whole_and_in_order(uint64_t count) {
  begin();
  struct task *task = start_task(runtime, RECORD(WAITED), emit_rows, (void *)(uintptr_t)count);
  uint64_t seen = 0;
  for (;;) {
    copse_event event;
    wait_events(task, &event, 1);
    if (event.kind == COPSE_EVENT_DONE) {
      CHECK(event.code == 0 && event.files == count && event.bytes == 10 * count);
      CHECK(event.total_bytes == 0 && event.heap_at == 0);
      break;
    }
    CHECK(event.kind == COPSE_EVENT_PAGE && event.page_size <= PAGE_BYTES);
    for (uint32_t i = 0; i < event.rows; i++) check_row(&event, &rows_of(&event)[i], seen++);
    CHECK(task_release(task, event.page) == 0);
    CHECK(task_release(task, event.page) == COPSE_E_ARGUMENT);
  }
  CHECK(seen == count);
  copse_event none;
  CHECK(task_wait(task, &none, 1, 0) == 0);
  uint8_t detail[8];
  CHECK(task_error(task, detail, sizeof detail) == 0);
  finish(task);
  end();
}

static void emit_large(struct act *act, struct worker *worker) {
  (void)worker;
  size_t size = 1 << 20;
  uint8_t *large = malloc(size);
  CHECK(large);
  memset(large, 'x', size);
  copse_row row = {.kind = COPSE_ROW_ENTRY};
  task_emit(act->task, &row, SPAN("d"), SPAN("small"), (span){});
  task_emit(act->task, &row, SPAN("d"), (span){large, size}, (span){large, size});
  task_emit(act->task, &row, SPAN("d"), SPAN("small"), (span){});
  task_emit(act->task, &row, (span){}, (span){}, (span){});
  free(large);
}

static void a_row_larger_than_a_page_has_its_own(void) {
  begin();
  struct task *task = start_task(runtime, RECORD(WAITED), emit_large, nullptr);
  static const uint32_t sizes[] = {7, 2 + (1 << 20), 7, 0};
  size_t seen = 0;
  for (copse_event event; wait_events(task, &event, 1) && event.kind == COPSE_EVENT_PAGE;) {
    for (uint32_t i = 0; i < event.rows; i++, seen++) {
      const copse_row *row = &rows_of(&event)[i];
      CHECK(seen < 4 && row_path(&event, row).size == sizes[seen]);
      CHECK(row_text(&event, row).size == (seen == 1 ? 1 << 20 : 0));
    }
    CHECK(task_release(task, event.page) == 0);
  }
  CHECK(seen == 4);
  finish(task);
  end();
}

static void emit_errors(struct act *act, struct worker *worker) {
  (void)worker;
  struct fault fault = {};
  fault_from_errno(&fault, 13, "openat");
  task_emit_error(act->task, &fault, SPAN("d"), SPAN("n"), SPAN("/the/place"));
  size_t size = 5000;
  uint8_t *large = malloc(size);
  CHECK(large);
  memset(large, 'l', size);
  task_emit_error(act->task, &fault, SPAN("d"), SPAN("m"), (span){large, size});
  free(large);
}

static void error_rows_say_what_happened(void) {
  begin();
  struct task *task = start_task(runtime, RECORD(WAITED), emit_errors, nullptr);
  copse_event events[8];
  int32_t taken = wait_events(task, events, 8);
  while (events[taken - 1].kind != COPSE_EVENT_DONE)
    taken += wait_events(task, events + taken, (uint32_t)(8 - taken));
  size_t seen = 0;
  for (int32_t at = 0; at < taken - 1; at++) {
    CHECK(events[at].kind == COPSE_EVENT_PAGE);
    for (uint32_t i = 0; i < events[at].rows; i++, seen++) {
      const copse_row *row = &rows_of(&events[at])[i];
      CHECK(row->kind == COPSE_ROW_ERROR && row->code == COPSE_E_DENIED);
      CHECK(span_equal(row_path(&events[at], row), seen ? SPAN("d/m") : SPAN("d/n")));
      span text = row_text(&events[at], row);
      CHECK((int32_t)(int64_t)record_number(text, COPSE_DETAIL_CODE, 0) == COPSE_E_DENIED);
      CHECK(record_number(text, COPSE_DETAIL_ERRNO, 0) == 13);
      CHECK(span_equal(record_text(text, COPSE_DETAIL_ERRNO_NAME), SPAN("EACCES")));
      CHECK(span_equal(record_text(text, COPSE_DETAIL_CALL), SPAN("openat")));
      CHECK(record_text(text, COPSE_DETAIL_LOCATION).size == (seen ? 5000 : 10));
      CHECK(record_text(text, COPSE_DETAIL_SENTENCE).size > 10);
    }
  }
  CHECK(seen == 2);
  copse_event done = events[taken - 1];
  CHECK(done.code == 0 && done.total_bytes == 2 && done.heap_at == COPSE_DONE_INCOMPLETE);
  finish(task);  // with lent pages
  end();
}

// Bytes

static void send_bytes(struct act *act, struct worker *worker) {
  (void)worker;
  for (int i = 0; i < 5; i++) {
    uint8_t *bytes;
    struct page *page = task_page_of_bytes(act->task, PAGE_BYTES, &bytes);
    CHECK(page);
    memset(bytes, 'a' + i, PAGE_BYTES);  // room for all of it
    task_send_bytes(act->task, page, i == 2 ? 0 : i == 4 ? 10 : PAGE_BYTES);
  }
}

static void pages_of_bytes(void) {
  begin();
  struct task *task = start_task(runtime, RECORD(WAITED), send_bytes, nullptr);
  static const struct {
    uint64_t size;
    char byte;
  } expected[] = {{PAGE_BYTES, 'a'}, {PAGE_BYTES, 'b'}, {PAGE_BYTES, 'd'}, {10, 'e'}};
  size_t seen = 0;
  for (copse_event event; wait_events(task, &event, 1) && event.kind == COPSE_EVENT_PAGE; seen++) {
    CHECK(seen < 4 && event.rows == 0 && event.page_size == expected[seen].size);
    const char *bytes = (const char *)(uintptr_t)event.page;
    CHECK(bytes[0] == expected[seen].byte && bytes[event.page_size - 1] == expected[seen].byte);
    CHECK(task_release(task, event.page) == 0);
  }
  CHECK(seen == 4);
  finish(task);
  end();
}

// Credits: each job emits a page and submits itself again.

static _Atomic uint32_t pages_made;

static void page_job(struct job *job, struct worker *worker) {
  struct act *act = (struct act *)job;
  (void)worker;
  uint8_t *bytes;
  struct page *page = task_page_of_bytes(act->task, PAGE_BYTES, &bytes);
  CHECK(page);
  uint32_t made = atomic_fetch_add(&pages_made, 1) + 1;
  task_send_bytes(act->task, page, PAGE_BYTES);
  if (made < (uint32_t)(uintptr_t)act->with && !task_cancelled(act->task))
    group_run(job->group, JOB_LEAF, job);
}

static void page_first(struct act *act, struct worker *worker) {
  act->job.run = page_job;
  page_job(&act->job, worker);
}

static bool has_parked(struct task *task) {
  mutex_lock(&task->lock);
  bool parked = task->parked && task->unread >= PAGES_UNREAD_MAX;
  mutex_unlock(&task->lock);
  return parked;
}

static bool has_ended(struct task *task) {
  mutex_lock(&task->lock);
  bool ended = task->done_pending;
  mutex_unlock(&task->lock);
  return ended;
}

static void two_unread_pages_are_the_most(span request, bool by_drain) {
  begin();
  constexpr uint32_t PAGES = 200;
  atomic_store(&pages_made, 0);
  struct task *task = start_task(runtime, request, page_first, (void *)(uintptr_t)PAGES);
  uint32_t seen = 0;
  while (seen < PAGES) {
    while (!has_parked(task) && !has_ended(task)) usleep(10);
    CHECK(atomic_load(&pages_made) <= seen + PAGES_UNREAD_MAX);
    copse_event events[4];
    int32_t taken =
        by_drain ? runtime_drain(runtime, events, 4, false) : task_wait(task, events, 4, 10'000);
    CHECK(taken >= 1);
    for (int32_t i = 0; i < taken; i++) {
      if (events[i].kind != COPSE_EVENT_PAGE) continue;
      seen++;
      CHECK(task_release(task, events[i].page) == 0);
    }
  }
  CHECK(atomic_load(&pages_made) == PAGES);
  finish(task);
  end();
}

// Several chains of pages at once, and a reader that stops at any moment: what runs then is all
// that still comes.
static struct act chains[4];

static void chain_job(struct job *job, struct worker *worker) {
  struct act *act = (struct act *)job;
  (void)worker;
  uint8_t *bytes;
  struct page *page = task_page_of_bytes(act->task, PAGE_BYTES, &bytes);
  CHECK(page);
  static _Atomic uint32_t turn;
  for (uint32_t wait = atomic_fetch_add(&turn, 1) % 7 * 100; wait > 0; wait--) thread_pause();
  task_send_bytes(act->task, page, 1);
  if (!task_cancelled(act->task)) group_run(job->group, JOB_LEAF, job);
}

static void start_chains(struct act *act, struct worker *worker) {
  (void)worker;
  for (size_t i = 0; i < 4; i++) {
    chains[i] = (struct act){.job.run = chain_job, .task = act->task};
    group_run(&act->task->group, JOB_LEAF, &chains[i].job);
  }
}

static void a_reader_may_stop_at_any_moment(void) {
  runtime = open_runtime((span){});
  for (int round = 0; round < 300 / SHRINK; round++) {
    struct task *task = start_task(runtime, RECORD(WAITED), start_chains, nullptr);
    for (int i = 0; i < 50 + round % 7; i++) {
      copse_event event;
      wait_events(task, &event, 1);
      CHECK(task_release(task, event.page) == 0);
      mutex_lock(&task->lock);
      CHECK(task->unread < PAGES_UNREAD_MAX + 4);
      mutex_unlock(&task->lock);
    }
    uint32_t unread = 0;
    for (int still = 0; still < 3; still++) {  // until nothing moves
      usleep(100);
      mutex_lock(&task->lock);
      if (task->unread != unread) still = 0;
      unread = task->unread;
      mutex_unlock(&task->lock);
      CHECK(unread < PAGES_UNREAD_MAX + 4);
    }
    finish(task);
    while (runtime->tasks > 0) usleep(10);  // the chains are everybody's
  }
  end();
}

// A parked async task and a waited one beside it, with one worker.
static void a_parked_task_stops_nobody(void) {
  runtime = open_runtime(RECORD({COPSE_OPTION_IO, COPSE_IO_BLOCKING}));
  atomic_store(&pages_made, 0);
  struct task *parked = start_task(runtime, (span){}, page_first, (void *)10);
  while (!has_parked(parked)) usleep(100);
  struct task *waited = start_task(runtime, RECORD(WAITED), emit_rows, (void *)50'000);
  uint64_t rows = 0;
  CHECK(wait_done(waited, &rows, nullptr).code == 0);
  CHECK(rows == 50'000);
  finish(waited);
  CHECK(has_parked(parked));
  finish(parked);
  end();
}

// An async task's page goes out though it is not full.
static struct gate wanted;

static void emit_and_wait(struct act *act, struct worker *worker) {
  copse_row row = {.kind = COPSE_ROW_ENTRY};
  task_emit(act->task, &row, (span){}, SPAN("one"), (span){});
  gate_wait(&wanted);
  task_emit(act->task, &row, (span){}, SPAN("two"), (span){});
  (void)worker;
}

static void a_page_does_not_wait_until_it_is_full(void) {
  begin();
  gate_begin(&wanted, 1);
  struct task *task = start_task(runtime, (span){}, emit_and_wait, nullptr);
  struct pollfd wake = {.fd = runtime->wake.read_fd, .events = POLLIN};
  CHECK(poll(&wake, 1, 60'000) == 1);
  copse_event event;
  CHECK(runtime_drain(runtime, &event, 1, false) == 1);
  CHECK(event.kind == COPSE_EVENT_PAGE && event.rows == 1);
  gate_step(&wanted);
  while (!has_ended(task)) usleep(100);
  copse_event rest[4];
  CHECK(runtime_drain(runtime, rest, 4, false) == 2);  // a page and DONE in one call
  CHECK(rest[0].kind == COPSE_EVENT_PAGE && rest[0].rows == 1);
  CHECK(rest[1].kind == COPSE_EVENT_DONE);
  CHECK(runtime_drain(runtime, rest, 4, false) == 0);
  finish(task);
  gate_end(&wanted);
  end();
}

// Small pages that come last lie behind their events: no page is lent for them.
static void emit_few(struct act *act, struct worker *worker) {
  for (size_t i = 0; i < (size_t)(uintptr_t)act->with; i++) {
    copse_row row = {.kind = COPSE_ROW_ENTRY, .left_size = i};
    char name[16];
    int size = snprintf(name, sizeof name, "name %zu", i);
    span text = i % 2 ? SPAN("text") : (span){};
    task_emit(act->task, &row, SPAN("in"), (span){(const uint8_t *)name, (size_t)size}, text);
  }
  (void)worker;
}

static void rows_lie_behind_their_event(size_t count, uint32_t capacity) {
  begin();
  struct task *task = start_task(runtime, (span){}, emit_few, (void *)count);
  while (!has_ended(task)) usleep(100);
  static copse_event events[64];
  uint32_t lent = 0, seen = 0;
  for (bool over = false; !over;) {
    int32_t taken = runtime_drain(runtime, events, capacity, true);
    CHECK(taken > 0 && (uint32_t)taken <= capacity);
    for (int32_t at = 0; at < taken;) {
      const copse_event *event = &events[at++];
      over = event->kind == COPSE_EVENT_DONE;
      if (over) continue;
      CHECK(event->kind == COPSE_EVENT_PAGE);
      const uint8_t *page =
          event->page ? (const uint8_t *)(uintptr_t)event->page : (const uint8_t *)(event + 1);
      const copse_row *rows = (const copse_row *)(const void *)page;
      for (uint32_t i = 0; i < event->rows; i++, seen++) {
        char path[32];
        int size = snprintf(path, sizeof path, "in/name %u", seen);
        CHECK(rows[i].left_size == seen && rows[i].path_len == (uint32_t)size);
        CHECK(rows[i].path_at >= event->heap_at);
        CHECK(rows[i].path_at + rows[i].path_len <= event->page_size);
        CHECK(memcmp(page + rows[i].path_at, path, (size_t)size) == 0);
        CHECK(rows[i].text_len == (seen % 2 ? 4 : 0));
        CHECK(rows[i].text_len == 0 || memcmp(page + rows[i].text_at, "text", 4) == 0);
      }
      lent += event->page != 0;
      if (event->page)
        CHECK(task_release(task, event->page) == 0);
      else
        at += (int32_t)((event->page_size + sizeof *event - 1) / sizeof *event);
    }
  }
  CHECK(seen == count);
  // Rows, their text in whole slots, and the event itself.
  bool fits = count + (count * 15 + 63) / 64 + 1 < capacity;
  CHECK(!fits || lent == 0);
  CHECK(capacity > 1 || lent > 0);
  CHECK(runtime_drain(runtime, events, capacity, true) == 0);
  finish(task);
  CHECK(atomic_load(&runtime->buffers.taken) == 0);
  end();
}

// Ends

static void fail_twice(struct act *act, struct worker *worker) {
  (void)worker;
  struct fault fault = {};
  fault_from_errno(&fault, 2, "openat");
  task_fail(act->task, &fault, SPAN("/place"), SPAN("path"));
  struct fault other = {};
  fault_set(&other, COPSE_E_IO, "second");
  task_fail(act->task, &other, (span){}, (span){});
  copse_row row = {.kind = COPSE_ROW_ENTRY};
  task_emit(act->task, &row, (span){}, SPAN("dropped"), (span){});
}

static void the_first_failure_is_the_tasks(void) {
  begin();
  struct task *task = start_task(runtime, RECORD(WAITED), fail_twice, nullptr);
  uint64_t rows = 0;
  copse_event done = wait_done(task, &rows, nullptr);
  CHECK(done.code == COPSE_E_NOT_FOUND && rows == 0);
  uint8_t detail[512];
  int32_t size = task_error(task, detail, sizeof detail);
  CHECK(size > 0 && (size_t)size <= sizeof detail);
  CHECK(task_error(task, nullptr, 0) == size);
  span record = {detail, (size_t)size};
  struct fault fault = {};
  CHECK(record_check(record, &fault) == 0);
  CHECK((int32_t)(int64_t)record_number(record, COPSE_DETAIL_CODE, 0) == COPSE_E_NOT_FOUND);
  CHECK(span_equal(record_text(record, COPSE_DETAIL_LOCATION), SPAN("/place")));
  CHECK(span_equal(record_text(record, COPSE_DETAIL_PATH), SPAN("path")));
  CHECK(runtime->failed == 1);
  finish(task);
  end();
}

static void refused_tasks_say_why(void) {
  begin();
  struct task *task = new_task(runtime, SPAN("no record at all"));
  struct fault fault = {};
  fault_set(&fault, COPSE_E_ARGUMENT, "that is no request");
  task_refuse(task, &fault);
  copse_event events[4];
  CHECK(runtime_drain(runtime, events, 4, false) == 1);
  CHECK(events[0].kind == COPSE_EVENT_DONE && events[0].code == COPSE_E_ARGUMENT);
  uint8_t detail[512];
  int32_t size = task_error(task, detail, sizeof detail);
  CHECK(span_equal(record_text((span){detail, (size_t)size}, COPSE_DETAIL_SENTENCE),
                   SPAN("that is no request")));
  finish(task);
  end();
}

static void until_cancelled(struct act *act, struct worker *worker) {
  (void)worker;
  if (act->with) gate_step(act->with);
  while (!task_cancelled(act->task)) usleep(100);
}

static void until_committed(struct act *act, struct worker *worker) {
  (void)worker;
  CHECK(task_commits(act->task) && task_commits(act->task));
  gate_step(act->with);
  usleep(30'000);  // longer than its deadline
  CHECK(!task_cancelled(act->task));
}

static void then_failing(struct act *act, struct worker *worker) {
  until_committed(act, worker);
  struct fault fault = {};
  fault_set(&fault, COPSE_E_IO, "it failed");
  task_fail(act->task, &fault, (span){}, (span){});
}

static void after_cancelling(struct act *act, struct worker *worker) {
  until_cancelled(act, worker);
  CHECK(!task_commits(act->task));
}

// What is getting its name cannot be cancelled, but it can fail.
static void committing_comes_first_or_not_at_all(void) {
  begin();
  const struct {
    void (*work)(struct act *, struct worker *);
    bool is_late;
    int32_t code;
  } cases[] = {{until_committed, true, 0},
               {then_failing, true, COPSE_E_IO},
               {after_cancelling, false, COPSE_E_CANCELLED}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct gate running;
    gate_begin(&running, 1);
    struct task *task =
        start_task(runtime, RECORD(WAITED, {COPSE_KEY_DEADLINE, cases[i].is_late ? 10 : 60'000}),
                   cases[i].work, &running);
    gate_wait(&running);
    CHECK(task_cancel(task, COPSE_E_CANCELLED) == cases[i].is_late);
    CHECK(wait_done(task, nullptr, nullptr).code == cases[i].code);
    finish(task);
    gate_end(&running);
  }
  end();
}

static void cancelling_and_deadlines(void) {
  begin();
  struct gate running;
  gate_begin(&running, 1);
  struct task *task = start_task(runtime, RECORD(WAITED), until_cancelled, &running);
  gate_wait(&running);
  task_cancel(task, COPSE_E_CANCELLED);
  task_cancel(task, COPSE_E_TIMEOUT);
  CHECK(wait_done(task, nullptr, nullptr).code == COPSE_E_CANCELLED);
  task_cancel(task, COPSE_E_CANCELLED);  // too late, harmless
  finish(task);
  gate_end(&running);

  uint64_t before = clock_now();
  task = start_task(runtime, RECORD(WAITED, {COPSE_KEY_DEADLINE, 30}), until_cancelled, nullptr);
  CHECK(wait_done(task, nullptr, nullptr).code == COPSE_E_TIMEOUT);
  CHECK(clock_now() - before >= 30'000'000);
  uint8_t detail[512];
  int32_t size = task_error(task, detail, sizeof detail);
  CHECK((int32_t)(int64_t)record_number((span){detail, (size_t)size}, COPSE_DETAIL_CODE, 0) ==
        COPSE_E_TIMEOUT);
  finish(task);

  // One that is kept says nothing, however long it is.
  task =
      start_task(runtime, RECORD(WAITED, {COPSE_KEY_DEADLINE, UINT64_MAX}), emit_rows, (void *)1);
  CHECK(wait_done(task, nullptr, nullptr).code == 0);
  finish(task);
  task = start_task(runtime, RECORD(WAITED, {COPSE_KEY_DEADLINE, 3'600'000}), emit_rows, (void *)1);
  while (!has_ended(task)) usleep(100);
  task_cancel(task, COPSE_E_CANCELLED);  // it is done though nobody knows yet
  CHECK(wait_done(task, nullptr, nullptr).code == 0);
  task_cancel(task, COPSE_E_CANCELLED);
  CHECK(runtime->done == 2 && runtime->cancelled == 1 && runtime->failed == 1);
  finish(task);
  end();
}

static void a_parked_task_can_be_cancelled(void) {
  for (int by_deadline = 0; by_deadline < 2; by_deadline++) {
    begin();
    atomic_store(&pages_made, 0);
    span request = by_deadline ? RECORD(WAITED, {COPSE_KEY_DEADLINE, 20}) : RECORD(WAITED);
    struct task *task = start_task(runtime, request, page_first, (void *)100);
    if (!by_deadline) {
      while (!has_parked(task)) usleep(10);
      task_cancel(task, COPSE_E_CANCELLED);
    }
    while (!has_ended(task)) usleep(100);
    copse_event events[8];
    int32_t taken = wait_events(task, events, 8);
    CHECK(events[taken - 1].kind == COPSE_EVENT_DONE);
    CHECK(events[taken - 1].code == (by_deadline ? COPSE_E_TIMEOUT : COPSE_E_CANCELLED));
    finish(task);
    end();
  }
}

static void closing_at_any_moment_leaves_nothing(void) {
  begin();
  for (int round = 0; round < 3000 / SHRINK; round++) {
    atomic_store(&pages_made, 0);
    struct task *task =
        start_task(runtime, round % 2 ? RECORD(WAITED) : (span){},
                   round % 3 ? page_first : emit_rows, (void *)(uintptr_t)(round % 40 + 1));
    copse_event event;
    if (round % 5 == 0) runtime_drain(runtime, &event, 1, false);
    if (round % 7 == 0) task_wait(task, &event, 1, 1);
    finish(task);
    if (round % 4 == 0) runtime_drain(runtime, &event, 1, false);
  }
  end();
}

// Pushed bytes

struct pushing {
  struct act act;
  _Atomic uint64_t received;
  _Atomic bool over;
};

static int32_t take_push(struct task *task, span bytes, struct fault *fault) {
  (void)fault;
  struct pushing *pushing = task->run;
  atomic_fetch_add(&pushing->received, bytes.size);
  if (bytes.size == 0) task_expect_no_more(task);
  return 0;
}

static void expect(struct act *act, struct worker *worker) {
  (void)worker;
  task_expect(act->task);
  task_expect(act->task);
  task_room(act->task, 1000);
}

static bool finish_pushing(struct task *task, struct worker *worker) {
  (void)worker;
  struct pushing *pushing = task->run;
  CHECK(!atomic_exchange(&pushing->over, true));
  return false;
}

static struct task *start_pushing(span request) {
  struct task *task = new_task(runtime, request);
  struct pushing *pushing = calloc(1, sizeof *pushing);
  CHECK(pushing);
  pushing->act = (struct act){.job.run = act_run, .task = task, .body = expect};
  task->run = pushing;
  task->destroy = act_destroy;
  task->finish = finish_pushing;
  task->pushed = take_push;
  task_start(task, JOB_LEAF, &pushing->act.job);
  return task;
}

struct pusher {
  struct task *task;
  struct thread thread;
  struct gate started, over;
};

static void push_until_refused(void *argument) {
  struct pusher *pusher = argument;
  pusher->thread = thread_self();
  struct fault fault = {};
  gate_step(&pusher->started);
  while (task_push(pusher->task, SPAN("some"), &fault) == 0) {
  }
  CHECK(fault.code == COPSE_E_CANCELLED || fault.code == COPSE_E_CLOSED);
  gate_step(&pusher->over);
}

static void pushes(void) {
  begin();
  struct fault fault = {};
  struct task *task = start_pushing(RECORD(WAITED));
  copse_event event;
  wait_events(task, &event, 1);
  CHECK(event.kind == COPSE_EVENT_ROOM && event.rows == 1000);
  for (int i = 0; i < 100; i++) CHECK(task_push(task, SPAN("0123456789"), &fault) == 0);
  CHECK(!has_ended(task));
  CHECK(task_push(task, (span){}, &fault) == 0);
  CHECK(wait_done(task, nullptr, nullptr).code == 0);
  CHECK(task_push(task, SPAN("late"), &fault) == COPSE_E_CLOSED);
  finish(task);

  task = start_pushing(RECORD(WAITED));  // cancelled while it waits for bytes
  wait_events(task, &event, 1);
  task_cancel(task, COPSE_E_CANCELLED);
  CHECK(wait_done(task, nullptr, nullptr).code == COPSE_E_CANCELLED);
  CHECK(task_push(task, SPAN("late"), &fault) == COPSE_E_CANCELLED);
  finish(task);

  for (int round = 0; round < 300 / SHRINK; round++) {  // ended under the hands of who pushes
    task = start_pushing(RECORD(WAITED));
    struct pusher pusher = {.task = task};
    gate_begin(&pusher.started, 1);
    gate_begin(&pusher.over, 1);
    wait_events(task, &event, 1);
    CHECK(event.kind == COPSE_EVENT_ROOM);
    CHECK(thread_start("pusher", push_until_refused, &pusher));
    gate_wait(&pusher.started);
    if (round % 2)
      task_cancel(task, COPSE_E_CANCELLED);
    else
      CHECK(task_push(task, (span){}, &fault) == 0);
    CHECK(wait_done(task, nullptr, nullptr).code == (round % 2 ? COPSE_E_CANCELLED : 0));
    gate_wait(&pusher.over);
    thread_join(&pusher.thread);
    gate_end(&pusher.over);
    gate_end(&pusher.started);
    finish(task);
  }

  for (int round = 0; round < 2000 / SHRINK; round++) {  // at any moment
    task = start_pushing((span){});
    if (round % 2) task_push(task, SPAN("some"), &fault);
    if (round % 3 == 0) task_push(task, (span){}, &fault);
    if (round % 5 == 0) task_push(task, (span){}, &fault);
    finish(task);
  }
  end();
}

// Progress

static void progress_comes_until_done(void) {
  begin();
  struct gate running;
  gate_begin(&running, 1);
  struct task *task =
      start_task(runtime, RECORD({COPSE_KEY_PROGRESS, 1}), until_cancelled, &running);
  gate_wait(&running);
  struct pollfd wake = {.fd = runtime->wake.read_fd, .events = POLLIN};
  copse_event event = {};
  for (int seen = 0; seen < 5;) {
    CHECK(poll(&wake, 1, 60'000) == 1);
    uint64_t bytes;
    CHECK(read(wake.fd, &bytes, sizeof bytes) > 0);
    int32_t taken = runtime_drain(runtime, &event, 1, false);
    if (taken == 0) continue;
    CHECK(event.kind == COPSE_EVENT_PROGRESS && event.total_bytes == COPSE_UNKNOWN);
    task_count(task, 1, 100);
    seen++;
    while (runtime_drain(runtime, &event, 1, false) > 0) {
    }
  }
  task_cancel(task, COPSE_E_CANCELLED);
  while (!has_ended(task)) usleep(100);
  CHECK(runtime_drain(runtime, &event, 1, false) == 1);
  CHECK(event.kind == COPSE_EVENT_DONE && event.code == COPSE_E_CANCELLED && event.bytes >= 500);
  CHECK(runtime_drain(runtime, &event, 1, false) == 0);
  finish(task);
  gate_end(&running);

  task = start_task(runtime, RECORD(WAITED, {COPSE_KEY_PROGRESS, 1}), until_cancelled, nullptr);
  for (int seen = 0; seen < 5; seen++) {
    wait_events(task, &event, 1);
    CHECK(event.kind == COPSE_EVENT_PROGRESS);
  }
  task_cancel(task, COPSE_E_CANCELLED);
  while (event.kind != COPSE_EVENT_DONE) wait_events(task, &event, 1);
  finish(task);
  end();
}

int main(void) {
  rows_arrive_whole_and_in_order(0);
  rows_arrive_whole_and_in_order(1);
  rows_arrive_whole_and_in_order(100'000 / SHRINK);
  a_row_larger_than_a_page_has_its_own();
  error_rows_say_what_happened();
  pages_of_bytes();
  two_unread_pages_are_the_most(RECORD(WAITED), false);
  two_unread_pages_are_the_most((span){}, true);
  a_reader_may_stop_at_any_moment();
  a_parked_task_stops_nobody();
  a_page_does_not_wait_until_it_is_full();
  for (uint32_t capacity = 1; capacity <= 64; capacity = capacity < 4 ? capacity + 1 : capacity * 2)
    for (size_t count = 1; count <= 300; count = count * 3 + 1)
      rows_lie_behind_their_event(count, capacity);
  the_first_failure_is_the_tasks();
  refused_tasks_say_why();
  committing_comes_first_or_not_at_all();
  cancelling_and_deadlines();
  a_parked_task_can_be_cancelled();
  closing_at_any_moment_leaves_nothing();
  pushes();
  progress_comes_until_done();
}
