// pool: which job runs when, that each runs once, that nothing is left over, and that a system
// which gives no threads is slow and not stuck.
#include "engine/pool.h"

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "check.h"
#include "engine/buffer.h"
#include "engine/pool_width.h"
#include "engine/timer.h"

static struct buffers buffers;
static struct timers *timers;
static struct pool *pool;

static void begin(uint32_t io_workers, uint32_t cpu_workers, uint32_t cores) {
  buffers_begin(&buffers, 1 << 30);
  CHECK(timers_begin(&timers) == 0);
  struct pool_options options = {
      .io_workers = io_workers, .cpu_workers = cpu_workers, .cores = cores, .aside = 2};
  CHECK(pool_begin(&pool, &options, &buffers, timers) == 0);
}

static void end(void) {
  pool_end(pool);
  timers_end(timers);
  CHECK(atomic_load(&buffers.taken) == 0);
}

// A group that opens a gate when it is over.
struct work {
  struct group group;
  struct gate over;
  _Atomic uint32_t done, most, now;
  _Atomic int thens;
  bool linger;  // its jobs take a while
};

static struct work *work_of(struct group *group) {
  return (struct work *)(void *)((uint8_t *)group - offsetof(struct work, group));
}

static bool over(struct group *group, struct worker *worker) {
  (void)worker;
  struct work *work = work_of(group);
  atomic_fetch_add(&work->thens, 1);
  gate_step(&work->over);
  return false;
}

static void work_begin(struct work *work, uint8_t priority, uint32_t running_max) {
  *work = (struct work){};
  gate_begin(&work->over, 1);
  group_begin(&work->group, pool, priority, running_max, over);
}

static void work_wait(struct work *work) {
  gate_wait(&work->over);
  gate_end(&work->over);
  CHECK(atomic_load(&work->thens) == 1);
}

// A job that notes its letter in the order of running.
static struct {
  mutex lock;
  char letters[4096];
  size_t count;
} order = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct letter {
  struct job job;
  char letter;
};

static void letter_run(struct job *job, struct worker *worker) {
  (void)worker;
  struct letter *letter = (struct letter *)job;
  mutex_lock(&order.lock);
  CHECK(order.count < sizeof order.letters - 1);
  order.letters[order.count++] = letter->letter;
  order.letters[order.count] = 0;
  mutex_unlock(&order.lock);
  free(letter);
}

static void put(struct work *work, enum job_place place, char letter) {
  struct letter *job = malloc(sizeof *job);
  CHECK(job);
  *job = (struct letter){.job.run = letter_run, .letter = letter};
  group_run(&work->group, place, &job->job);
}

// Keeps the only worker busy until everything is in the lanes.
static struct gate stopped, go;

static void stop_run(struct job *job, struct worker *worker) {
  (void)job;
  (void)worker;
  gate_step(&stopped);
  gate_wait(&go);
}

static void stop(struct work *work, struct job *job) {
  gate_begin(&stopped, 1);
  gate_begin(&go, 1);
  *job = (struct job){.run = stop_run};
  order.count = 0;
  group_run(&work->group, JOB_LEAF, job);
  gate_wait(&stopped);
}

static void let_go(void) { gate_step(&go); }

static void ordered(const char *letters) {
  if (strcmp(order.letters, letters) != 0)
    fprintf(stderr, "%s instead of %s\n", order.letters, letters);
  CHECK(strcmp(order.letters, letters) == 0);
  gate_end(&stopped);
  gate_end(&go);
}

static void leaves_first_and_newest_first(void) {
  begin(1, 0, 1);
  struct work work;
  struct job job;
  work_begin(&work, 1, 0);
  stop(&work, &job);
  put(&work, JOB_LATER, 'z');
  put(&work, JOB_BRANCH, 'C');
  put(&work, JOB_LATER, 'y');
  put(&work, JOB_BRANCH, 'B');
  put(&work, JOB_COMPUTE, 'D');  // no CPU workers: last on the I/O worker
  put(&work, JOB_LEAF, 'b');
  put(&work, JOB_LEAF, 'a');
  CHECK(group_pending(&work.group) == 8);
  let_go();
  work_wait(&work);
  ordered("abBCDyz");
  end();
}

// While the only worker is busy with a job of `work`.
static void a_branch_goes_on_unless_others_wait(void) {
  begin(1, 0, 1);
  struct work work, other;
  struct job job;
  work_begin(&work, 1, 0);
  work_begin(&other, 1, 0);
  stop(&work, &job);
  CHECK(group_turn(&work.group) == BRANCH_SHARE);
  put(&work, JOB_BRANCH, 'b');
  CHECK(group_turn(&work.group) == BRANCH_GO_ON);
  group_park(&work.group);
  CHECK(group_turn(&work.group) == BRANCH_END);
  group_unpark(&work.group);
  CHECK(group_turn(&work.group) == BRANCH_GO_ON);
  put(&other, JOB_BRANCH, 'o');
  CHECK(group_turn(&work.group) == BRANCH_END);
  let_go();
  work_wait(&work);
  work_wait(&other);
  gate_end(&stopped);
  gate_end(&go);
  work_begin(&work, 1, 0);
  stop(&work, &job);
  put(&work, JOB_LEAF, 'l');
  CHECK(group_turn(&work.group) == BRANCH_END);
  let_go();
  work_wait(&work);
  gate_end(&stopped);
  gate_end(&go);
  end();
}

static void groups_take_turns(void) {
  begin(1, 1, 1);
  struct work gate, left, right;
  struct job job;
  work_begin(&gate, 1, 0);
  work_begin(&left, 1, 0);
  work_begin(&right, 1, 0);
  stop(&gate, &job);
  for (int i = 0; i < 4; i++) put(&left, JOB_LEAF, 'l');
  for (int i = 0; i < 2; i++) put(&right, JOB_LEAF, 'r');
  let_go();
  work_wait(&gate);
  work_wait(&left);
  work_wait(&right);
  ordered("lrlrll");
  end();
}

static void priorities(const char *expected, int high, int normal, int low) {
  begin(1, 1, 1);
  struct work gate, works[3];
  struct job job;
  work_begin(&gate, 1, 0);
  const int counts[3] = {high, normal, low};
  stop(&gate, &job);
  for (int priority = 2; priority >= 0; priority--) {
    work_begin(&works[priority], (uint8_t)priority, 0);
    for (int i = 0; i < counts[priority]; i++) put(&works[priority], JOB_LEAF, "hnl"[priority]);
  }
  let_go();
  work_wait(&gate);
  for (int priority = 0; priority < 3; priority++)
    if (counts[priority]) work_wait(&works[priority]);
  ordered(expected);
  end();
}

// Stopping took the first of eight.
static void every_eighth_job_is_from_a_lower_lane(void) {
  priorities("hhhhhhlhhhhhhhlhhllll", 15, 0, 6);
  priorities("nnnnnnlnnnnnnnlnnllll", 0, 15, 6);
  priorities("hhhhhhlhhhhhhhnhhhhhhhlhnnlll", 21, 3, 5);
}

// One that is urgent does not wait for a thousand that are not, and they do not wait for ever.
static void high_overtakes_a_thousand_low_and_low_advances(void) {
  begin(1, 1, 1);
  struct work gate, low, high;
  struct job job;
  work_begin(&gate, 1, 0);
  stop(&gate, &job);
  work_begin(&low, 2, 0);
  for (int i = 0; i < 1000; i++) put(&low, JOB_LEAF, 'l');
  work_begin(&high, 0, 0);
  for (int i = 0; i < 80; i++) put(&high, JOB_LEAF, 'h');
  let_go();
  work_wait(&gate);
  work_wait(&high);
  work_wait(&low);
  CHECK(order.count == 1080 && order.letters[0] == 'h');
  int lows = 0, highs = 0;
  for (size_t i = 0; highs < 80; i++) *(order.letters[i] == 'h' ? &highs : &lows) += 1;
  CHECK(lows >= 10 && lows <= 12);  // each eighth
  gate_end(&stopped);
  gate_end(&go);
  end();
}

static void count_run(struct job *job, struct worker *worker) {
  struct work *work = work_of(job->group);
  CHECK(worker->pool == pool);
  uint32_t now = atomic_fetch_add(&work->now, 1) + 1, most = atomic_load(&work->most);
  while (now > most && !atomic_compare_exchange_weak(&work->most, &most, now)) {
  }
  if (work->linger) usleep(50);
  atomic_fetch_sub(&work->now, 1);
  atomic_fetch_add(&work->done, 1);
  free(job);
}

static struct job *count_job(void) {
  struct job *job = malloc(sizeof *job);
  CHECK(job);
  *job = (struct job){.run = count_run};
  return job;
}

// Splits itself in two until it is one.
struct split {
  struct job job;
  uint32_t count;
};

static void split_run(struct job *job, struct worker *worker) {
  (void)worker;
  struct split *split = (struct split *)job;
  struct group *group = job->group;
  while (split->count > 1) {
    struct split *half = malloc(sizeof *half);
    CHECK(half);
    *half = (struct split){.job.run = split_run, .count = split->count / 2};
    split->count -= half->count;
    group_run(group,
              half->count % 3 == 0   ? JOB_COMPUTE
              : half->count % 3 == 1 ? JOB_LEAF
                                     : JOB_BRANCH,
              &half->job);
  }
  atomic_fetch_add(&work_of(group)->done, 1);
  free(split);
}

static void every_job_runs_once(uint32_t io_workers, uint32_t cpu_workers, uint32_t running_max) {
  enum { WORKS = 8 };
  const uint32_t jobs = 20'000 / SHRINK;
  begin(io_workers, cpu_workers, 2);
  static struct work works[WORKS];
  for (int i = 0; i < WORKS; i++) {
    work_begin(&works[i], (uint8_t)(i % 3), running_max);
    struct split *split = malloc(sizeof *split);
    CHECK(split);
    *split = (struct split){.job.run = split_run, .count = jobs};
    group_run(&works[i].group, JOB_BRANCH, &split->job);
  }
  for (int i = 0; i < WORKS; i++) {
    work_wait(&works[i]);
    CHECK(atomic_load(&works[i].done) == jobs);
  }
  uint32_t io, cpu;
  uint64_t steps;
  pool_counts(pool, &io, &cpu, &steps);
  CHECK(steps == WORKS * (uint64_t)jobs);
  CHECK(io <= io_workers && cpu <= cpu_workers);
  end();
}

static void no_more_at_once_than_allowed(void) {
  begin(8, 4, 8);
  struct work work;
  work_begin(&work, 1, 3);
  work.linger = true;
  group_hold(&work.group);
  for (int i = 0; i < 1000; i++)
    group_run(&work.group, i % 2 ? JOB_LEAF : JOB_COMPUTE, count_job());
  group_let_go(&work.group);
  work_wait(&work);
  CHECK(atomic_load(&work.done) == 1000);
  CHECK(atomic_load(&work.most) == 3);
  end();
}

// With one job at once a job leaves work for the other kind of worker, who is asleep or not there
// yet.
static void hand_run(struct job *job, struct worker *worker) {
  struct work *work = work_of(job->group);
  if (atomic_fetch_add(&work->done, 1) < 2000 / SHRINK)
    group_run(job->group, worker->cpu ? JOB_LEAF : JOB_COMPUTE, job);
}

static void one_at_once_on_both_kinds(void) {
  begin(4, 2, 2);
  struct work work;
  work_begin(&work, 1, 1);
  struct job job = {.run = hand_run};
  group_run(&work.group, JOB_LEAF, &job);
  work_wait(&work);
  end();
}

static void a_parked_group_gives_no_jobs(void) {
  begin(2, 1, 2);
  struct work parked, other;
  work_begin(&parked, 0, 0);
  group_hold(&parked.group);
  group_park(&parked.group);
  for (int i = 0; i < 100; i++)
    group_run(&parked.group, i % 2 ? JOB_LEAF : JOB_COMPUTE, count_job());
  work_begin(&other, 1, 0);
  for (int i = 0; i < 100; i++) group_run(&other.group, JOB_LEAF, count_job());
  work_wait(&other);
  CHECK(atomic_load(&parked.done) == 0);
  group_unpark(&parked.group);
  pool_wake(pool);
  group_let_go(&parked.group);
  work_wait(&parked);
  CHECK(atomic_load(&parked.done) == 100);
  end();
}

// A hold keeps a group; who lets go of the last one leads to `then`, on a worker.
static void holds(void) {
  begin(2, 1, 2);
  for (int round = 0; round < 500 / SHRINK; round++) {
    struct work work;
    work_begin(&work, 1, 0);
    group_hold(&work.group);
    if (round % 3) group_run(&work.group, JOB_LEAF, count_job());
    group_hold(&work.group);
    group_let_go(&work.group);
    CHECK(atomic_load(&work.thens) == 0);
    group_let_go(&work.group);
    work_wait(&work);
  }
  end();
}

// `then` adds jobs twice; the second lot may end before it returns.
static bool thrice(struct group *group, struct worker *worker) {
  struct work *work = work_of(group);
  CHECK(worker);
  int before = atomic_fetch_add(&work->thens, 1);
  CHECK(atomic_load(&work->done) == (uint32_t)before * 50 + 1);
  if (before < 2) {
    for (int i = 0; i < 50; i++) group_run(group, i % 2 ? JOB_LEAF : JOB_COMPUTE, count_job());
    return true;
  }
  atomic_store(&work->thens, 1);
  gate_step(&work->over);
  return false;
}

static void then_may_add_jobs(void) {
  begin(3, 2, 2);
  for (int round = 0; round < 500 / SHRINK; round++) {
    struct work work;
    work_begin(&work, 1, round % 2 ? 1 : 0);
    work.group.then = thrice;
    group_run(&work.group, JOB_LEAF, count_job());
    work_wait(&work);
  }
  end();
}

static void slab_run(struct job *job, struct worker *worker) {
  CHECK(worker_slabs(worker));
  for (int i = 0; i < 2; i++) {
    CHECK((uintptr_t)worker->slab[i] % 4096 == 0);
    memset(worker->slab[i], i, WORKER_SLAB);
  }
  uint8_t *scratch = worker_scratch(worker, 10);
  CHECK(scratch);
  memcpy(scratch, "kept", 5);
  scratch = worker_scratch(worker, 1 << 20);
  CHECK(scratch && memcmp(scratch, "kept", 5) == 0);
  CHECK(!worker_scratch(worker, SIZE_MAX));
  CHECK(worker_scratch(worker, 100) == scratch);
  count_run(job, worker);
}

static void workers_have_room_to_work(void) {
  begin(2, 1, 2);
  struct work work;
  work_begin(&work, 1, 0);
  group_hold(&work.group);
  for (int i = 0; i < 20; i++) {
    struct job *job = count_job();
    job->run = slab_run;
    group_run(&work.group, i % 2 ? JOB_LEAF : JOB_COMPUTE, job);
  }
  group_let_go(&work.group);
  work_wait(&work);
  end();
}

static void nothing_starts_before_work_and_nothing_is_left(void) {
  int before = count_threads();  // not the first threads of this program: a sanitizer has its own
  for (int round = 0; round < 30; round++) {
    begin(4, 4, 4);
    CHECK(threads_come_to(before));
    struct work work;
    work_begin(&work, 1, 0);
    group_hold(&work.group);
    for (int i = 0; i < 50; i++)
      group_run(&work.group, i % 2 ? JOB_LEAF : JOB_COMPUTE, count_job());
    group_let_go(&work.group);
    work_wait(&work);
    end();
    CHECK(threads_come_to(before));
  }
  pool_end(nullptr);
}

// Workers that wait leave the processors unused, so more of them are let in than there are cores.
static void wait_run(struct job *job, struct worker *worker) {
  (void)worker;
  free(job);
  gate_step(&stopped);
  gate_wait(&go);
}

static void waiting_workers_make_room_for_more(void) {
  enum { WORKERS = 16 };
  begin(WORKERS, 1, 2);
  struct work work;
  work_begin(&work, 1, 0);
  gate_begin(&stopped, WORKERS);
  gate_begin(&go, 1);
  group_hold(&work.group);
  for (int i = 0; i < WORKERS; i++) {
    struct job *job = count_job();
    job->run = wait_run;
    group_run(&work.group, JOB_LEAF, job);
  }
  gate_wait(&stopped);  // all of them wait at once, or we do for ever
  gate_step(&go);
  group_let_go(&work.group);
  work_wait(&work);
  gate_end(&stopped);
  gate_end(&go);
  end();
}

static void the_width_follows_the_processors(void) {
  CHECK(pool_width_next(2, 2, 32, 0, 1000) == 4);       // nobody computes
  CHECK(pool_width_next(16, 2, 32, 1399, 1000) == 32);  // just under 70 %
  CHECK(pool_width_next(24, 2, 32, 100, 1000) == 32);
  CHECK(pool_width_next(32, 2, 32, 0, 1000) == 32);
  CHECK(pool_width_next(2, 2, 3, 0, 1000) == 3);
  CHECK(pool_width_next(1, 2, 1, 0, 1000) == 1);
  CHECK(pool_width_next(8, 2, 32, 1400, 1000) == 8);
  CHECK(pool_width_next(8, 2, 32, 1900, 1000) == 8);
  CHECK(pool_width_next(8, 2, 32, 1901, 1000) == 7);  // above 95 %
  CHECK(pool_width_next(2, 2, 32, 2000, 1000) == 2);
  CHECK(pool_width_next(1, 2, 32, 2000, 1000) == 1);
  CHECK(pool_width_next(4, 2, 32, 5000, 0) == 4);  // no time went by
  CHECK(pool_width_while_ns() >= 4'000'000);
  CHECK(pool_width_cpu_now() > 0);
}

#ifndef SANITIZED
#include <dlfcn.h>
#include <errno.h>

// Stands before the system's, so that threads can be refused.
static _Atomic int allowed = -1;  // threads that may still be made; -1: all

int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attributes,
                   void *(*run)(void *), void *restrict argument) {
  static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
  int left = atomic_load(&allowed);
  if (left == 0) return EAGAIN;
  if (left > 0) atomic_store(&allowed, left - 1);
  return real(thread, attributes, run, argument);
}

static void without_threads_the_caller_works(int threads) {
  atomic_store(&allowed, threads);
  begin(4, 2, 2);
  struct work work;
  work_begin(&work, 1, 1);
  struct split *split = malloc(sizeof *split);
  CHECK(split);
  *split = (struct split){.job.run = split_run, .count = 1000};
  group_run(&work.group, JOB_COMPUTE, &split->job);
  work_wait(&work);
  CHECK(atomic_load(&work.done) == 1000);
  struct work parked;
  work_begin(&parked, 1, 0);
  parked.group.then = thrice;
  group_park(&parked.group);
  group_run(&parked.group, JOB_LEAF, count_job());
  group_unpark(&parked.group);
  pool_wake(pool);
  work_wait(&parked);
  struct work held;
  work_begin(&held, 1, 0);
  group_hold(&held.group);
  group_let_go(&held.group);
  work_wait(&held);
  end();
  atomic_store(&allowed, -1);
}
#endif

// A job that waits for another machine, until the job after it ran.
static struct gate another_ran;

static void aside_run(struct job *job, struct worker *worker) {
  (void)job;
  (void)worker;
  bool aside = pool_step_aside();
  CHECK(aside);
  gate_wait(&another_ran);
  pool_step_back();
}

static void another_run(struct job *job, struct worker *worker) {
  (void)job;
  (void)worker;
  gate_step(&another_ran);
}

static void who_stands_aside_lets_another_work(void) {
  begin(1, 0, 1);
  gate_begin(&another_ran, 1);
  struct work work;
  struct job waits[2] = {{.run = aside_run}, {.run = aside_run}}, other = {.run = another_run};
  work_begin(&work, 1, 0);
  group_hold(&work.group);
  for (int i = 0; i < 2; i++) group_run(&work.group, JOB_LEAF, &waits[i]);
  group_run(&work.group, JOB_BRANCH, &other);  // after the leaves
  group_let_go(&work.group);
  work_wait(&work);
  gate_end(&another_ran);
  CHECK(!pool_step_aside());  // this thread is no worker
  end();
}

int main(void) {
  the_width_follows_the_processors();
  leaves_first_and_newest_first();
  a_branch_goes_on_unless_others_wait();
  groups_take_turns();
  every_eighth_job_is_from_a_lower_lane();
  high_overtakes_a_thousand_low_and_low_advances();
  every_job_runs_once(1, 0, 0);
  every_job_runs_once(1, 1, 1);
  every_job_runs_once(2, 2, 0);
  every_job_runs_once(8, 3, 5);
  no_more_at_once_than_allowed();
  one_at_once_on_both_kinds();
  a_parked_group_gives_no_jobs();
  holds();
  then_may_add_jobs();
  workers_have_room_to_work();
  who_stands_aside_lets_another_work();
  waiting_workers_make_room_for_more();
  nothing_starts_before_work_and_nothing_is_left();
#ifndef SANITIZED
  for (int threads = 0; threads < 4; threads++) without_threads_the_caller_works(threads);
#endif
}
