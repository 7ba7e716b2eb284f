#include "engine/pool.h"

#include <stdlib.h>

#include "base/fault.h"
#include "engine/buffer.h"
#include "engine/io.h"
#include "engine/pool_width.h"
#include "engine/timer.h"

constexpr uint64_t IDLE_NS = 5'000'000'000;  // a thread without work ends after this long
constexpr uint32_t LOWER_EVERY = 8;          // each eighth job comes from a lower lane
// Jobs for CPU workers that wait before no more branches are taken. What waits holds on to
// listings: without a bound a walk lists a whole tree before the first file of it is hashed.
constexpr uint32_t COMPUTING_MAX = 32;
// A worker that runs out of work looks around this long before it sleeps. Waking a sleeping thread
// costs both sides more than most jobs take; tasks that follow each other closely find it awake.
// One worker of a kind at a time.
constexpr uint64_t WATCH_NS = 50'000;

enum kind : uint8_t { KIND_IO, KIND_CPU, KINDS };
constexpr size_t LANES = 3;

struct workers {  // of one kind; guarded by the pool's lock
  struct group *first[LANES], *last[LANES];
  condition wanted;
  uint32_t most, width;  // threads at most; how many may be busy at once
  uint32_t threads, busy, idle;
  uint32_t aside, aside_most;  // busy ones that count as none, because they wait for a server
  uint32_t woken, starting;    // idle ones that were signalled, new ones that did not look yet
  uint32_t taken;              // jobs, for LOWER_EVERY
  bool watched;                // one idle worker looks at `ready` before it sleeps
  _Atomic uint32_t ready;      // groups in the lanes; written under the lock
};

struct pool {
  mutex lock;  // guards all below
  struct workers kinds[KINDS];
  condition gone;       // a worker ended
  struct thread ended;  // the one that ended last; it joined the one before
  uint32_t cores, starts;
  uint64_t steps;
  void (*out_of_work)(void *owner);  // set once
  void *owner;
  bool closing;
  bool inline_running;  // no thread could be started: a caller does the jobs
  struct buffers *buffers;
  struct timers *timers;
  struct timer tick;
  bool ticking;
  uint64_t tick_ns, tick_cpu_ns, tick_wall_ns;
};

struct pool_thread {
  struct worker worker;
  enum kind kind;
};

// The worker that this thread is. A wait for a server is deep in a store, which knows no worker.
static thread_local struct pool_thread *own_thread;

// What a worker has

bool worker_slabs(struct worker *worker) {
  for (int i = 0; i < 2; i++) {
    if (worker->slab[i]) continue;
    worker->slab[i] = buffer_take(worker->pool->buffers, WORKER_SLAB, false);
    if (!worker->slab[i]) return false;
  }
  return true;
}

uint8_t *worker_scratch(struct worker *worker, size_t size) {
  if (size <= worker->scratch_size) return worker->scratch;
  if (size > PTRDIFF_MAX / 2) return nullptr;
  size_t more = worker->scratch_size ? worker->scratch_size : 4096;
  while (more < size) more *= 2;
  uint8_t *scratch = realloc(worker->scratch, more);
  if (!scratch) return nullptr;
  worker->scratch = scratch;
  worker->scratch_size = more;
  return scratch;
}

static void worker_end(struct worker *worker) {
  for (int i = 0; i < 2; i++) buffer_give(worker->pool->buffers, worker->slab[i], WORKER_SLAB);
  free(worker->scratch);
  io_ring_end(worker->ring);
}

// Lanes; the lock is held

static enum kind kind_of(const struct pool *pool, enum job_place place) {
  return place == JOB_COMPUTE && pool->kinds[KIND_CPU].most > 0 ? KIND_CPU : KIND_IO;
}

static uint32_t waiting_for(const struct group *group, enum job_place place) {
  return atomic_load_explicit(&group->waiting[place], memory_order_relaxed);
}

static bool is_parked(const struct group *group) {
  return atomic_load_explicit(&group->parked, memory_order_relaxed);
}

static struct job **next_job(struct pool *pool, struct group *group, enum kind kind) {
  for (int place = 0; place < JOB_PLACES; place++) {
    if (place == JOB_BRANCH && waiting_for(group, JOB_COMPUTE) >= COMPUTING_MAX) continue;
    if (group->jobs[place] && kind_of(pool, (enum job_place)place) == kind)
      return &group->jobs[place];
  }
  return nullptr;
}

static void lane_remove(struct workers *workers, struct group *group, enum kind kind) {
  struct group *previous = group->previous_ready[kind], *next = group->next_ready[kind];
  *(previous ? &previous->next_ready[kind] : &workers->first[group->priority]) = next;
  *(next ? &next->previous_ready[kind] : &workers->last[group->priority]) = previous;
  group->next_ready[kind] = group->previous_ready[kind] = nullptr;
  group->ready[kind] = false;
  atomic_fetch_sub_explicit(&workers->ready, 1, memory_order_relaxed);
}

static void lane_append(struct workers *workers, struct group *group, enum kind kind) {
  struct group *last = workers->last[group->priority];
  group->previous_ready[kind] = last;
  group->next_ready[kind] = nullptr;
  *(last ? &last->next_ready[kind] : &workers->first[group->priority]) = group;
  workers->last[group->priority] = group;
  group->ready[kind] = true;
  atomic_fetch_add_explicit(&workers->ready, 1, memory_order_relaxed);
}

// Puts the group into the lanes it belongs to now.
static void lanes_refresh(struct pool *pool, struct group *group) {
  bool may = !is_parked(group) && (group->running_max == 0 || group->running < group->running_max);
  for (int kind = 0; kind < KINDS; kind++) {
    bool wanted = may && next_job(pool, group, (enum kind)kind);
    if (wanted && !group->ready[kind])
      lane_append(&pool->kinds[kind], group, (enum kind)kind);
    else if (!wanted && group->ready[kind])
      lane_remove(&pool->kinds[kind], group, (enum kind)kind);
  }
}

static bool has_work(const struct workers *workers) {
  return workers->first[0] || workers->first[1] || workers->first[2];
}

// The first group of the best lane, every eighth time of a lane below it; where both have work they
// take turns.
static struct group *pick(struct workers *workers) {
  size_t best = 0;
  while (best < LANES && !workers->first[best]) best++;
  if (best == LANES) return nullptr;
  if (++workers->taken % LOWER_EVERY == 0) {
    size_t turn = workers->taken / LOWER_EVERY % 2, below[2] = {best + 1 + turn, best + 2 - turn};
    for (size_t i = 0; i < 2; i++)
      if (below[i] < LANES && workers->first[below[i]]) return workers->first[below[i]];
  }
  return workers->first[best];
}

// Threads

static void work(struct pool *pool, struct pool_thread *thread, bool until_empty);

static void thread_run(void *argument) {
  struct pool_thread *thread = argument;
  struct pool *pool = thread->worker.pool;
  own_thread = thread;
  mutex_lock(&pool->lock);
  work(pool, thread, false);
  pool->kinds[thread->kind].threads--;
  worker_end(&thread->worker);
  free(thread);
  // Each joins the one that ended before it, so that whoever joins the last one waited for all.
  struct thread before = pool->ended;
  pool->ended = thread_self();
  condition_all(&pool->gone);
  mutex_unlock(&pool->lock);
  thread_join(&before);
}

static bool start_thread(struct pool *pool, enum kind kind) {
  struct workers *workers = &pool->kinds[kind];
  struct pool_thread *thread = malloc(sizeof *thread);
  if (!thread) return false;
  *thread = (struct pool_thread){
      .kind = kind, .worker = {.pool = pool, .index = pool->starts, .cpu = kind == KIND_CPU}};
  workers->threads++;
  workers->starting++;
  pool->starts++;
  if (thread_start(kind == KIND_CPU ? "copse-cpu" : "copse-io", thread_run, thread)) return true;
  workers->threads--;
  workers->starting--;
  free(thread);
  return false;
}

static void tick_start(struct pool *pool);

// Somebody should look: wakes or starts one worker if one more may be busy. False: there is nobody
// at all.
static bool wake_one(struct pool *pool, enum kind kind) {
  struct workers *workers = &pool->kinds[kind];
  if (!has_work(workers)) return true;
  // Who looks around is about to take it, and asks here again for what is left. To wake another one
  // for the same job costs a call, and two that want the lock and the processor at once.
  if (workers->watched) return true;
  if (workers->busy + workers->woken + workers->starting >= workers->width) {
    if (kind == KIND_IO && workers->width < workers->most) tick_start(pool);
    return true;
  }
  if (workers->idle > workers->woken) {
    workers->woken++;
    condition_one(&workers->wanted);
    return true;
  }
  if (workers->threads < workers->most + workers->aside && start_thread(pool, kind)) return true;
  if (workers->threads > 0) return true;
  if (kind == KIND_IO) return false;
  // Not one CPU worker can be had: from now on the I/O workers compute.
  workers->most = 0;
  for (size_t lane = 0; lane < LANES; lane++)
    while (workers->first[lane]) lanes_refresh(pool, workers->first[lane]);
  return wake_one(pool, KIND_IO);
}

bool pool_step_aside(void) {
  struct pool_thread *thread = own_thread;
  if (!thread) return false;
  struct pool *pool = thread->worker.pool;
  struct workers *workers = &pool->kinds[thread->kind];
  mutex_lock(&pool->lock);
  bool may = workers->aside < workers->aside_most;
  if (may) {
    workers->aside++;
    workers->busy--;
    wake_one(pool, thread->kind);
  }
  mutex_unlock(&pool->lock);
  return may;
}

void pool_step_back(void) {
  struct pool *pool = own_thread->worker.pool;
  struct workers *workers = &pool->kinds[own_thread->kind];
  mutex_lock(&pool->lock);
  workers->aside--;
  workers->busy++;  // above the width perhaps; then nobody begins anything before it is below
  mutex_unlock(&pool->lock);
}

static bool wake_somebody(struct pool *pool) {
  bool io = wake_one(pool, KIND_IO), cpu = wake_one(pool, KIND_CPU);
  return io && cpu;
}

static void work_inline(struct pool *pool);

static void run_job(struct pool *pool, struct group *group, struct worker *worker, enum kind kind) {
  struct workers *workers = &pool->kinds[kind];
  struct job **from = next_job(pool, group, kind);
  struct job *job = *from;
  *from = job->next;
  atomic_fetch_sub_explicit(&group->waiting[from - group->jobs], 1, memory_order_relaxed);
  group->running++;
  lane_remove(workers, group, kind);  // to the end of its lane, so that groups take turns
  lanes_refresh(pool, group);
  workers->busy++;
  wake_one(pool, kind);
  mutex_unlock(&pool->lock);
  job->next = nullptr;
  job->run(job, worker);
  mutex_lock(&pool->lock);
  pool->steps++;
  group->running--;
  if (--group->pending > 0) {
    lanes_refresh(pool, group);
  } else {
    // A hold, so that jobs which `then` adds and which end at once do not call it again under its
    // feet.
    bool again;
    do {
      group->pending = 1;
      mutex_unlock(&pool->lock);
      again = group->then(group, worker);
      mutex_lock(&pool->lock);
    } while (again && --group->pending == 0);
  }
  workers->busy--;
  // The group is below running_max again, perhaps with jobs only for the other kind.
  if (!wake_one(pool, kind == KIND_IO ? KIND_CPU : KIND_IO)) work_inline(pool);
}

// True when there may be work again. The lock is held, and let go of meanwhile.
static bool watch(struct pool *pool, struct workers *workers) {
  workers->watched = true;
  mutex_unlock(&pool->lock);
  uint64_t until = clock_now() + WATCH_NS;
  bool seen = false;
  for (uint32_t i = 0; !seen; i++) {
    for (int pause = 0; pause < 16 && !seen; pause++) {
      seen = atomic_load_explicit(&workers->ready, memory_order_relaxed) > 0;
      thread_pause();
    }
    if (clock_now() >= until) break;
    if (i % 4 == 3) thread_yield();  // whoever brings the work may be waiting for this processor
  }
  mutex_lock(&pool->lock);
  workers->watched = false;
  return has_work(workers);
}

static void work(struct pool *pool, struct pool_thread *thread, bool until_empty) {
  enum kind kind = thread->kind;
  struct workers *workers = &pool->kinds[kind];
  if (!until_empty) workers->starting--;
  uint64_t idle_since = 0;
  for (;;) {
    struct group *group = workers->busy < workers->width || until_empty ? pick(workers) : nullptr;
    if (group) {
      idle_since = 0;
      run_job(pool, group, &thread->worker, kind);
      continue;
    }
    if (until_empty || pool->closing) return;
    uint64_t now = clock_now();
    if (idle_since == 0 && pool->out_of_work) {
      mutex_unlock(&pool->lock);
      pool->out_of_work(pool->owner);
      mutex_lock(&pool->lock);
      if (has_work(workers) && workers->busy < workers->width) continue;
    }
    if (idle_since == 0) {
      idle_since = now;
      if (!workers->watched && watch(pool, workers)) continue;
      if (pool->closing) return;
    }
    if (now - idle_since >= IDLE_NS) return;
    workers->idle++;
    condition_wait_until(&workers->wanted, &pool->lock, idle_since + IDLE_NS);
    workers->idle--;
    if (workers->woken > 0) workers->woken--;
  }
}

// No thread can be had: the caller does what is ready itself. A system without threads is slow, not
// stuck.
static void work_inline(struct pool *pool) {
  if (pool->inline_running) return;
  pool->inline_running = true;
  struct pool_thread thread = {.worker.pool = pool, .kind = KIND_IO};
  while (pool->kinds[KIND_IO].threads == 0 && has_work(&pool->kinds[KIND_IO]))
    work(pool, &thread, true);
  worker_end(&thread.worker);
  pool->inline_running = false;
}

// Width

static void tick_start(struct pool *pool) {
  if (pool->ticking || pool->closing) return;
  pool->tick_cpu_ns = pool_width_cpu_now();
  pool->tick_wall_ns = clock_now();
  pool->ticking = timer_set(pool->timers, &pool->tick, pool->tick_wall_ns + pool->tick_ns);
}

static uint32_t width_least(const struct pool *pool) {
  uint32_t most = pool->kinds[KIND_IO].most;
  return pool->cores < most ? pool->cores : most;
}

static void tick_fire(struct timer *timer) {
  struct pool *pool = (struct pool *)(void *)((uint8_t *)timer - offsetof(struct pool, tick));
  mutex_lock(&pool->lock);
  struct workers *io = &pool->kinds[KIND_IO];
  uint64_t cpu_ns = pool_width_cpu_now() - pool->tick_cpu_ns,
           wall_ns = clock_now() - pool->tick_wall_ns;
  uint32_t before = io->width;
  pool->ticking = false;
  if (!has_work(io)) {
    io->width = width_least(pool);  // and no tick until workers are wanting again
  } else {
    if (io->busy >= io->width)
      io->width = pool_width_next(before, pool->cores, io->most, cpu_ns, wall_ns);
    tick_start(pool);
    for (uint32_t i = before; i < io->width; i++) wake_one(pool, KIND_IO);
  }
  mutex_unlock(&pool->lock);
}

// Beginning and end

int32_t pool_begin(struct pool **out, const struct pool_options *options, struct buffers *buffers,
                   struct timers *timers) {
  struct pool *pool = calloc(1, sizeof *pool);
  if (!pool) return COPSE_E_MEMORY;
  mutex_begin(&pool->lock);
  condition_begin(&pool->gone);
  uint32_t most[KINDS] = {options->io_workers, options->cpu_workers};
  for (int kind = 0; kind < KINDS; kind++) {
    condition_begin(&pool->kinds[kind].wanted);
    pool->kinds[kind].most = pool->kinds[kind].width = most[kind];
    pool->kinds[kind].aside_most = options->aside;
  }
  pool->cores = options->cores;
  pool->out_of_work = options->out_of_work;
  pool->owner = options->owner;
  pool->kinds[KIND_IO].width = width_least(pool);
  pool->buffers = buffers;
  pool->timers = timers;
  pool->tick.fire = tick_fire;
  pool->tick_ns = pool_width_while_ns();
  *out = pool;
  return 0;
}

void pool_end(struct pool *pool) {
  if (!pool) return;
  mutex_lock(&pool->lock);
  pool->closing = true;
  for (int kind = 0; kind < KINDS; kind++) condition_all(&pool->kinds[kind].wanted);
  while (pool->kinds[KIND_IO].threads + pool->kinds[KIND_CPU].threads > 0)
    condition_wait(&pool->gone, &pool->lock);
  mutex_unlock(&pool->lock);
  thread_join(&pool->ended);
  timer_clear(pool->timers, &pool->tick);
  for (int kind = 0; kind < KINDS; kind++) condition_end(&pool->kinds[kind].wanted);
  condition_end(&pool->gone);
  mutex_end(&pool->lock);
  free(pool);
}

void pool_counts(struct pool *pool, uint32_t *io_workers, uint32_t *cpu_workers, uint64_t *steps) {
  mutex_lock(&pool->lock);
  *io_workers = pool->kinds[KIND_IO].threads;
  *cpu_workers = pool->kinds[KIND_CPU].threads;
  *steps = pool->steps;
  mutex_unlock(&pool->lock);
}

void pool_wake(struct pool *pool) {
  mutex_lock(&pool->lock);
  if (!wake_somebody(pool)) work_inline(pool);
  mutex_unlock(&pool->lock);
}

bool pool_is_idle(struct pool *pool, enum job_place place) {
  mutex_lock(&pool->lock);
  const struct workers *workers = &pool->kinds[kind_of(pool, place)];
  uint32_t taken = workers->busy + workers->woken + workers->starting;
  bool idle = !has_work(workers) && taken < workers->width;
  mutex_unlock(&pool->lock);
  return idle;
}

bool pool_has_waiting(const struct pool *pool) {
  return atomic_load_explicit(&pool->kinds[KIND_IO].ready, memory_order_relaxed) > 0;
}

// Groups

static void rest_run(struct job *job, struct worker *worker) {
  (void)job;
  (void)worker;
}

void group_begin(struct group *group, struct pool *pool, uint8_t priority, uint32_t running_max,
                 bool (*then)(struct group *, struct worker *)) {
  *group = (struct group){.pool = pool,
                          .priority = priority,
                          .running_max = running_max,
                          .then = then,
                          .rest.run = rest_run};
}

// The lock is held.
static void add(struct group *group, enum job_place place, struct job *job) {
  job->group = group;
  job->next = group->jobs[place];
  group->jobs[place] = job;
  atomic_fetch_add_explicit(&group->waiting[place], 1, memory_order_relaxed);
  group->pending++;
  lanes_refresh(group->pool, group);
  if (!wake_one(group->pool, kind_of(group->pool, place))) work_inline(group->pool);
}

enum branch_turn group_turn(const struct group *group) {
  uint32_t ready = atomic_load_explicit(&group->pool->kinds[KIND_IO].ready, memory_order_relaxed);
  bool waits = waiting_for(group, JOB_BRANCH) > 0;
  if (is_parked(group) || waiting_for(group, JOB_LEAF) > 0 ||
      waiting_for(group, JOB_COMPUTE) >= COMPUTING_MAX || ready > waits)
    return BRANCH_END;
  return waits ? BRANCH_GO_ON : BRANCH_SHARE;
}

void group_run(struct group *group, enum job_place place, struct job *job) {
  struct pool *pool = group->pool;
  mutex_lock(&pool->lock);
  add(group, place, job);
  mutex_unlock(&pool->lock);
}

void group_hold(struct group *group) {
  mutex_lock(&group->pool->lock);
  group->pending++;
  mutex_unlock(&group->pool->lock);
}

uint64_t group_pending(struct group *group) {
  mutex_lock(&group->pool->lock);
  uint64_t pending = group->pending;
  mutex_unlock(&group->pool->lock);
  return pending;
}

void group_let_go(struct group *group) {
  struct pool *pool = group->pool;
  mutex_lock(&pool->lock);
  if (--group->pending == 0) add(group, JOB_LEAF, &group->rest);
  mutex_unlock(&pool->lock);
}

void group_park(struct group *group) {
  mutex_lock(&group->pool->lock);
  atomic_store_explicit(&group->parked, true, memory_order_relaxed);
  lanes_refresh(group->pool, group);
  mutex_unlock(&group->pool->lock);
}

void group_unpark(struct group *group) {
  mutex_lock(&group->pool->lock);
  atomic_store_explicit(&group->parked, false, memory_order_relaxed);
  lanes_refresh(group->pool, group);
  mutex_unlock(&group->pool->lock);
}
