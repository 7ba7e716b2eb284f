// run: the one driver of every verb.
//
//   open stores -> begin -> visit("") -> for each directory: list both sides, filter, sort, merge
//   into pairs, plan each -> leaf steps in batches of BATCH_STEPS -> ... -> end -> finish stores ->
//   DONE
//
// A task's jobs are all in its group; the group's last job leads to `end`, so nobody waits for
// anybody.
#pragma once
#include "base/hash.h"
#include "verb/verb.h"

struct cache;

constexpr size_t BATCH_STEPS = 64;

enum run_side : uint8_t { LEFT = 0, RIGHT = 1 };

// What follows the last job of a verb.
enum ending_stage : uint8_t { ENDING_NONE, ENDING_VERB, ENDING_ASKED, ENDING_FINISHED };
struct ending {
  struct job job;
  enum ending_stage stage;
  uint8_t side;  // whose store is finished next
  bool expects;
};

struct run {
  struct task *task;
  const struct verb *verb;
  struct store store[2];
  uint32_t sides;
  struct filter *filter;
  bool ignores;          // there are names of ignore files in the request
  bool one_file_system;  // directories of another device than their root are not entered
  bool keeps_entries;    // the verb needs those of a directory until nothing below it is pending
  bool only_names;       // of a list: what is no directory is told by its name and type
  bool stop_on_error;    // an error row fails the task instead
  uint64_t device[2];    // of the roots
  struct walk walk;
  struct arena arena;  // as long as the run; only begin, once and end take from it
  span path;           // KEY_PATH: where in the left store the task begins; often empty
  enum job_place
      batch_place;  // JOB_LEAF, or JOB_COMPUTE for a verb whose steps compute more than they wait
  bool same_root;   // both roots are one directory: every pair is the same entry
  _Atomic bool stopped;  // the verb has seen enough (stopAtFirst)
  _Atomic bool unseen;   // something of a tree was not looked at
  struct job open;       // the first job
  struct cache *cache;   // of hashes; nullptr: none was asked for
  struct ending ending;  // run_end.c's own
  struct taken *taken;   // run_names.c's own
  void *state;
};

// run_end.c: when no job is left. True: there are jobs again, and it is to be called again.
bool run_end(struct run *run, struct worker *worker, bool is_only_said);
// Bytes that were pushed: *code is what became of them. False: nothing was asked that they could
// answer.
bool run_hear(struct run *run, span bytes, int32_t *code, struct fault *fault);

// Called by abi.c: fills the task's hooks and starts its first job. A negative code: nothing was
// started.
int32_t run_start(struct task *task, const struct verb *verb, struct fault *fault);

// Between chunks and entries: true when the task was cancelled or the verb has seen enough.
static inline bool run_over(const struct run *run) {
  return task_cancelled(run->task) || atomic_load_explicit(&run->stopped, memory_order_relaxed);
}
// Sees enough: the rest is skipped, the result is marked incomplete. True for the first caller
// only.
bool run_stop(struct run *run);
// Adds a job to the run; `place` as in engine/pool.h.
static inline void run_add(struct run *run, enum job_place place, struct job *job) {
  group_run(&run->task->group, place, job);
}
// A hint: somebody would begin such a job at once.
static inline bool run_is_idle(const struct run *run, enum job_place place) {
  return pool_is_idle(run->task->group.pool, place);
}

// The task fails.
void run_out_of_memory(struct run *run);

// The name of a file in a directory of the right side, for this task alone of those of one batch.
// EXISTS: another has it.
int32_t run_take_name(struct run *run, uint64_t batch, const struct entry *directory, span name,
                      struct fault *fault);
// Before DONE: a task whose file did not come gives the name back to the others.
void run_end_name(struct run *run);

// run_roots.c: opens the roots, of which *side is the one whose fault it is. The caller leaves
// those of `directory` that are there, also after a failure.
int32_t run_open_roots(struct run *run, uint8_t *side, struct entry entry[2],
                       struct directory *directory[2], struct fault *fault);
// The path of the left root as it is known, for the name that it has.
int32_t run_where(struct run *run, span *out, struct fault *fault);

// Both are known to be one and the same file or directory.
bool run_is_same(const struct run *run, const struct entry *left, const struct entry *right);

// For a verb's own jobs: where they are. Between the two the node is kept by the caller.
struct spot run_spot(struct run *run, struct node *node, struct worker *worker,
                     struct arena *arena);
void run_spot_end(struct spot *spot);
span spot_path(
    struct spot *spot);  // the directory's path; {nullptr, 0} and a failed task when memory ran out
// The path of that name in it, in its arena (empty: its own); {nullptr, 0}: out of memory.
span spot_path_of(struct spot *spot, span name);
// A SUMMARY row of the whole task with these details.
void run_summary(struct task *task, span details);
void spot_emit(struct spot *spot, const copse_row *row, span name, span detail);
void spot_error(struct spot *spot, const struct fault *fault, span name);  // of spot->side
// What is known of an entry of one side, as a row (ENTRY, ONLY_LEFT, ONLY_RIGHT).
copse_row run_row_of(uint8_t kind, const struct entry *entry);
// A row about an entry of one side (ENTRY, ONLY_LEFT, ONLY_RIGHT): stats it and reads a link's
// target first.
int32_t spot_report(struct spot *spot, uint8_t kind, struct entry *entry, uint8_t side,
                    struct fault *fault);
// The same about an entry of the left side, with more details.
int32_t spot_report_with(struct spot *spot, struct entry *entry, span details, struct fault *fault);
// The same about a file of the left side, with the hash of its content.
int32_t spot_report_hash(struct spot *spot, struct entry *entry, const uint8_t hash[HASH_BYTES],
                         struct fault *fault);
// Before the steps of a batch are done, all of them: what makes reading them cheaper. Content from
// afar is asked for; small files of this machine are read together where the io table can, and
// those found equal are marked (step->same).
void run_ahead(struct spot *spot, struct step *steps, size_t count);
// The digest of one file's whole content. `algorithm`: enum copse_algorithm.
int32_t spot_digest(struct spot *spot, uint8_t side, const struct entry *entry, uint32_t algorithm,
                    uint8_t out[HASH_BYTES], struct fault *fault);
// The same for an open reader at its beginning, which it ends.
int32_t spot_digest_open(struct spot *spot, uint8_t side, const struct entry *entry,
                         struct reader *reader, uint32_t algorithm, uint8_t out[HASH_BYTES],
                         struct fault *fault);

// Fills the buffer unless the content ends. A read that stops short where the size says that there
// is more has not met the end: a page that cannot be read cuts the call that comes to it, and only
// the next one fails. `expected`: as far as an end is not believed before a read of nothing; zero
// where no size is known, or too costly to ask for.
int64_t run_read_full(struct reader *reader, uint64_t at, uint8_t *into, size_t size,
                      uint64_t expected, struct fault *fault);
// The file that was read is still the one that the name means. CHANGED otherwise.
int32_t run_still_there(struct directory *directory, const struct entry *read,
                        const struct entry *named, struct fault *fault);
