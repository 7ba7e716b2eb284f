// runtime: options, the wake and drain contract, cancelling by token, counters that balance at
// every moment, and nothing left when it is closed, also when memory ran out on the way.
#include "engine/runtime.h"

#include <poll.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <unistd.h>

#include "scene.h"

#define WAITED {COPSE_KEY_WAITED, 1}

#ifndef SANITIZED
#define ALLOCATIONS_FAIL 1
// Stand before the system's, so that the nth allocation from now can fail.
static _Atomic int fail_at;
static bool fails(void) {
  int left = atomic_load(&fail_at);
  if (left == 0) return false;
  atomic_store(&fail_at, left - 1);
  return left == 1;
}
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
void *malloc(size_t size) { return fails() ? nullptr : __libc_malloc(size); }
void *calloc(size_t count, size_t size) { return fails() ? nullptr : __libc_calloc(count, size); }
void *realloc(void *block, size_t size) { return fails() ? nullptr : __libc_realloc(block, size); }
void *aligned_alloc(size_t alignment, size_t size) {
  return fails() ? nullptr : __libc_memalign(alignment, size);
}
#endif

static bool is_readable(int fd) {
  struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
  return poll(&poll_fd, 1, 0) == 1;
}

static void wait_readable(int fd) {
  struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
  CHECK(poll(&poll_fd, 1, 60'000) == 1);
  uint8_t bytes[4096];
  while (read(fd, bytes, sizeof bytes) == sizeof bytes) {
  }
}

static void nothing(struct act *act, struct worker *worker) {
  (void)act;
  (void)worker;
}

static void one_row(struct act *act, struct worker *worker) {
  (void)worker;
  copse_row row = {.kind = COPSE_ROW_ENTRY};
  task_emit(act->task, &row, SPAN("directory"), SPAN("name"), (span){});
}

static void until_cancelled(struct act *act, struct worker *worker) {
  (void)worker;
  if (act->with) gate_step(act->with);
  while (!task_cancelled(act->task)) usleep(100);
}

// Options

static void refuses(uint16_t key, uint64_t number, const char *name) {
  struct runtime *runtime = nullptr;
  struct fault fault = {};
  CHECK(runtime_open(&runtime, RECORD({key, number}), &fault) == COPSE_E_ARGUMENT);
  CHECK(!runtime && fault.code == COPSE_E_ARGUMENT);
  CHECK(strstr(fault.text, name));
}

static void options(void) {
  refuses(COPSE_OPTION_WORKERS, 0, "workers must be between 1 and 256");
  refuses(COPSE_OPTION_WORKERS, 257, "not 257");
  refuses(COPSE_OPTION_IO_WORKERS, 0, "ioWorkers");
  refuses(COPSE_OPTION_IO_WORKERS, UINT64_MAX, "ioWorkers");
  refuses(COPSE_OPTION_CONNECTIONS, 4097, "connections");
  refuses(COPSE_OPTION_MEMORY, (16 << 20) - 1, "memory");
  refuses(COPSE_OPTION_MEMORY, (1ull << 40) + 1, "memory");
  refuses(COPSE_OPTION_IO, 4, "io");
  refuses(99, 1, "99");
  struct runtime *runtime = nullptr;
  struct fault fault = {};
  CHECK(runtime_open(&runtime, SPAN("nonsense"), &fault) == COPSE_E_ARGUMENT);

  runtime = open_runtime((span){});
  uint32_t cores = system_cores();
  CHECK(cores >= 1 && runtime->cores == cores);
  CHECK(runtime->io_workers <= (cores * 4 < 8 ? 8 : cores * 4 > 32 ? 32 : cores * 4));
  CHECK(runtime->cpu_workers == cores && runtime->backend == COPSE_IO_THREADS);
  CHECK(runtime->connections == 64);
  runtime_close(runtime);

  runtime = open_runtime(RECORD({COPSE_OPTION_IO, COPSE_IO_BLOCKING}, {COPSE_OPTION_WORKERS, 7}));
  CHECK(runtime->backend == COPSE_IO_BLOCKING);
  CHECK(runtime->io_workers == 1 && runtime->cpu_workers == 0);
  runtime_close(runtime);

  runtime = open_runtime(RECORD({COPSE_OPTION_IO, COPSE_IO_URING}));
  struct io_ring_probe probe;
  io_ring_probe(&probe);  // refused: threads, and the backend says so
  CHECK(runtime->backend == (probe.refused ? COPSE_IO_THREADS : COPSE_IO_URING));
  CHECK(runtime->io->fused == !probe.refused);
  runtime_close(runtime);

  runtime = open_runtime(RECORD({COPSE_OPTION_MEMORY, 16 << 20}, {COPSE_OPTION_IO_WORKERS, 256},
                                {COPSE_OPTION_WORKERS, 256}));
  CHECK(runtime->io_workers <= 16 && runtime->cpu_workers <= 16);
  runtime_close(runtime);

  struct rlimit before, few;
  CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
  few = before;
  few.rlim_cur = 64;
  CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
  runtime = open_runtime((span){});
  CHECK(runtime->io_workers >= 1 && runtime->io_workers <= 3);
  runtime_close(runtime);
  CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
}

// Waking and draining

// The counters know of an end before its event can be taken; with the group's reference both are
// past.
static void wait_told(struct task *const *tasks, size_t count) {
  for (size_t i = 0; i < count; i++)
    while (atomic_load(&tasks[i]->references) > 1) usleep(100);
}

static void a_burst_is_one_wake(void) {
  enum { TASKS = 1000 };
  struct runtime *runtime = open_runtime((span){});
  static struct task *tasks[TASKS];
  CHECK(!is_readable(runtime->wake.read_fd));
  for (int i = 0; i < TASKS; i++) tasks[i] = start_task(runtime, (span){}, nothing, nullptr);
  wait_told(tasks, TASKS);
  wait_readable(runtime->wake.read_fd);
  copse_stats stats;
  runtime_stats(runtime, &stats);
  CHECK(stats.wakes == 1 && stats.done == TASKS && stats.started == TASKS);
  CHECK(!is_readable(runtime->wake.read_fd));

  // In order of their readiness, which with one event each is all of them once.
  static bool seen[TASKS];
  uint64_t first = tasks[0]->id;
  int32_t total = 0, taken;
  copse_event events[64];
  do {
    taken = runtime_drain(runtime, events, 64, false);
    for (int32_t i = 0; i < taken; i++) {
      CHECK(events[i].kind == COPSE_EVENT_DONE && events[i].code == 0);
      CHECK(events[i].task - first < TASKS && !seen[events[i].task - first]);
      seen[events[i].task - first] = true;
    }
    total += taken;
    CHECK(runtime->raised == (taken == 64));
  } while (taken == 64);
  CHECK(total == TASKS);
  CHECK(runtime_drain(runtime, events, 64, false) == 0);

  // The next event wakes again.
  struct task *next = start_task(runtime, (span){}, nothing, nullptr);
  wait_readable(runtime->wake.read_fd);
  CHECK(runtime_drain(runtime, events, 64, false) == 1);
  task_close(next);
  for (int i = 0; i < TASKS; i++) task_close(tasks[i]);
  runtime_close(runtime);
}

// Capacities that cut a task's events apart keep their order, and nobody is forgotten.
static void any_capacity_will_do(void) {
  for (uint32_t capacity = 1; capacity <= 100; capacity += capacity < 5 ? 1 : 19) {
    enum { TASKS = 200 };
    struct runtime *runtime = open_runtime((span){});
    static struct task *tasks[TASKS];
    for (int i = 0; i < TASKS; i++) tasks[i] = start_task(runtime, (span){}, one_row, nullptr);
    uint64_t first = tasks[0]->id;
    static int pages[TASKS], dones[TASKS];
    memset(pages, 0, sizeof pages);
    memset(dones, 0, sizeof dones);
    for (int done = 0; done < TASKS;) {
      wait_readable(runtime->wake.read_fd);
      copse_event events[100];
      int32_t taken;
      do {
        taken = runtime_drain(runtime, events, capacity, false);
        CHECK(taken >= 0 && (uint32_t)taken <= capacity);
        for (int32_t i = 0; i < taken; i++) {
          uint64_t at = events[i].task - first;
          CHECK(at < TASKS && dones[at] == 0);
          if (events[i].kind == COPSE_EVENT_PAGE) {
            CHECK(events[i].rows == 1);
            pages[at]++;
            CHECK(task_release(tasks[at], events[i].page) == 0);
          } else {
            CHECK(events[i].kind == COPSE_EVENT_DONE && pages[at] == 1);
            dones[at]++;
            done++;
          }
        }
      } while ((uint32_t)taken == capacity);
    }
    for (int i = 0; i < TASKS; i++) task_close(tasks[i]);
    runtime_close(runtime);
  }
}

static void wait_for_gate(struct act *act, struct worker *worker) {
  (void)worker;
  gate_wait(act->with);
}

// While jobs wait, events are gathered; the only worker, busy with something long, does not keep
// them to itself.
static void what_ended_is_told_while_workers_are_busy(void) {
  struct runtime *runtime = open_runtime(RECORD({COPSE_OPTION_IO, COPSE_IO_BLOCKING}));
  struct gate go, running;
  gate_begin(&go, 1);
  gate_begin(&running, 1);
  struct task *tasks[3] = {start_task(runtime, (span){}, wait_for_gate, &go),
                           start_task(runtime, (span){}, nothing, nullptr),
                           start_task(runtime, (span){}, until_cancelled, &running)};
  gate_step(&go);
  gate_wait(&running);
  copse_event events[4];
  for (int32_t done = 0; done < 2;) {
    wait_readable(runtime->wake.read_fd);
    int32_t taken = runtime_drain(runtime, events, 4, false);
    for (int32_t i = 0; i < taken; i++) CHECK(events[i].task != tasks[2]->id);
    done += taken;
  }
  for (int i = 0; i < 3; i++) task_close(tasks[i]);
  runtime_close(runtime);
  gate_end(&go);
  gate_end(&running);
}

static void waited_tasks_are_quiet(void) {
  struct runtime *runtime = open_runtime((span){});
  struct task *task = start_task(runtime, RECORD(WAITED), one_row, nullptr);
  CHECK(wait_done(task, nullptr, nullptr).code == 0);
  CHECK(!is_readable(runtime->wake.read_fd) && runtime->wakes == 0);
  copse_event event;
  CHECK(runtime_drain(runtime, &event, 1, false) == 0);
  task_close(task);
  struct task *other = start_task(runtime, (span){}, nothing, nullptr);
  CHECK(task_wait(other, &event, 1, 0) == COPSE_E_ARGUMENT);
  task_close(other);
  runtime_close(runtime);
}

// Cancelling

static void cancelling_by_token(void) {
  struct runtime *runtime = open_runtime((span){});
  struct task *tasks[30];
  for (uint64_t i = 0; i < 30; i++)
    tasks[i] =
        start_task(runtime, RECORD(WAITED, {COPSE_KEY_TOKEN, i % 3}), until_cancelled, nullptr);
  CHECK(runtime_cancel(runtime, 0) == 0);  // those without a token are nobody's
  CHECK(runtime_cancel(runtime, 77) == 0);
  CHECK(runtime_cancel(runtime, 1) == 10);
  for (int i = 0; i < 30; i++) CHECK(task_cancelled(tasks[i]) == (i % 3 == 1));
  CHECK(runtime_cancel(runtime, 2) == 10);
  for (int i = 0; i < 30; i += 3) task_cancel(tasks[i], COPSE_E_CANCELLED);
  for (int i = 0; i < 30; i++) {
    CHECK(wait_done(tasks[i], nullptr, nullptr).code == COPSE_E_CANCELLED);
    task_close(tasks[i]);
  }
  runtime_close(runtime);
}

static void closing_ends_what_runs(void) {
  for (int round = 0; round < 20; round++) {
    struct runtime *runtime = open_runtime((span){});
    struct task *tasks[40];
    struct gate running;
    gate_begin(&running, 1);
    for (int i = 0; i < 40; i++)
      tasks[i] = start_task(runtime, (span){}, i % 2 ? one_row : until_cancelled,
                            i == 0 ? &running : nullptr);
    gate_wait(&running);
    for (int i = 0; i < 40; i++) task_close(tasks[i]);
    runtime_close(runtime);
    gate_end(&running);
  }
}

// Counters

static _Atomic bool stop_watching;

struct watcher {
  struct runtime *runtime;
  struct thread thread;
  struct gate over;
  uint64_t looks;
};

static void watch(void *argument) {
  struct watcher *watcher = argument;
  watcher->thread = thread_self();
  do {
    copse_stats stats;
    runtime_stats(watcher->runtime, &stats);
    CHECK(stats.started ==
          stats.done + stats.failed + stats.cancelled + stats.running + stats.queued);
    CHECK(stats.running <= stats.started && stats.queued <= stats.started);
    watcher->looks++;
    usleep(20);  // the lock is nobody's for a while: without it those who work would hardly get it
  } while (!atomic_load(&stop_watching));
  gate_step(&watcher->over);
}

static void counters_balance_at_every_moment(void) {
  struct runtime *runtime = open_runtime((span){});
  struct watcher watcher = {.runtime = runtime};
  gate_begin(&watcher.over, 1);
  CHECK(thread_start("watcher", watch, &watcher));
  const uint64_t tasks = 30'000 / SHRINK;
  uint64_t ended = 0;
  copse_event events[64];
  static struct task *waiting[64];
  for (uint64_t i = 0; i < tasks;) {
    uint64_t count = 0;
    for (; count < 64 && i < tasks; count++, i++) {
      waiting[count] = start_task(runtime, RECORD({COPSE_KEY_PRIORITY, i % 3}),
                                  i % 5 ? nothing : one_row, nullptr);
      if (i % 11 == 0) task_cancel(waiting[count], COPSE_E_CANCELLED);
    }
    for (uint64_t done = 0; done < count;) {
      int32_t taken = runtime_drain(runtime, events, 64, false);
      for (int32_t j = 0; j < taken; j++) done += events[j].kind == COPSE_EVENT_DONE;
      if (taken == 0) wait_readable(runtime->wake.read_fd);
    }
    for (uint64_t j = 0; j < count; j++) task_close(waiting[j]);
    ended += count;
  }
  atomic_store(&stop_watching, true);
  gate_wait(&watcher.over);
  thread_join(&watcher.thread);
  gate_end(&watcher.over);
  CHECK(watcher.looks > 0);
  while (runtime->tasks > 0) usleep(100);  // a page goes with the last reference to its task
  copse_stats stats;
  runtime_stats(runtime, &stats);
  CHECK(stats.started == ended && stats.running == 0 && stats.queued == 0);
  CHECK(stats.done + stats.cancelled == ended);
  CHECK(stats.steps >= stats.done && stats.buffer_bytes == 0);
  runtime_close(runtime);
}

// Tasks closed by one thread while another drains and jobs end: nobody is freed under somebody's
// hands.
struct closer {
  struct task *tasks[1000];
  struct thread thread;
  struct gate over;
};

static void close_all(void *argument) {
  struct closer *closer = argument;
  closer->thread = thread_self();
  for (size_t i = 0; i < 1000; i++) task_close(closer->tasks[i]);
  gate_step(&closer->over);
}

static void closing_races_with_draining(void) {
  struct runtime *runtime = open_runtime((span){});
  for (int round = 0; round < 30 / SHRINK + 1; round++) {
    static struct closer closer;
    closer = (struct closer){};
    gate_begin(&closer.over, 1);
    for (size_t i = 0; i < 1000; i++)
      closer.tasks[i] =
          start_task(runtime, RECORD({COPSE_KEY_TOKEN, i % 4}), i % 2 ? one_row : nothing, nullptr);
    CHECK(thread_start("closer", close_all, &closer));
    copse_event events[8];
    while (runtime->tasks > 0) {
      if (runtime_drain(runtime, events, 8, false) == 0) thread_yield();
      runtime_cancel(runtime, 2);
    }
    gate_wait(&closer.over);
    thread_join(&closer.thread);
    gate_end(&closer.over);
  }
  CHECK(!runtime->all && !runtime->ready);
  runtime_close(runtime);
}

// The moment between a task's last reference and its leaving the lists, held still.
static void a_dying_task_is_left_alone(void) {
  struct runtime *runtime = open_runtime((span){});
  struct task *task = start_task(runtime, RECORD({COPSE_KEY_TOKEN, 9}), nothing, nullptr);
  wait_readable(runtime->wake.read_fd);
  wait_told(&task, 1);
  atomic_store(&task->references, 0);
  copse_event event;
  CHECK(runtime_drain(runtime, &event, 1, false) == 0);
  CHECK(runtime_cancel(runtime, 9) == 0);
  CHECK(atomic_load(&task->references) == 0);
  atomic_store(&task->references, 1);
  task_close(task);
  runtime_close(runtime);
}

static void two_runtimes_do_not_see_each_other(void) {
  struct runtime *left = open_runtime((span){}),
                 *right = open_runtime(RECORD({COPSE_OPTION_IO, COPSE_IO_BLOCKING}));
  struct task *task = start_task(left, RECORD({COPSE_KEY_TOKEN, 5}), nothing, nullptr);
  wait_readable(left->wake.read_fd);
  CHECK(runtime_cancel(right, 5) == 0 && !is_readable(right->wake.read_fd));
  copse_event event;
  CHECK(runtime_drain(right, &event, 1, false) == 0);
  CHECK(right->started == 0);
  task_close(task);
  runtime_close(left);
  runtime_close(right);
}

static void a_hundred_runtimes_leave_nothing(void) {
  int threads = count_threads(), descriptors = count_descriptors();
  for (int i = 0; i < 100; i++) {
    struct runtime *runtime = open_runtime((span){});
    CHECK(threads_come_to(threads));  // nothing before the first task
    struct task *task = start_task(runtime, RECORD(WAITED), one_row, nullptr);
    CHECK(wait_done(task, nullptr, nullptr).code == 0);
    task_close(task);
    runtime_close(runtime);
    CHECK(threads_come_to(threads));
  }
  CHECK(count_descriptors() == descriptors);
}

static struct attachment *attach(struct runtime *runtime) {
  (void)runtime;
  return calloc(1, sizeof(struct attachment));
}

static const char attachment_key;
static int attachments_freed;

static void free_attachment(struct attachment *attachment) {
  attachments_freed++;
  free(attachment);
}

static void attachments_live_as_long_as_the_runtime(void) {
  struct runtime *runtime = open_runtime((span){});
  struct attachment *made = runtime_attachment(runtime, &attachment_key, attach);
  CHECK(made);
  made->key = &attachment_key;
  made->free = free_attachment;
  CHECK(runtime_attachment(runtime, &attachment_key, attach) == made);
  CHECK(attachments_freed == 0);
  runtime_close(runtime);
  CHECK(attachments_freed == 1);
}

#ifdef ALLOCATIONS_FAIL
// Fails each allocation of a small life in turn: a code or an ended task, and nothing left.
static bool live(int fail_nth) {
  struct runtime *runtime = nullptr;
  struct fault fault = {};
  atomic_store(&fail_at, fail_nth);
  int32_t code = runtime_open(&runtime, (span){}, &fault);
  if (code < 0) {
    CHECK(code == COPSE_E_MEMORY && fault.code == code);
    return true;
  }
  struct task *task = task_new(runtime, RECORD(WAITED, {COPSE_KEY_DEADLINE, 60'000}));
  struct act *act = task ? malloc(sizeof *act) : nullptr;
  if (task) runtime_add(runtime, task);
  if (task && !act) {
    fault_set(&fault, COPSE_E_MEMORY, "out of memory");
    task_refuse(task, &fault);
  } else if (task) {
    *act = (struct act){.job.run = act_run, .task = task, .body = one_row};
    task->run = act;
    task->destroy = act_destroy;
    task_start(task, JOB_LEAF, &act->job);
  }
  if (task) {
    uint64_t rows = 0;
    copse_event done = wait_done(task, &rows, nullptr);
    CHECK(done.code == 0 || done.code == COPSE_E_MEMORY);
    CHECK(done.code != 0 || rows == 1);
    uint8_t detail[512];
    CHECK((task_error(task, detail, sizeof detail) > 0) == (done.code != 0));
    task_close(task);
  }
  bool all_tried = atomic_load(&fail_at) > 0;
  atomic_store(&fail_at, 0);
  runtime_close(runtime);
  return !all_tried;
}

static void every_allocation_may_fail(void) {
  int threads = count_threads(), descriptors = count_descriptors();
  int tried = 0;
  while (live(tried + 1)) tried++;
  CHECK(tried >= 6);
  CHECK(threads_come_to(threads) && count_descriptors() == descriptors);
  printf("runtime: %d allocations failed, each once\n", tried);
}
#endif

int main(void) {
  options();
  a_burst_is_one_wake();
  any_capacity_will_do();
  what_ended_is_told_while_workers_are_busy();
  waited_tasks_are_quiet();
  cancelling_by_token();
  closing_ends_what_runs();
  counters_balance_at_every_moment();
  closing_races_with_draining();
  a_dying_task_is_left_alone();
  two_runtimes_do_not_see_each_other();
  a_hundred_runtimes_leave_nothing();
  attachments_live_as_long_as_the_runtime();
#ifdef ALLOCATIONS_FAIL
  every_allocation_may_fail();
#endif
}
