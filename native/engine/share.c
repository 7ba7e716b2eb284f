#include "engine/share.h"

#include <stdlib.h>

#include "base/record.h"
#include "engine/runtime.h"

constexpr size_t NAME_MAX_BYTES = 256;
constexpr size_t VALUE_MAX = 1 << 20;    // bytes of one value
constexpr uint64_t COUNT_MAX = 1 << 20;  // permits, and values that wait to be received

struct value {
  struct value *next;
  size_t size;
  uint8_t bytes[];
};

enum wait_state : uint8_t { WAITING, ANSWERED, REFUSED };

// One call that waits; while WAITING it is in the thing's queue. It is there until its task is over
// and whoever gave it its turn has told the task: a cancel may end the task in between.
struct waiter {
  struct waiter *previous, *next;
  struct thing *thing;
  struct hold *hold;
  struct task *task;
  struct value *value;  // SEND: to be sent. RECEIVE, answered: what was received
  uint64_t count;       // TAKE
  enum copse_shared_call call;
  enum wait_state state;
  _Atomic uint8_t users;
};

struct thing {
  struct thing *previous, *next;      // of all things, under `all`
  uint32_t holds;                     // likewise
  uint32_t kind;                      // enum copse_shared_kind
  uint64_t size;                      // permits there are, or values that may wait
  mutex lock;                         // guards all below
  uint32_t users;                     // the list of all, and tasks that wait or are about to end
  uint64_t free;                      // permits
  struct waiter *first[2], *last[2];  // waiting: 0 takers and receivers, 1 senders
  struct value *oldest, *newest;
  uint64_t count;  // of values
  bool closed;
  size_t name_size;
  uint8_t name[];
};

struct hold {
  struct thing *thing;
  uint32_t users;  // under the thing's lock: its opener, and what waits through it
  uint64_t held;   // permits
  bool closed;
};

// A name means the same in all threads of a process, as an id does: the one other table there is.
static struct {
  mutex lock;
  struct thing *first;
} all = {.lock = PTHREAD_MUTEX_INITIALIZER};

// Queues; the thing's lock is held

static int queue_of(const struct waiter *wait) { return wait->call == COPSE_SHARED_CALL_SEND; }

static void append(struct thing *thing, struct waiter *wait) {
  int queue = queue_of(wait);
  wait->previous = thing->last[queue];
  wait->next = nullptr;
  *(wait->previous ? &wait->previous->next : &thing->first[queue]) = wait;
  thing->last[queue] = wait;
}

static void take_out(struct thing *thing, struct waiter *wait) {
  int queue = queue_of(wait);
  *(wait->previous ? &wait->previous->next : &thing->first[queue]) = wait->next;
  *(wait->next ? &wait->next->previous : &thing->last[queue]) = wait->previous;
}

static void value_put(struct thing *thing, struct value *value) {
  value->next = nullptr;
  *(thing->newest ? &thing->newest->next : &thing->oldest) = value;
  thing->newest = value;
  thing->count++;
}

static struct value *value_take(struct thing *thing) {
  struct value *value = thing->oldest;
  if (!value) return nullptr;
  thing->oldest = value->next;
  if (!thing->oldest) thing->newest = nullptr;
  thing->count--;
  return value;
}

static void waiter_drop(struct waiter *wait) {
  if (atomic_fetch_sub_explicit(&wait->users, 1, memory_order_acq_rel) == 1) free(wait);
}

// Waits whose turn has come. They are out of the queue, and told once the lock is let go of: they
// and their tasks are kept until then.
struct turns {
  struct waiter *first, *last;
};

static void turn(struct thing *thing, struct waiter *wait, enum wait_state state,
                 struct turns *turns) {
  take_out(thing, wait);
  wait->state = state;
  task_hold(wait->task);
  atomic_fetch_add_explicit(&wait->users, 1, memory_order_relaxed);
  wait->next = nullptr;
  *(turns->last ? &turns->last->next : &turns->first) = wait;
  turns->last = wait;
}

static void turns_tell(struct turns *turns) {
  struct waiter *wait = turns->first;
  while (wait) {
    struct waiter *next = wait->next;
    struct task *task = wait->task;
    task_expect_no_more(task);
    waiter_drop(wait);
    task_drop(task);
    wait = next;
  }
}

// Whoever is first in a queue and can be served now, is.
static void serve(struct thing *thing, struct turns *turns) {
  for (struct waiter *wait; (wait = thing->first[0]) != nullptr;) {
    if (wait->call == COPSE_SHARED_CALL_TAKE) {
      if (wait->count > thing->free) return;
      thing->free -= wait->count;
      wait->hold->held += wait->count;
      turn(thing, wait, ANSWERED, turns);
      continue;
    }
    struct waiter *sender = thing->first[1];
    wait->value = value_take(thing);
    if (!wait->value && sender) {
      wait->value = sender->value;
      sender->value = nullptr;
      turn(thing, sender, ANSWERED, turns);
    }
    if (!wait->value && !thing->closed) break;
    turn(thing, wait, wait->value ? ANSWERED : REFUSED, turns);
  }
  for (struct waiter *wait; (wait = thing->first[1]) != nullptr;) {
    if (thing->closed) {
      turn(thing, wait, REFUSED, turns);
    } else if (thing->count < thing->size) {
      value_put(thing, wait->value);
      wait->value = nullptr;
      turn(thing, wait, ANSWERED, turns);
    } else {
      return;
    }
  }
}

// Things and holds

static void thing_free(struct thing *thing) {
  for (struct value *value; (value = value_take(thing)) != nullptr;) free(value);
  mutex_end(&thing->lock);
  free(thing);
}

// Gives the lock back.
static void thing_drop(struct thing *thing) {
  bool last = --thing->users == 0;
  mutex_unlock(&thing->lock);
  if (last) thing_free(thing);
}

static void hold_drop(struct hold *hold) {
  if (--hold->users == 0) free(hold);
}

static struct thing *thing_make(uint32_t kind, span name, uint64_t size) {
  struct thing *thing = calloc(1, sizeof *thing + name.size);
  if (!thing) return nullptr;
  thing->kind = kind;
  thing->size = thing->free = size;
  thing->users = 1;
  thing->name_size = name.size;
  memcpy(thing->name, name.at, name.size);
  mutex_begin(&thing->lock);
  thing->next = all.first;
  if (all.first) all.first->previous = thing;
  all.first = thing;
  return thing;
}

int32_t share_open(struct hold **out, span record, struct fault *fault) {
  uint64_t kind = record_number(record, COPSE_SHARED_KEY_KIND, 0);
  uint64_t size = record_number(record, COPSE_SHARED_KEY_SIZE, UINT64_MAX);
  span name = record_text(record, COPSE_SHARED_KEY_NAME);
  if (kind > COPSE_SHARED_CHANNEL || name.size == 0 || name.size > NAME_MAX_BYTES)
    return fault_set(fault, COPSE_E_ARGUMENT, "a shared thing has a name of 1 to %zu bytes",
                     NAME_MAX_BYTES);
  if (size > COUNT_MAX || (kind == COPSE_SHARED_SEMAPHORE && size == 0))
    return fault_set(fault, COPSE_E_ARGUMENT, "the size of a shared thing is at most %llu",
                     (unsigned long long)COUNT_MAX);
  struct hold *hold = calloc(1, sizeof *hold);
  if (!hold) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  mutex_lock(&all.lock);
  struct thing *thing = all.first;
  while (thing && (thing->kind != kind || !span_equal((span){thing->name, thing->name_size}, name)))
    thing = thing->next;
  int32_t code = 0;
  if (thing && thing->size != size)
    code = fault_set(fault, COPSE_E_ARGUMENT, "%.*s is open with the size %llu, not %llu",
                     (int)name.size, (const char *)name.at, (unsigned long long)thing->size,
                     (unsigned long long)size);
  else if (!thing && !(thing = thing_make((uint32_t)kind, name, size)))
    code = fault_set(fault, COPSE_E_MEMORY, "out of memory");
  if (code == 0) thing->holds++;
  mutex_unlock(&all.lock);
  if (code < 0) {
    free(hold);
    return code;
  }
  *hold = (struct hold){.thing = thing, .users = 1};
  *out = hold;
  return 0;
}

void share_close(struct hold *hold) {
  struct thing *thing = hold->thing;
  struct turns turns = {};
  mutex_lock(&all.lock);
  bool last = --thing->holds == 0;
  if (last) {
    *(thing->previous ? &thing->previous->next : &all.first) = thing->next;
    if (thing->next) thing->next->previous = thing->previous;
  }
  mutex_unlock(&all.lock);
  mutex_lock(&thing->lock);
  hold->closed = true;
  for (int queue = 0; queue < 2; queue++)
    for (struct waiter *wait = thing->first[queue], *next; wait; wait = next) {
      next = wait->next;
      if (wait->hold == hold) turn(thing, wait, REFUSED, &turns);
    }
  thing->free += hold->held;
  hold->held = 0;
  serve(thing, &turns);
  hold_drop(hold);
  if (last)
    thing_drop(thing);
  else
    mutex_unlock(&thing->lock);
  turns_tell(&turns);
}

// Steps that do not wait

static struct value *value_make(span bytes) {
  struct value *value = bytes.size <= VALUE_MAX ? malloc(sizeof *value + bytes.size) : nullptr;
  if (!value) return nullptr;
  value->size = bytes.size;
  if (bytes.size) memcpy(value->bytes, bytes.at, bytes.size);
  return value;
}

static int32_t give(struct hold *hold, uint64_t count, struct turns *turns) {
  if (count > hold->held) return COPSE_E_ARGUMENT;
  hold->held -= count;
  hold->thing->free += count;
  serve(hold->thing, turns);
  return 0;
}

static int32_t send(struct thing *thing, span bytes, struct turns *turns) {
  if (thing->closed) return COPSE_E_CLOSED;
  if (thing->first[1] || (!thing->first[0] && thing->count >= thing->size)) return 0;
  struct value *value = value_make(bytes);
  if (!value) return COPSE_E_MEMORY;
  value_put(thing, value);  // beyond the size for a moment, where somebody waits for it
  serve(thing, turns);
  return 1;
}

static int32_t receive(struct thing *thing, uint8_t *into, size_t size, struct turns *turns) {
  if (thing->first[0]) return 0;
  struct waiter *sender = thing->first[1];
  struct value *value = thing->oldest ? thing->oldest : sender ? sender->value : nullptr;
  if (!value) return thing->closed ? COPSE_E_CLOSED : 0;
  if (value->size > size) return (int32_t)value->size + 1;
  int32_t result = (int32_t)value->size + 1;
  if (value->size) memcpy(into, value->bytes, value->size);
  if (value == thing->oldest) {
    value_take(thing);
  } else {
    sender->value = nullptr;
    turn(thing, sender, ANSWERED, turns);
  }
  free(value);
  serve(thing, turns);
  return result;
}

static int32_t take(struct hold *hold, uint64_t count) {
  struct thing *thing = hold->thing;
  if (count == 0 || count > thing->size) return COPSE_E_ARGUMENT;
  if (thing->first[0] || count > thing->free) return 0;
  thing->free -= count;
  hold->held += count;
  return 1;
}

static bool fits(const struct thing *thing, uint32_t call) {
  bool of_semaphore = call == COPSE_SHARED_CALL_TAKE || call == COPSE_SHARED_CALL_GIVE;
  return call == COPSE_SHARED_CALL_COUNT || of_semaphore == (thing->kind == COPSE_SHARED_SEMAPHORE);
}

int32_t share_call(struct hold *hold, uint32_t call, uint8_t *bytes, size_t size) {
  struct thing *thing = hold->thing;
  if (call > COPSE_SHARED_CALL_COUNT || !fits(thing, call)) return COPSE_E_ARGUMENT;
  struct turns turns = {};
  int32_t code = 0;
  mutex_lock(&thing->lock);
  switch ((enum copse_shared_call)call) {
    case COPSE_SHARED_CALL_TAKE:
      code = take(hold, size);
      break;
    case COPSE_SHARED_CALL_GIVE:
      code = give(hold, size, &turns);
      break;
    case COPSE_SHARED_CALL_SEND:
      code = send(thing, (span){bytes, size}, &turns);
      break;
    case COPSE_SHARED_CALL_RECEIVE:
      code = receive(thing, bytes, size, &turns);
      break;
    case COPSE_SHARED_CALL_END:
      thing->closed = true;
      serve(thing, &turns);
      break;
    case COPSE_SHARED_CALL_COUNT:
      code = (int32_t)(thing->kind == COPSE_SHARED_SEMAPHORE ? thing->free : thing->count);
      break;
  }
  mutex_unlock(&thing->lock);
  turns_tell(&turns);
  return code;
}

// Waiting, as a task

// The pages of a received value. They are few: a value is at most 1 MiB.
static bool send_pages(struct task *task, const struct value *value) {
  for (size_t at = 0; at < value->size;) {
    uint8_t *into;
    struct page *page = task_page_of_bytes(task, PAGE_BYTES, &into);
    if (!page) return false;
    size_t size = value->size - at < PAGE_BYTES ? value->size - at : PAGE_BYTES;
    memcpy(into, value->bytes + at, size);
    task_send_bytes(task, page, size);
    at += size;
  }
  return true;
}

// Nobody is there any more to hear the answer: it is as if it had not been given.
static void take_back(struct waiter *wait, struct turns *turns) {
  struct thing *thing = wait->thing;
  if (wait->call == COPSE_SHARED_CALL_TAKE && !wait->hold->closed) {
    wait->hold->held -= wait->count;
    thing->free += wait->count;
  } else if (wait->call == COPSE_SHARED_CALL_RECEIVE) {
    wait->value->next = thing->oldest;  // it was the first, and is again
    if (!thing->oldest) thing->newest = wait->value;
    thing->oldest = wait->value;
    thing->count++;
    wait->value = nullptr;
  }
  serve(thing, turns);
}

// The task ends, answered or cancelled. An answer counts though a cancel came after it.
static void destroy(struct task *task) {
  struct waiter *wait = task->run;
  struct thing *thing = wait->thing;
  struct turns turns = {};
  mutex_lock(&thing->lock);
  if (wait->state == WAITING) take_out(thing, wait);
  enum wait_state state = wait->state;
  mutex_unlock(&thing->lock);
  bool is_heard = task_answer(task, state == ANSWERED);
  bool has_value = is_heard && state == ANSWERED && wait->value;
  bool is_sent = !has_value || send_pages(task, wait->value);
  if (!is_sent) task_answer_lost(task);
  mutex_lock(&thing->lock);
  if (state == ANSWERED && !(is_heard && is_sent)) take_back(wait, &turns);
  hold_drop(wait->hold);
  thing_drop(thing);
  turns_tell(&turns);
  free(wait->value);
  waiter_drop(wait);
}

static bool finish(struct task *task, struct worker *worker) {
  (void)worker;
  struct waiter *wait = task->run;
  mutex_lock(&wait->thing->lock);
  bool refused = wait->state == REFUSED;
  mutex_unlock(&wait->thing->lock);
  struct fault fault = {};
  fault_set(&fault, COPSE_E_CLOSED, "it was closed");
  if (refused) task_fail(task, &fault, (span){}, (span){});
  return false;
}

int32_t share_wait(struct hold *hold, struct task *task, struct fault *fault) {
  struct thing *thing = hold->thing;
  span request = {task->request, task->request_len};
  uint64_t call = record_number(request, COPSE_KEY_SHARED_CALL, COPSE_SHARED_CALL_COUNT);
  uint64_t count = record_number(request, COPSE_KEY_SHARED_COUNT, 1);
  if (call > COPSE_SHARED_CALL_RECEIVE || call == COPSE_SHARED_CALL_GIVE ||
      !fits(thing, (uint32_t)call) ||
      (call == COPSE_SHARED_CALL_TAKE && (count == 0 || count > thing->size)))
    return fault_set(fault, COPSE_E_ARGUMENT, "a shared call that makes no sense");
  struct waiter *wait = calloc(1, sizeof *wait);
  bool is_send = call == COPSE_SHARED_CALL_SEND;
  if (wait) {
    *wait = (struct waiter){.thing = thing,
                            .hold = hold,
                            .task = task,
                            .count = count,
                            .call = (enum copse_shared_call)call,
                            .users = 1};
    if (is_send) wait->value = value_make(record_text(request, COPSE_KEY_SHARED_VALUE));
  }
  if (!wait || (is_send && !wait->value)) {
    free(wait);
    return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  }
  task->run = wait;
  task->finish = finish;
  task->destroy = destroy;
  struct turns turns = {};
  task_began(task);
  mutex_lock(&thing->lock);
  hold->users++;
  thing->users++;
  append(thing, wait);
  // Under the lock: whoever answers or cancels finds both the place in the queue and a task that
  // waits.
  task_expect(task);
  serve(thing, &turns);
  mutex_unlock(&thing->lock);
  turns_tell(&turns);
  return 0;
}
