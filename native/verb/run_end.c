// run_end: what is left when no job of a verb is: its own last steps, and those of the stores it
// wrote to. A store may have questions for the caller, and something to give: both go by pages that
// a job sends, so that a caller who takes his time holds two pages and no worker.
#include "base/record.h"
#include "engine/runtime.h"
#include "verb/run.h"

// The one that a verb writes to is its last.
static struct store *written(struct run *run) { return &run->store[run->sides - 1]; }

static void failed(struct run *run, const struct store *store, const struct fault *fault) {
  task_fail(run->task, fault, store->shown, (span){});
}

static void say_job(struct job *job, struct worker *) {
  struct run *run = (struct run *)((uint8_t *)job - offsetof(struct run, ending.job));
  struct store *store = written(run);
  if (run->ending.expects) task_expect(run->task);
  run->ending.expects = false;
  if (run_over(run)) return;
  struct fault fault = {};
  uint8_t *bytes;
  struct page *page = task_page_of_bytes(run->task, PAGE_BYTES, &bytes);
  if (!page) {
    fault_set(&fault, COPSE_E_MEMORY, "out of memory for a page of bytes");
    failed(run, store, &fault);
    return;
  }
  int64_t said = store->ops->talk->say(store, bytes, PAGE_BYTES, &fault);
  task_send_bytes(run->task, page, said > 0 ? (size_t)said : 0);
  if (said < 0)
    failed(run, store, &fault);
  else if (said > 0)
    run_add(run, JOB_LEAF, &run->ending.job);
}

// What a store says of what it made: a row of its own after the verb's summary.
static void tell_of(struct task *task, const struct store *store) {
  uint8_t bytes[512];
  struct record_writer writer = {bytes, sizeof bytes, 0};
  store->ops->report(store, &writer);
  if (writer.size) run_summary(task, (span){bytes, writer.size});
}

static bool say(struct run *run, bool expects) {
  run->ending.expects = expects;
  run->ending.job.run = say_job;
  run_add(run, JOB_LEAF, &run->ending.job);
  return true;
}

// True: one of them added jobs.
static bool finish_stores(struct run *run) {
  for (uint8_t *side = &run->ending.side; *side < run->sides; (*side)++) {
    struct store *store = &run->store[*side];
    struct fault fault = {};
    int32_t code = store->ops && store->ops->finish ? store->ops->finish(store, &fault) : 0;
    if (code > 0) return true;
    if (code < 0) failed(run, store, &fault);
  }
  return false;
}

bool run_end(struct run *run, struct worker *worker, bool is_only_said) {
  struct task *task = run->task;
  if (task_cancelled(task)) return false;
  struct ending *ending = &run->ending;
  if (ending->stage == ENDING_NONE) {
    if (run->verb->end && run->verb->end(run, worker)) return true;
    if (is_only_said) return false;
    ending->stage = ENDING_VERB;
  }
  struct store *store = written(run);
  const struct store_talk *talk = store->ops ? store->ops->talk : nullptr;
  if (ending->stage == ENDING_VERB) {
    ending->stage = ENDING_ASKED;
    if (talk && talk->questions(store) > 0) return say(run, true);
    if (task_cancelled(task)) return false;  // it could not even ask
  }
  if (ending->stage == ENDING_ASKED) {
    if (finish_stores(run)) return true;
    ending->stage = ENDING_FINISHED;
    if (talk && !task_cancelled(task)) return say(run, false);
  }
  for (uint8_t side = 0; side < run->sides && !task_cancelled(task); side++)
    if (run->store[side].ops && run->store[side].ops->report) tell_of(task, &run->store[side]);
  return false;
}

bool run_hear(struct run *run, span bytes, int32_t *code, struct fault *fault) {
  if (run->ending.stage == ENDING_NONE) return false;
  struct store *store = written(run);
  *code = store->ops->talk->hear(store, bytes, fault);
  if (*code == 1) task_expect_no_more(run->task);
  if (*code < 0) failed(run, store, fault);
  return true;
}
