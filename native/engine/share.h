// share: semaphores and channels that all JavaScript threads of the process have in common, found
// by name. Who cannot be served at once waits as a task, so that the answer comes through the wake
// channel of the waiting thread's own runtime: nobody polls, and a cancelled task leaves the queue.
//
// A thread has a hold on a shared thing, one for each time it opened it. What was taken through a
// hold and not given back goes back when the hold ends; a Worker that is terminated ends its holds
// (abi.c). The thing goes with its last hold.
//
// First come, first served: whoever asks while somebody waits, waits behind them.
#pragma once
#include "base/fault.h"
#include "base/span.h"

struct task;
struct hold;

// Opens the thing of a name and kind, or makes it. `record` as in copse_shared_open. ARGUMENT: it
// is there with another size.
int32_t share_open(struct hold **out, span record, struct fault *fault);
// Gives back what was taken, refuses who waits through it (CLOSED), and lets go of the thing.
void share_close(struct hold *hold);

// One step that never waits; see enum copse_shared_call.
int32_t share_call(struct hold *hold, uint32_t call, uint8_t *bytes, size_t size);
// Instead of task_start: the task ends when its call (KEY_SHARED_CALL and the keys after it) is
// done. A received value comes as pages of bytes before the DONE.
int32_t share_wait(struct hold *hold, struct task *task, struct fault *fault);
