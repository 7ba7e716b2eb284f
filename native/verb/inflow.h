// inflow: bytes that the caller pushes, until a job takes them.
//
// Pushes copy bytes into a queue of blocks, and one job at a time takes them out in order. There is
// a job only while there is something to take; in between the task is kept by task_expect.
#pragma once
#include "verb/run.h"

struct block {
  struct block *next;
  size_t filled;
  uint8_t bytes[];
};

struct inflow {
  struct job job;  // the verb sets its run
  struct run *run;
  // Guarded by the task's lock, because pushes may come before any code of ours could have made
  // one:
  struct block *first, *last;
  size_t queued;               // bytes in the queue and in the block that was taken
  size_t refused;              // bytes of the push that found no room, until room was told
  bool is_ended;               // the last push came
  bool is_open, is_scheduled;  // bytes can be taken; there is a job
};

constexpr size_t INFLOW_BLOCKS_A_JOB = 16;  // then other tasks have their turn

// A verb's `pushed`. No bytes: the last push.
int32_t inflow_push(struct inflow *inflow, struct run *run, span bytes, struct fault *fault);
// The verb is ready for bytes; from here on its job runs when there are some.
void inflow_open(struct inflow *inflow, struct run *run,
                 void (*take)(struct job *, struct worker *));
// The next block, or nullptr when the queue is empty: then all came, or the next push adds a job.
struct block *inflow_take(struct inflow *inflow, bool *is_ended);
// What was taken is done with: its room is free.
void inflow_give(struct inflow *inflow, struct block *block);
// The job stops here and goes on later.
static inline void inflow_again(struct inflow *inflow) {
  run_add(inflow->run, JOB_LEAF, &inflow->job);
}
void inflow_close(struct inflow *inflow, struct run *run);
