// event: what a task tells JavaScript: pages, room, progress, DONE. task.c decides when, this keeps
// them until they are taken. For task.c only.
#pragma once
#include "base/record.h"
#include "engine/task.h"

// The page that is being filled goes out; gives its rows. The task's lock is held; afterwards,
// without it, call event_tell, with all that there is to tell: rows, or 1 for anything else.
uint32_t event_seal(struct task *task);
void event_tell(struct task *task, uint32_t count);
void event_free(struct task *task);  // every page; nobody else knows the task any more

// The timers' callbacks.
void event_page_fire(struct timer *timer);
void event_progress_fire(struct timer *timer);

// The record of enum copse_detail that describes a fault.
void event_put_fault(struct record_writer *writer, const struct fault *fault, span location,
                     span path);

#define TASK_OF(pointer, member) \
  ((struct task *)(void *)((uint8_t *)(pointer) - offsetof(struct task, member)))
