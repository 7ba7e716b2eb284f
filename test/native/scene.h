// scene: a runtime and tasks made of plain functions, for tests of the engine without verbs.
#pragma once
#include <stddef.h>
#include <string.h>

#include "base/record.h"
#include "check.h"
#include "engine/runtime.h"

struct pair_of_numbers {
  uint16_t key;
  uint64_t number;
};

// A record of numbers in a buffer that lives until the next call.
static inline span record_of(const struct pair_of_numbers *pairs, size_t count) {
  static _Thread_local uint8_t bytes[1024];
  struct record_writer writer = {bytes, sizeof bytes, 0};
  for (size_t i = 0; i < count; i++) record_put_number(&writer, pairs[i].key, pairs[i].number);
  CHECK(writer.size <= sizeof bytes);
  return (span){bytes, writer.size};
}
#define RECORD(...)                                  \
  record_of(                                         \
      (const struct pair_of_numbers[]){__VA_ARGS__}, \
      sizeof((const struct pair_of_numbers[]){__VA_ARGS__}) / sizeof(struct pair_of_numbers))

static inline struct runtime *open_runtime(span options) {
  struct runtime *runtime = nullptr;
  struct fault fault = {};
  CHECK(runtime_open(&runtime, options, &fault) == 0);
  CHECK(runtime);
  return runtime;
}

// What a task of these tests does: `body` is its only job, and may add more.
struct act {
  struct job job;
  struct task *task;
  void (*body)(struct act *act, struct worker *worker);
  void *with;
};

static inline void act_run(struct job *job, struct worker *worker) {
  struct act *act = (struct act *)job;
  task_began(act->task);
  act->body(act, worker);
}

static inline void act_destroy(struct task *task) { free(task->run); }

static inline struct task *new_task(struct runtime *runtime, span request) {
  static _Atomic uint64_t id;
  struct task *task = task_new(runtime, request);
  CHECK(task);
  runtime_add(runtime, task);
  task->id = atomic_fetch_add(&id, 1) + 1;
  return task;
}

static inline struct task *start_task(struct runtime *runtime, span request,
                                      void (*body)(struct act *, struct worker *), void *with) {
  struct task *task = new_task(runtime, request);
  struct act *act = malloc(sizeof *act);
  CHECK(act);
  *act = (struct act){.job.run = act_run, .task = task, .body = body, .with = with};
  task->run = act;
  task->destroy = act_destroy;
  task_start(task, JOB_LEAF, &act->job);
  return task;
}

// The next events of a waited task: at least one, unless DONE was taken.
static inline int32_t wait_events(struct task *task, copse_event *events, uint32_t capacity) {
  int32_t taken = 0;
  for (int i = 0; i < 600 && taken == 0; i++) taken = task_wait(task, events, capacity, 100);
  CHECK(taken > 0);
  return taken;
}

// Takes and releases everything up to DONE, which it returns. `rows` and `bytes` count what came.
static inline copse_event wait_done(struct task *task, uint64_t *rows, uint64_t *bytes) {
  for (;;) {
    copse_event event;
    wait_events(task, &event, 1);
    CHECK(event.task == task->id);
    if (event.kind == COPSE_EVENT_DONE) return event;
    if (event.kind != COPSE_EVENT_PAGE) continue;
    if (rows) *rows += event.rows;
    if (bytes && event.rows == 0) *bytes += event.page_size;
    CHECK(task_release(task, event.page) == 0);
  }
}

static inline span row_path(const copse_event *page, const copse_row *row) {
  CHECK(row->path_at >= page->heap_at && row->path_at + row->path_len <= page->page_size);
  return (span){(const uint8_t *)(uintptr_t)page->page + row->path_at, row->path_len};
}

static inline span row_text(const copse_event *page, const copse_row *row) {
  CHECK(row->text_at >= page->heap_at && row->text_at + row->text_len <= page->page_size);
  return (span){(const uint8_t *)(uintptr_t)page->page + row->text_at, row->text_len};
}

static inline const copse_row *rows_of(const copse_event *page) {
  CHECK(page->page % 64 == 0);
  CHECK(page->heap_at >= page->rows * sizeof(copse_row) && page->heap_at <= page->page_size);
  return (const copse_row *)(uintptr_t)page->page;
}
