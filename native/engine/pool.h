// pool: the threads of a runtime and the jobs they do. Two kinds of worker share one lock and one
// set of groups: I/O workers (many, they wait) and CPU workers (one a core, they compute).
//
// A group holds the jobs of one task. Rules:
//   - A job never waits for a job and never for JavaScript. "When all are done" is the group's
//   `then`, called
//     on a worker when the last job ended; it may add jobs, and is called again when those ended.
//   - Within a group, leaves run before branches, and newest before oldest in each, which bounds
//   what is in
//     flight: a directory's files are read before the next directory is entered.
//   - What comes later waits until no leaf and no branch is left, newest first as well.
//   - Branches wait while many of the group's jobs wait for a CPU worker: they would only bring
//   more.
//   - Groups take turns, job by job, so that a large task does not starve a small one. Three
//   priorities; every
//     eighth job comes from a lower lane.
//   - A parked group gives no jobs until it is unparked; what runs goes on to its end.
//   - Threads start when there is work and nobody idle, and end after IDLE seconds without work, so
//     that a runtime nobody uses costs no thread.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdatomic.h>
#include "engine/thread.h"

enum job_place : uint8_t {
  JOB_LEAF = 0,     // I/O pool, first
  JOB_BRANCH = 1,   // I/O pool, when no leaf is left
  JOB_COMPUTE = 2,  // CPU pool
  JOB_LATER = 3,    // I/O pool, when neither is left
  JOB_PLACES = 4,
};

struct pool;
struct group;
struct io_ring;
struct worker;

struct job {
  struct job *next;
  void (*run)(struct job *job,
              struct worker *worker);  // owns the job: frees it or lets its owner do so
  struct group *group;                 // set by group_run
};

// What a job may use while it runs. Slabs belong to the worker and are charged to the memory
// budget; a job must leave nothing in them.
struct worker {
  struct pool *pool;
  uint32_t index;
  bool cpu;
  uint8_t *slab[2];  // WORKER_SLAB bytes each, page-aligned; nullptr until worker_slabs made them
  uint8_t *scratch;  // grows by worker_scratch, for paths
  size_t scratch_size;
  struct io_ring *ring;  // the io table's
  bool ringless;         // it could not be had: not asked for again
};
constexpr size_t WORKER_SLAB = 256 * 1024;

// Both slabs are there after true. False: out of memory.
[[nodiscard]] bool worker_slabs(struct worker *worker);
// At least `size` bytes whose content survives growing. nullptr: out of memory.
[[nodiscard]] uint8_t *worker_scratch(struct worker *worker, size_t size);

struct group {
  struct pool *pool;
  struct job *jobs[JOB_PLACES];          // newest first; guarded by the pool's lock, as all below
  _Atomic uint32_t waiting[JOB_PLACES];  // how many of them; group_turn looks without the lock
  struct group *next_ready[2], *previous_ready[2];  // its place in the lane of each kind of worker
  bool ready[2];
  _Atomic bool parked;            // likewise
  uint8_t priority;               // 0 high, 1 normal, 2 low
  uint32_t running, running_max;  // of both kinds; max 0: no cap
  uint64_t pending;               // jobs submitted and not ended, plus holds
  struct job rest;                // leads to `then` when the last hold goes and no job is left
  // True: jobs were added (perhaps they ended already), call again when none is left. False: the
  // group is over, and perhaps freed.
  bool (*then)(struct group *group, struct worker *worker);
};

struct pool_options {
  uint32_t io_workers, cpu_workers;  // at most; without CPU workers the I/O workers compute
  uint32_t cores;
  uint32_t aside;  // workers of a kind that may stand aside at once
  // Optional. A worker found nothing to do and is about to wait; called without the pool's lock.
  void (*out_of_work)(void *owner);
  void *owner;
};

struct buffers;
struct timers;
int32_t pool_begin(struct pool **out, const struct pool_options *options, struct buffers *buffers,
                   struct timers *timers);
// Waits until every worker is gone. No group may have jobs left. Null is fine.
void pool_end(struct pool *pool);
void pool_counts(struct pool *pool, uint32_t *io_workers, uint32_t *cpu_workers, uint64_t *steps);
// Called by a worker in the midst of a job that waits for another machine: until it steps back,
// another one may work in its place, beyond the most there are. So servers that are slow do not
// keep local work waiting. False: it is no worker, or as many stand aside as may, and then it does
// not step back.
[[nodiscard]] bool pool_step_aside(void);
void pool_step_back(void);
// A hint: some worker for jobs of that place has nothing to do, or could be started.
bool pool_is_idle(struct pool *pool, enum job_place place);
// Whether a job for an I/O worker waits now: a glance, without the lock.
bool pool_has_waiting(const struct pool *pool);

// `then` runs when pending falls to zero, which cannot happen before the first group_run.
void group_begin(struct group *group, struct pool *pool, uint8_t priority, uint32_t running_max,
                 bool (*then)(struct group *, struct worker *));
// Where no thread can be started the caller does the jobs itself before it returns, so it holds no
// lock that a job or `then` takes. The same goes for group_let_go and pool_wake.
void group_run(struct group *group, enum job_place place, struct job *job);
// A group with a hold is not over when it has no jobs: something outside will add one, or let go.
// Any thread may do both; taking one needs a job or another hold that is still there, or certainty
// that `then` did not return false.
void group_let_go(struct group *group);
void group_hold(struct group *group);
// Jobs that wait or run now, and holds.
uint64_t group_pending(struct group *group);
// For a branch that could go on with the next one by itself, which spares two trips through the
// pool's lock: a glance at what its group and the others wait for.
enum branch_turn : uint8_t {
  BRANCH_GO_ON,
  BRANCH_SHARE,  // no branch of the group waits: another worker could take one
  BRANCH_END,    // others come first: hand back what is left
};
enum branch_turn group_turn(const struct group *group);
// Both only note it, so that the caller can do so under the lock that decides. After unparking, and
// without that lock, comes pool_wake.
void group_park(struct group *group);
void group_unpark(struct group *group);
void pool_wake(struct pool *pool);
