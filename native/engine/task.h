// task: one running verb as JavaScript sees it: states, a cancel flag, pages of rows, one DONE.
//
// Threads: jobs of the task's group emit rows and add to totals from any worker. The events go to
// the task's own queue; the runtime keeps the list of tasks that have some (runtime.h). JavaScript
// takes events, releases pages and closes the task.
//
// Ownership: a task is referenced by the id table until closed and by its group until the group's
// last `then`. Whoever drops the last reference frees it, so that a task closed while running
// cleans up after itself.
#pragma once
#include <stdatomic.h>
#include "base/fault.h"
#include "base/span.h"
#include "engine/io.h"
#include "engine/limit.h"
#include "engine/pool.h"
#include "engine/timer.h"

struct runtime;
struct page;

enum task_state : uint8_t { TASK_QUEUED, TASK_RUNNING, TASK_DONE, TASK_FAILED, TASK_CANCELLED };

constexpr size_t PAGE_BYTES = 64 * 1024;
constexpr size_t PAGE_LARGE_BYTES = 512 * 1024;  // of the bytes of a file that is read on and on
constexpr uint32_t PAGES_UNREAD_MAX = 2;
constexpr uint64_t PAGE_AGE_NS =
    5'000'000;  // a page goes out when full or this long after its first row

struct task {
  uint64_t id;
  struct runtime *runtime;
  struct group group;
  _Atomic uint32_t references;
  _Atomic uint32_t cancelled;  // 0, or the COPSE_E_* code as its absolute value
  _Atomic uint8_t state;       // enum task_state
  _Atomic bool has_opened;     // its stores; until then what it names must not go
  uint64_t turn;               // counted by runtime_add: who was added before has a smaller one
  uint32_t token;
  bool waited;
  uint64_t untold;                                     // bits 1 << kind: rows that nobody wants
  _Atomic uint64_t files, bytes, total_bytes, errors;  // total_bytes COPSE_UNKNOWN until known
  _Atomic bool total_grows;                            // more may be found
  _Atomic uint32_t done_flags;                         // enum copse_done
  _Atomic uint64_t ways[IO_WAYS];                      // bytes that went inside the kernel
  struct limit limit;                                  // bytes a second of its own
  const uint8_t *request;  // the task's own copy; valid until it is freed
  size_t request_len;

  // The verb. `finish` is called once on a worker when all jobs ended and may return true to say
  // that it added jobs and wants to be called again. `destroy` frees what the verb holds; called
  // once, before DONE can be seen, so that whoever sees it finds every descriptor closed.
  bool (*finish)(struct task *task, struct worker *worker);
  void (*destroy)(struct task *task);
  // A WRITE task gets its pushed bytes through this, on the caller's thread; the bytes must be
  // copied. `finish` is not called while one of them runs, and none is called after it, unless it
  // adds a job that calls task_expect again. Between task_expect and task_expect_no_more the task
  // is not over though it has no jobs.
  int32_t (*pushed)(struct task *task, span bytes, struct fault *fault);
  void *run;

  // Below: task.c's own, guarded by `lock`.
  mutex lock;
  condition waiting;  // the thread in copse_task_wait
  struct page *filling, *sealed, *sealed_last, *lent;
  uint32_t unread;  // sealed and lent pages
  bool parked, page_timer_set, progress_pending, room_pending, done_pending, done_taken, closed;
  bool ending;       // how it ends is decided: `code`
  bool committing;   // nobody cancels it any more
  bool timed;        // a timer was set once, so that they have to be cleared
  bool expecting;    // the group has a hold that goes with the last push or a cancel
  bool deaf;         // nothing more is pushed, until it is expected again
  uint32_t pushing;  // calls of `pushed` that run now
  uint32_t room;
  int32_t code;        // what DONE says
  struct fault fault;  // first failure of the whole task, unless it was cancelled before
  char *fault_location, *fault_path;
  size_t fault_location_len, fault_path_len;
  struct timer page_timer, deadline_timer, progress_timer;
  uint64_t progress_every_ns;
  struct task *previous_ready, *next_ready, *previous_all,
      *next_all;  // runtime.c's, under the runtime's lock
  bool is_ready;
};

// Makes a task with one reference for the id table and one for its group. `request` is copied.
// Reads the common keys (token, deadline, priority, waited, concurrency, progress). nullptr: out of
// memory. Hand it to runtime_add at once.
struct task *task_new(struct runtime *runtime, span request);
// Puts the first job in; from here on the group's reference is its own to drop. State QUEUED until
// a job begins.
void task_start(struct task *task, enum job_place place, struct job *first);
// For a task that fails before any job: DONE with the fault, at once.
void task_refuse(struct task *task, const struct fault *fault);

// Checked per chunk, per batch of names, per entry. Cheap: one relaxed load.
static inline bool task_cancelled(const struct task *task) {
  return atomic_load_explicit(&task->cancelled, memory_order_relaxed) != 0;
}
void task_began(struct task *task);  // by the first job: QUEUED becomes RUNNING
// COPSE_E_CANCELLED or COPSE_E_TIMEOUT; first one wins. True: it comes too late for what the task
// makes, see task_commits.
bool task_cancel(struct task *task, int32_t code);
// From a job: what the task makes as a whole gets its name now, or is not there. False: it was
// cancelled before. From here on only a failure ends the task otherwise than well.
bool task_commits(struct task *task);
// The whole task failed: keeps the fault with the location and path it is about, cancels the rest.
// What comes after the first failure or a cancel is its consequence and not kept.
void task_fail(struct task *task, const struct fault *fault, span location, span path);
// A hint for long jobs that emit: when true, save the position, submit yourself again and return.
static inline bool task_parked(const struct task *task) {
  return __atomic_load_n(&task->parked, __ATOMIC_RELAXED);
}

// Appends a row. The path is `directory`/`name` (either may be empty; then no '/'). `row` needs no
// offsets. Drops the row when nobody wants its kind or the task is cancelled; fails the task with
// MEMORY when a page cannot be had.
void task_emit(struct task *task, const copse_row *row, span directory, span name, span text);
// An error row made of a fault; counts it and marks the task incomplete.
void task_emit_error(struct task *task, const struct fault *fault, span directory, span name,
                     span location);
// A page of raw bytes, for READ: room for `size` of them; send it with how many are filled (0:
// dropped).
[[nodiscard]] struct page *task_page_of_bytes(struct task *task, size_t size, uint8_t **bytes);
void task_send_bytes(struct task *task, struct page *page, size_t filled);
void task_room(struct task *task, uint32_t bytes);  // ROOM event
// From a job: bytes will be pushed, the task is not over before task_expect_no_more (any thread) or
// a cancel.
void task_expect(struct task *task);
void task_expect_no_more(struct task *task);
// From `destroy`, for a task that only waits for an answer: from now on nobody can cancel it, and
// with `answered` nobody did. False: it was closed, and nobody will hear. Then pages may be sent;
// `lost`: they could not, for want of memory.
bool task_answer(struct task *task, bool answered);
void task_answer_lost(struct task *task);
static inline void task_count(struct task *task, uint64_t files, uint64_t bytes) {
  if (files) atomic_fetch_add_explicit(&task->files, files, memory_order_relaxed);
  if (bytes) atomic_fetch_add_explicit(&task->bytes, bytes, memory_order_relaxed);
}

// For abi.c and runtime.c. `push` is CLOSED when the task is over.
// `behind`: small pages may lie behind their events; gives the slots that were filled.
int32_t task_take_events(struct task *task, copse_event *events, uint32_t capacity, bool behind);
int32_t task_wait(struct task *task, copse_event *events, uint32_t capacity, uint32_t timeout_ms);
int32_t task_release(struct task *task, uint64_t page);
// The same, but its memory stays with the caller, who ends it by page_free_kept.
int32_t task_keep(struct task *task, uint64_t page);
void page_free_kept(uint8_t *bytes);
int32_t task_push(struct task *task, span bytes, struct fault *fault);
int32_t task_error(struct task *task, uint8_t *into, size_t capacity);
void task_close(struct task *task);  // cancels, drops the table's reference
void task_hold(struct task *task);
bool task_hold_alive(
    struct task *task);             // for who found it on a list: false when it is being freed
void task_drop(struct task *task);  // frees with the last reference, nullptr is fine
