// abi: ids and argument checks, nothing else. JavaScript holds ids, never pointers: index and
// generation in 52 bits, so that a stale, forged or doubly closed one is CLOSED.
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/glob.h"
#include "base/hash.h"
#include "base/record.h"
#include "engine/request.h"
#include "engine/runtime.h"
#include "engine/share.h"
#include "store/store.h"
#include "verb/run.h"
#include "wire/http.h"

constexpr uint32_t INDEX_BITS = 20;  // a million things at once
constexpr uint64_t INDEX_MASK = (1ull << INDEX_BITS) - 1;
constexpr uint32_t TASKS_MAX = 65536;        // of one runtime
constexpr uint32_t REQUEST_MAX = 16u << 20;  // bytes of one request; far above any real one

enum slot_kind : uint8_t { SLOT_FREE, SLOT_RUNTIME, SLOT_TASK, SLOT_GLOBS, SLOT_SHARED };

struct slot {
  void *thing;
  uint32_t generation;
  uint32_t users;  // calls that are using a runtime or globs now
  uint32_t next_free;
  enum slot_kind kind;
  bool closing;
};

static struct {
  mutex lock;
  condition unused;
  struct slot *slots;
  uint32_t count, capacity, first_free;  // index + 1, zero: none
} table = {.lock = PTHREAD_MUTEX_INITIALIZER, .unused = PTHREAD_COND_INITIALIZER};

// Ids

// Makes the id and says it to `out` before anybody can use it. Zero: out of memory, or a million
// things.
static copse_id id_put(void *thing, enum slot_kind kind, uint64_t *out) {
  mutex_lock(&table.lock);
  uint32_t index = 0;
  if (table.first_free) {
    index = table.first_free;
    table.first_free = table.slots[index - 1].next_free;
  } else {
    if (table.count == table.capacity && table.count < INDEX_MASK) {
      uint32_t capacity = table.capacity ? table.capacity * 2 : 256;
      if (capacity > INDEX_MASK) capacity = (uint32_t)INDEX_MASK;
      struct slot *slots = realloc(table.slots, capacity * sizeof *slots);
      if (slots) {
        table.slots = slots;
        table.capacity = capacity;
      }
    }
    if (table.count < table.capacity) {
      table.slots[table.count] = (struct slot){};
      index = ++table.count;
    }
  }
  copse_id id = 0;
  if (index) {
    struct slot *slot = &table.slots[index - 1];
    uint32_t generation = slot->generation + 1;
    *slot = (struct slot){.thing = thing, .generation = generation, .kind = kind};
    *out = id = (uint64_t)generation << INDEX_BITS | index;
  }
  mutex_unlock(&table.lock);
  return id;
}

// The lock is held.
static struct slot *slot_of(copse_id id, enum slot_kind kind) {
  uint64_t index = id & INDEX_MASK;
  if (index == 0 || index > table.count) return nullptr;
  struct slot *slot = &table.slots[index - 1];
  return slot->kind == kind && slot->generation == id >> INDEX_BITS && !slot->closing ? slot
                                                                                      : nullptr;
}

static void slot_free(copse_id id) {
  uint32_t index = (uint32_t)(id & INDEX_MASK);
  struct slot *slot = &table.slots[index - 1];
  *slot = (struct slot){.generation = slot->generation, .next_free = table.first_free};
  table.first_free = index;
}

static struct task *task_take(copse_id id) {
  mutex_lock(&table.lock);
  struct slot *slot = slot_of(id, SLOT_TASK);
  struct task *task = slot ? slot->thing : nullptr;
  if (task) task_hold(task);
  mutex_unlock(&table.lock);
  return task;
}

static void *thing_take(copse_id id, enum slot_kind kind) {
  mutex_lock(&table.lock);
  struct slot *slot = slot_of(id, kind);
  void *thing = slot ? slot->thing : nullptr;
  if (slot) slot->users++;
  mutex_unlock(&table.lock);
  return thing;
}

static struct runtime *runtime_take(copse_id id) { return thing_take(id, SLOT_RUNTIME); }

static void thing_give(copse_id id) {
  mutex_lock(&table.lock);
  struct slot *slot = &table.slots[(id & INDEX_MASK) - 1];
  if (--slot->users == 0 && slot->closing) condition_all(&table.unused);
  mutex_unlock(&table.lock);
}

// What this is

#define OFFSET(type, field) (uint32_t)offsetof(type, field)

uint32_t copse_abi(uint32_t *layout, uint32_t capacity) {
  static const uint32_t all[] = {
      sizeof(copse_row),
      OFFSET(copse_row, path_at),
      OFFSET(copse_row, path_len),
      OFFSET(copse_row, kind),
      OFFSET(copse_row, type),
      OFFSET(copse_row, reason),
      OFFSET(copse_row, code),
      OFFSET(copse_row, left_size),
      OFFSET(copse_row, right_size),
      OFFSET(copse_row, left_mtime_ns),
      OFFSET(copse_row, right_mtime_ns),
      OFFSET(copse_row, text_at),
      OFFSET(copse_row, text_len),
      OFFSET(copse_row, extra),
      sizeof(copse_event),
      OFFSET(copse_event, kind),
      OFFSET(copse_event, code),
      OFFSET(copse_event, task),
      OFFSET(copse_event, page),
      OFFSET(copse_event, page_size),
      OFFSET(copse_event, rows),
      OFFSET(copse_event, heap_at),
      OFFSET(copse_event, files),
      OFFSET(copse_event, bytes),
      OFFSET(copse_event, total_bytes),
      sizeof(copse_stats),
      OFFSET(copse_stats, started),
      OFFSET(copse_stats, done),
      OFFSET(copse_stats, failed),
      OFFSET(copse_stats, cancelled),
      OFFSET(copse_stats, running),
      OFFSET(copse_stats, queued),
      OFFSET(copse_stats, steps),
      OFFSET(copse_stats, wakes),
      OFFSET(copse_stats, bytes_read),
      OFFSET(copse_stats, bytes_written),
      OFFSET(copse_stats, buffer_bytes),
      OFFSET(copse_stats, buffer_limit),
      OFFSET(copse_stats, io_workers),
      OFFSET(copse_stats, cpu_workers),
      OFFSET(copse_stats, connections),
      OFFSET(copse_stats, backend),
  };
  for (uint32_t i = 0; layout && i < capacity && i < sizeof all / sizeof *all; i++)
    layout[i] = all[i];
  return COPSE_ABI;
}

const char *copse_error_name(int32_t code) { return fault_name(code); }

// What a ring carries, or who refuses it, as JSON.
static void put_ring(char *into, size_t size) {
  struct io_ring_probe probe;
  io_ring_probe(&probe);
  size_t at = (size_t)snprintf(into, size, "{\"operations\":[");
  for (size_t i = 0; i < probe.count && at < size; i++)
    at += (size_t)snprintf(into + at, size - at, "%s\"%s\"", i ? "," : "", probe.operations[i]);
  const char *name = fault_errno_name(probe.refused);
  if (at < size && probe.refused)
    snprintf(into + at, size - at, "],\"refused\":\"%s: %s\"}", probe.call, name ? name : "?");
  else if (at < size)
    snprintf(into + at, size - at, "]}");
}

#ifdef COPSE_FAULT_STORE
#define FEATURES "\"fault-store\""
#else
#define FEATURES ""
#endif
#ifdef __OPTIMIZE__
#define MODE "release"
#else
#define MODE "debug"
#endif

// `"name":"version",` for each library, or `"scheme",` for each place; the last comma is left out.
static void about_stores(char *into, size_t capacity, bool libraries) {
  size_t at = 0;
  for (size_t i = 0; store_all[i] && at < capacity - 64; i++) {
    const struct store_ops *ops = store_all[i];
    const char *comma = at ? "," : "";
    if (!libraries)
      at += (size_t)snprintf(into + at, capacity - at, "%s\"%.24s\"", comma, ops->scheme);
    else if (ops->library)
      at += (size_t)snprintf(into + at, capacity - at, "%s\"%.24s\":\"%.24s\"", comma, ops->library,
                             ops->version());
  }
}

int32_t copse_about(uint8_t *into, size_t capacity) {
  char schemes[256] = "", libraries[256] = "", ring[256], text[1536];
  put_ring(ring, sizeof ring);
  about_stores(schemes, sizeof schemes, false);
  about_stores(libraries, sizeof libraries, true);
  struct utsname system;
  if (uname(&system) < 0) system = (struct utsname){};
  int size = snprintf(text, sizeof text,
                      "{\"version\":\"0.1.0\",\"abi\":%u,\"mode\":\"" MODE
                      "\",\"wake\":\"%s\","
                      "\"backends\":[\"threads\",\"blocking\",\"uring\"],\"schemes\":[%s],"
                      "\"libraries\":{\"blake3\":\"%s\",\"curl\":\"%s\",%s},\"features\":[" FEATURES
                      "],"
                      "\"system\":\"%.64s\",\"kernel\":\"%.64s\",\"arch\":\"%.64s\","
                      "\"cores\":%u,\"pageSize\":%ld,\"ring\":%s,\"reflink\":false}",
                      COPSE_ABI, wake_name, schemes, hash_version(), http_version(), libraries,
                      system.sysname, system.release, system.machine, system_cores(),
                      sysconf(_SC_PAGESIZE), ring);
  if (size < 0 || (size_t)size >= sizeof text) return COPSE_E_INTERNAL;
  if (into && capacity) memcpy(into, text, (size_t)size < capacity ? (size_t)size : capacity);
  return size;
}

// Runtimes

// A Worker that is terminated runs no hook of JavaScript's, but its thread ends. The runtimes and
// globs it opened can be used by nobody else, so they are closed then.
struct opened {
  struct opened *next;
  copse_id id;
};

static void thread_ended(void *value) {
  for (struct opened *opened = value; opened;) {
    struct opened *next = opened->next;
    if (copse_runtime_close(opened->id) == COPSE_E_CLOSED &&
        copse_globs_close(opened->id) == COPSE_E_CLOSED)
      copse_shared_close(opened->id);
    free(opened);
    opened = next;
  }
}

static void remember(copse_id id) {
  struct opened *opened = malloc(sizeof *opened);
  if (!opened) return;  // then it outlives its thread, as if it had been leaked
  *opened = (struct opened){.next = thread_own(), .id = id};
  if (!thread_own_set(opened, thread_ended)) free(opened);
}

static void forget(copse_id id) {
  struct opened *first = thread_own(), **at = &first;
  while (*at && (*at)->id != id) at = &(*at)->next;
  if (!*at) return;
  struct opened *found = *at;
  *at = found->next;
  free(found);
  thread_own_set(first, thread_ended);
}

int32_t copse_runtime_open(const uint8_t *options, size_t options_len, copse_id *out) {
  if (!out || (!options && options_len) || options_len > REQUEST_MAX) return COPSE_E_ARGUMENT;
  *out = 0;
  struct fault fault = {};
  struct runtime *runtime;
  span record = {options, options_len};
  int32_t code = record_check(record, &fault);
  if (code == 0) code = runtime_open(&runtime, record, &fault);
  if (code < 0) return code;
  copse_id id = id_put(runtime, SLOT_RUNTIME, &runtime->id);
  if (!id) {
    runtime_close(runtime);
    return COPSE_E_MEMORY;
  }
  remember(id);
  *out = id;
  return 0;
}

int32_t copse_runtime_close(copse_id id) {
  forget(id);
  mutex_lock(&table.lock);
  struct slot *slot = slot_of(id, SLOT_RUNTIME);
  if (!slot) {
    mutex_unlock(&table.lock);
    return COPSE_E_CLOSED;
  }
  struct runtime *runtime = slot->thing;
  slot->closing = true;
  // The slots may move while we wait.
  while (table.slots[(id & INDEX_MASK) - 1].users > 0) condition_wait(&table.unused, &table.lock);
  slot_free(id);
  // Its tasks' ids die with it. None can come any more, so one look at each slot is enough.
  for (uint32_t i = 0; i < table.count; i++) {
    struct slot *other = &table.slots[i];
    struct task *task = other->kind == SLOT_TASK ? other->thing : nullptr;
    if (!task || task->runtime != runtime) continue;
    slot_free(task->id);
    mutex_unlock(&table.lock);
    task_close(task);
    mutex_lock(&table.lock);
  }
  mutex_unlock(&table.lock);
  runtime_close(runtime);
  return 0;
}

int32_t copse_runtime_fd(copse_id id) {
  struct runtime *runtime = runtime_take(id);
  if (!runtime) return COPSE_E_CLOSED;
  int32_t fd = runtime->wake.read_fd;
  thing_give(id);
  return fd;
}

int32_t copse_runtime_stats(copse_id id, copse_stats *out) {
  if (!out) return COPSE_E_ARGUMENT;
  struct runtime *runtime = runtime_take(id);
  if (!runtime) return COPSE_E_CLOSED;
  runtime_stats(runtime, out);
  thing_give(id);
  return 0;
}

int32_t copse_runtime_drain(copse_id id, copse_event *events, uint32_t capacity) {
  if (!events || capacity == 0) return COPSE_E_ARGUMENT;
  struct runtime *runtime = runtime_take(id);
  if (!runtime) return COPSE_E_CLOSED;
  int32_t taken = runtime_drain(runtime, events, capacity, true);
  thing_give(id);
  return taken;
}

int32_t copse_runtime_cancel(copse_id id, uint32_t token) {
  struct runtime *runtime = runtime_take(id);
  if (!runtime) return COPSE_E_CLOSED;
  int32_t count = runtime_cancel(runtime, token);
  thing_give(id);
  return count;
}

// Tasks

static const struct verb *verb_of(uint64_t number) {
  switch (number) {
    case COPSE_VERB_LIST:
      return &list_verb;
    case COPSE_VERB_SCAN:
      return &scan_verb;
    case COPSE_VERB_COMPARE:
      return &compare_verb;
    case COPSE_VERB_VERIFY:
      return &verify_verb;
    case COPSE_VERB_SYNC:
      return &sync_verb;
    case COPSE_VERB_TWO_WAY:
      return &sync_two_verb;
    case COPSE_VERB_READ:
      return &read_verb;
    case COPSE_VERB_WRITE:
      return &write_verb;
    case COPSE_VERB_FILL:
      return &fill_verb;
    case COPSE_VERB_REMOVE:
      return &remove_verb;
    case COPSE_VERB_DIGEST:
      return &digest_verb;
    case COPSE_VERB_SNAPSHOT:
      return &snapshot_verb;
    case COPSE_VERB_LOOK:
      return &look_verb;
    case COPSE_VERB_BLOCKS:
      return &blocks_verb;
    default:
      return nullptr;
  }
}

static int32_t start_shared(struct task *task, span request, struct fault *fault) {
  copse_id id = record_number(request, COPSE_KEY_SHARED, 0);
  struct hold *hold = thing_take(id, SLOT_SHARED);
  if (!hold) return fault_set(fault, COPSE_E_CLOSED, "it was closed");
  int32_t code = share_wait(hold, task, fault);
  thing_give(id);
  return code;
}

static int32_t start_one(struct runtime *runtime, span request, copse_id *out) {
  if (runtime->tasks >= TASKS_MAX) return COPSE_E_BUSY;
  struct task *task = task_new(runtime, request);
  if (!task) return COPSE_E_MEMORY;
  runtime_add(runtime, task);
  copse_id id = id_put(task, SLOT_TASK, &task->id);
  if (!id) {
    task_drop(task);
    task_drop(task);
    return COPSE_E_MEMORY;
  }
  *out = id;
  struct fault fault = {};
  span own = {task->request, task->request_len};
  int32_t code = request_check(own, &fault);
  if (code == 0) {
    uint64_t number = record_number(own, COPSE_KEY_VERB, 0);
    const struct verb *verb = verb_of(number);
    code = verb ? run_start(task, verb, &fault)
           : number == COPSE_VERB_SHARED
               ? start_shared(task, own, &fault)
               : fault_set(&fault, COPSE_E_UNSUPPORTED, "verb %llu is not built into this library",
                           (unsigned long long)number);
  }
  if (code < 0) task_refuse(task, &fault);
  return 0;
}

int32_t copse_task_start(copse_id id, const uint8_t *requests, size_t requests_len, copse_id *out,
                         uint32_t capacity) {
  if (!requests || !out || capacity == 0) return COPSE_E_ARGUMENT;
  struct runtime *runtime = runtime_take(id);
  if (!runtime) return COPSE_E_CLOSED;
  int32_t started = 0, code = 0;
  for (size_t at = 0; at < requests_len && (uint32_t)started < capacity;) {
    uint32_t size;
    code = COPSE_E_ARGUMENT;
    if (requests_len - at < sizeof size) break;
    memcpy(&size, requests + at, sizeof size);
    at += sizeof size;
    if (size > REQUEST_MAX || size > requests_len - at) break;
    code = start_one(runtime, (span){requests + at, size}, &out[started]);
    if (code < 0) break;
    at += size;
    started++;
  }
  thing_give(id);
  return started > 0 || code == 0 ? started : code;
}

int32_t copse_task_wait(copse_id id, copse_event *events, uint32_t capacity, uint32_t timeout_ms) {
  if (!events || capacity == 0) return COPSE_E_ARGUMENT;
  struct task *task = task_take(id);
  if (!task) return COPSE_E_CLOSED;
  int32_t taken = task_wait(task, events, capacity, timeout_ms);
  task_drop(task);
  return taken;
}

int32_t copse_task_push(copse_id id, const uint8_t *bytes, size_t len) {
  if (!bytes && len) return COPSE_E_ARGUMENT;
  struct task *task = task_take(id);
  if (!task) return COPSE_E_CLOSED;
  struct fault fault = {};
  int32_t code = task_push(task, (span){bytes, len}, &fault);
  task_drop(task);
  return code;
}

int32_t copse_task_cancel(copse_id id) {
  struct task *task = task_take(id);
  if (!task) return COPSE_E_CLOSED;
  bool is_late = task_cancel(task, COPSE_E_CANCELLED);
  task_drop(task);
  return is_late;
}

int32_t copse_task_error(copse_id id, uint8_t *into, size_t capacity) {
  if (!into && capacity) return COPSE_E_ARGUMENT;
  struct task *task = task_take(id);
  if (!task) return COPSE_E_CLOSED;
  int32_t size = task_error(task, into, capacity);
  task_drop(task);
  return size;
}

int32_t copse_task_close(copse_id id) {
  mutex_lock(&table.lock);
  struct slot *slot = slot_of(id, SLOT_TASK);
  struct task *task = slot ? slot->thing : nullptr;
  if (task) slot_free(id);
  mutex_unlock(&table.lock);
  if (!task) return COPSE_E_CLOSED;
  task_close(task);
  return 0;
}

int32_t copse_page_release(copse_id id, uint64_t page) {
  struct task *task = task_take(id);
  if (!task) return COPSE_E_CLOSED;
  int32_t code = task_release(task, page);
  task_drop(task);
  return code;
}

int32_t copse_page_keep(copse_id id, uint64_t page) {
  struct task *task = task_take(id);
  if (!task) return COPSE_E_CLOSED;
  int32_t code = task_keep(task, page);
  task_drop(task);
  return code;
}

void copse_page_free(void *page, void *) {
  if (page) page_free_kept(page);
}

// Globs

// They are read on the caller's thread, so what one set may hold is bounded.
constexpr size_t GLOBS_MAX = 1 << 20;

static int32_t globs_open(span record, struct globs **out, struct fault *fault) {
  int32_t code = record_check(record, fault);
  size_t count = 0;
  struct field field;
  for (span rest = record; code == 0 && record_next(&rest, &field, fault) == 1;) {
    count += field.key == COPSE_GLOBS_KEY_PATTERN;
    bool text = field.key == COPSE_GLOBS_KEY_PATTERN;
    if (field.key < COPSE_GLOBS_KEY_KIND || field.key > COPSE_GLOBS_KEY_PATTERN ||
        field.kind != (text ? COPSE_FIELD_TEXT : COPSE_FIELD_NUMBER))
      code = fault_set(fault, COPSE_E_ARGUMENT, "unknown field %u", field.key);
  }
  uint64_t kind = code == 0 ? record_number(record, COPSE_GLOBS_KEY_KIND, COPSE_GLOBS_PATHS) : 0;
  if (code == 0 && kind > COPSE_GLOBS_NAMES)
    code = fault_set(fault, COPSE_E_ARGUMENT, "there is no such kind of globs");
  if (code == 0 && count > GLOBS_MAX)
    code = fault_set(fault, COPSE_E_LIMIT, "more than %zu globs in a set", GLOBS_MAX);
  if (code < 0) return code;
  struct glob_source *sources = calloc(count + 1, sizeof *sources);
  if (!sources) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  size_t at = 0;
  for (span rest = record; record_next(&rest, &field, fault) == 1;)
    if (field.key == COPSE_GLOBS_KEY_PATTERN) sources[at++].pattern = field.bytes;
  uint32_t options = record_number(record, COPSE_GLOBS_KEY_NOCASE, 0) ? GLOB_NOCASE : 0;
  if (!record_number(record, COPSE_GLOBS_KEY_DOT, 1)) options |= GLOB_NO_DOT;
  code = globs_compile(sources, count, kind == COPSE_GLOBS_NAMES ? GLOB_NAMES : GLOB_PATHS, options,
                       out, fault);
  free(sources);
  return code;
}

// The id of a thing; where `made` says that there is none, or there is no room for it, why not.
static int32_t thing_open(void *thing, enum slot_kind kind, int32_t made, copse_id *out,
                          struct fault *fault, uint8_t *sentence, size_t sentence_capacity) {
  uint64_t id = 0;
  int32_t code = made;
  if (code == 0 && !id_put(thing, kind, &id))
    code = fault_set(fault, COPSE_E_MEMORY, "out of memory");
  if (code < 0) {
    if (sentence && sentence_capacity)
      snprintf((char *)sentence, sentence_capacity, "%s", fault->text);
    return code;
  }
  remember(id);
  *out = id;
  return 0;
}

int32_t copse_globs_open(const uint8_t *record, size_t record_len, copse_id *out, uint8_t *sentence,
                         size_t sentence_capacity) {
  if (!out || (!record && record_len) || record_len > REQUEST_MAX) return COPSE_E_ARGUMENT;
  *out = 0;
  struct fault fault = {};
  struct globs *globs = nullptr;
  int32_t made = globs_open((span){record, record_len}, &globs, &fault);
  int32_t code = thing_open(globs, SLOT_GLOBS, made, out, &fault, sentence, sentence_capacity);
  if (made == 0 && code < 0) globs_free(globs);
  return code;
}

static int32_t globs_answer(struct globs *globs, span texts, uint32_t count, uint32_t answer,
                            uint8_t *into, size_t capacity) {
  size_t words = globs_words(globs), globs_all = globs_count(globs), each = words * 8;
  if (answer != COPSE_GLOBS_ANSWER_BITS) each = 1;
  if (count > capacity / each) return COPSE_E_ARGUMENT;
  struct matcher *matcher = matcher_take(globs);
  if (!matcher) return COPSE_E_MEMORY;
  const uint8_t *at = texts.at, *end = texts.at + texts.size;
  uint32_t done = 0;
  for (bool more = count > 0; more; done++) {
    if (done == count) {  // there are more than were told of
      done = UINT32_MAX;
      break;
    }
    const uint8_t *stop = at < end ? memchr(at, 0, (size_t)(end - at)) : nullptr;
    const uint64_t *bits = matcher_match(matcher, (span){at, (size_t)((stop ? stop : end) - at)});
    if (answer == COPSE_GLOBS_ANSWER_BITS) {
      memcpy(into, bits, each);
    } else {
      size_t matching = 0;
      for (size_t i = 0; i < words; i++) matching += (size_t)__builtin_popcountll(bits[i]);
      *into = answer == COPSE_GLOBS_ANSWER_ANY ? matching > 0 : matching == globs_all;
    }
    into += each;
    more = stop;
    if (more) at = stop + 1;
  }
  matcher_give(matcher);
  return done == count ? (int32_t)count : COPSE_E_ARGUMENT;
}

int32_t copse_globs_match(copse_id id, const uint8_t *texts, size_t texts_len, uint32_t count,
                          uint32_t answer, uint8_t *into, size_t capacity) {
  if ((!texts && texts_len) || !into || answer > COPSE_GLOBS_ANSWER_BITS || count > INT32_MAX)
    return COPSE_E_ARGUMENT;
  struct globs *globs = thing_take(id, SLOT_GLOBS);
  if (!globs) return COPSE_E_CLOSED;
  int32_t code = globs_answer(globs, (span){texts, texts_len}, count, answer, into, capacity);
  thing_give(id);
  return code;
}

// The thing behind an id that is no more, once nobody uses it.
static void *thing_close(copse_id id, enum slot_kind kind) {
  forget(id);
  mutex_lock(&table.lock);
  struct slot *slot = slot_of(id, kind);
  void *thing = slot ? slot->thing : nullptr;
  if (slot) {
    slot->closing = true;
    // The slots may move while we wait.
    while (table.slots[(id & INDEX_MASK) - 1].users > 0) condition_wait(&table.unused, &table.lock);
    slot_free(id);
  }
  mutex_unlock(&table.lock);
  return thing;
}

int32_t copse_globs_close(copse_id id) {
  struct globs *globs = thing_close(id, SLOT_GLOBS);
  if (!globs) return COPSE_E_CLOSED;
  globs_free(globs);
  return 0;
}

// Shared things

int32_t copse_shared_open(const uint8_t *record, size_t record_len, copse_id *out,
                          uint8_t *sentence, size_t sentence_capacity) {
  if (!out || (!record && record_len) || record_len > REQUEST_MAX) return COPSE_E_ARGUMENT;
  *out = 0;
  struct fault fault = {};
  struct hold *hold = nullptr;
  int32_t made = record_check((span){record, record_len}, &fault);
  if (made == 0) made = share_open(&hold, (span){record, record_len}, &fault);
  int32_t code = thing_open(hold, SLOT_SHARED, made, out, &fault, sentence, sentence_capacity);
  if (made == 0 && code < 0) share_close(hold);
  return code;
}

int32_t copse_shared_call(copse_id id, uint32_t call, uint8_t *bytes, size_t size) {
  bool has_bytes = call == COPSE_SHARED_CALL_SEND || call == COPSE_SHARED_CALL_RECEIVE;
  if (has_bytes && !bytes && size) return COPSE_E_ARGUMENT;
  struct hold *hold = thing_take(id, SLOT_SHARED);
  if (!hold) return COPSE_E_CLOSED;
  int32_t code = share_call(hold, call, bytes, size);
  thing_give(id);
  return code;
}

int32_t copse_shared_close(copse_id id) {
  struct hold *hold = thing_close(id, SLOT_SHARED);
  if (!hold) return COPSE_E_CLOSED;
  share_close(hold);
  return 0;
}
