// fault: a store around another one, which fails on cue. Tests only: it is built when
// COPSE_FAULT_STORE is defined.
//
// The spec is a list of settings with ',' between them:
//   CALL=N     the Nth such call fails, counted from 1 over the store: root find enter hold list
//   stat target attributes
//              open (a file for reading) read measure data above create writer write commit make
//              link rename remove set settle claim finish
//   sticky     all later ones of that kind fail too
//   code=NAME  with which code; IO when it is not said
//   vanish     with NOT_FOUND, as if the entry had just been removed
//   cut=N      the failing reads do not fail: the content ends there, N bytes early
//   delay=MS   every read takes this long, and gives up when the task is cancelled
//   lie=N      files are said to be N bytes larger than they are
// What is not made to fail goes to the inner store unchanged.
#include <stdlib.h>
#include <time.h>

#include "engine/task.h"
#include "store/open.h"

#ifdef COPSE_FAULT_STORE

enum call : uint8_t {
  CALL_ROOT,
  CALL_FIND,
  CALL_ENTER,
  CALL_HOLD,
  CALL_LIST,
  CALL_STAT,
  CALL_TARGET,
  CALL_ATTRIBUTES,
  CALL_OPEN,
  CALL_READ,
  CALL_MEASURE,
  CALL_DATA,
  CALL_ABOVE,
  CALL_CREATE,
  CALL_WRITER,
  CALL_WRITE,
  CALL_COMMIT,
  CALL_MAKE,
  CALL_LINK,
  CALL_RENAME,
  CALL_REMOVE,
  CALL_SET,
  CALL_SETTLE,
  CALL_CLAIM,
  CALL_FINISH,
  CALLS,
};

static const char *const call_names[CALLS] = {
    "root", "find",    "enter",  "hold",  "list",   "stat",   "target", "attributes", "open",
    "read", "measure", "data",   "above", "create", "writer", "write",  "commit",     "make",
    "link", "rename",  "remove", "set",   "settle", "claim",  "finish",
};

struct fault_state {
  struct store inner;
  uint64_t fails_at[CALLS];  // 0: never
  _Atomic uint64_t counted[CALLS];
  bool is_sticky, does_cut;
  int32_t code;
  uint64_t cut_bytes, delay_ms, lie_bytes;
};

struct fault_directory {
  struct directory base;
  struct directory *inner;
};

struct fault_reader {  // in slot[0]
  struct reader inner;
  _Atomic uint64_t end;  // where a cut made the content end
};

struct fault_writer {
  struct writer base;
  struct writer *inner;
};

// ── The spec ──

static bool take_setting(span *rest, span *name, span *value) {
  if (rest->size == 0) return false;
  const uint8_t *comma = memchr(rest->at, ',', rest->size);
  size_t size = comma ? (size_t)(comma - rest->at) : rest->size;
  const uint8_t *equals = size ? memchr(rest->at, '=', size) : nullptr;
  size_t name_size = equals ? (size_t)(equals - rest->at) : size;
  *name = (span){rest->at, name_size};
  *value = equals ? (span){equals + 1, size - name_size - 1} : (span){};
  size_t used = size + (comma ? 1 : 0);
  *rest = (span){rest->at + used, rest->size - used};
  return true;
}

// Digits only, and few enough that nothing overflows.
static bool read_number(span text, uint64_t *number) {
  if (text.size == 0 || text.size > 15) return false;
  *number = 0;
  for (size_t i = 0; i < text.size; i++) {
    if (text.at[i] < '0' || text.at[i] > '9') return false;
    *number = *number * 10 + (text.at[i] - '0');
  }
  return true;
}

static bool read_code(span name, int32_t *code) {
  for (int32_t i = COPSE_E_INTERNAL; i < 0; i++) {
    if (!span_equal(name, span_of(fault_name(i)))) continue;
    *code = i;
    return true;
  }
  return false;
}

static bool read_setting(struct fault_state *state, span name, span value) {
  if (span_equal(name, SPAN("sticky"))) return state->is_sticky = value.at == nullptr;
  if (span_equal(name, SPAN("vanish"))) {
    state->code = COPSE_E_NOT_FOUND;
    return value.at == nullptr;
  }
  if (span_equal(name, SPAN("code"))) return read_code(value, &state->code);
  if (span_equal(name, SPAN("cut"))) return state->does_cut = read_number(value, &state->cut_bytes);
  if (span_equal(name, SPAN("delay"))) return read_number(value, &state->delay_ms);
  if (span_equal(name, SPAN("lie"))) return read_number(value, &state->lie_bytes);
  for (size_t i = 0; i < CALLS; i++)
    if (span_equal(name, span_of(call_names[i])))
      return read_number(value, &state->fails_at[i]) && state->fails_at[i] > 0;
  return false;
}

static int32_t read_spec(struct fault_state *state, span spec, struct fault *fault) {
  span name, value;
  while (take_setting(&spec, &name, &value))
    if (!read_setting(state, name, value))
      return fault_set(fault, COPSE_E_ARGUMENT,
                       "the fault spec has a setting that is not understood: \"%.*s\"",
                       (int)(name.size > 32 ? 32 : name.size), (const char *)name.at);
  if (state->does_cut && state->fails_at[CALL_READ] == 0)
    return fault_set(fault, COPSE_E_ARGUMENT,
                     "the fault spec has cut without read: say at which read");
  return 0;
}

// ── Failing ──

static bool is_cue(struct fault_state *state, enum call call) {
  uint64_t at = state->fails_at[call];
  if (at == 0) return false;
  uint64_t count = atomic_fetch_add_explicit(&state->counted[call], 1, memory_order_relaxed) + 1;
  return count == at || (state->is_sticky && count > at);
}

static int32_t fail(const struct fault_state *state, enum call call, struct fault *fault) {
  fault_set(fault, state->code, "made to fail by a test: %s", call_names[call]);
  fault->call = call_names[call];
  return state->code;
}

static struct fault_state *state_of(const struct store *store) { return store->state; }
static struct directory *inner_of(struct directory *base) {
  return ((struct fault_directory *)base)->inner;
}

// Whose turn it is: the call on the inner store, or a failure.
#define FAIL_ON_CUE(store, call, fault) \
  if (is_cue(state_of(store), call)) return fail(state_of(store), call, fault)

static void lie(const struct store *store, struct entry *entry) {
  if ((entry->has & HAS_STAT) && entry->type == ENTRY_FILE)
    entry->size += state_of(store)->lie_bytes;
}

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory");
}

// ── Opening ──

static int32_t fault_open(struct store *store, const struct place *place, struct fault *fault) {
  if (place->inner.size == 0)
    return fault_set(fault, COPSE_E_ARGUMENT,
                     "a fault place needs a place to wrap: fault:spec:location");
  struct fault_state *state = calloc(1, sizeof *state);
  if (!state) return no_memory(fault);
  state->code = COPSE_E_IO;
  int32_t code = read_spec(state, place->spec, fault);
  if (code == 0)
    code = store_open_in(&state->inner, place->inner, place->above, store->task, fault);
  if (code < 0) {
    free(state);
    return code;
  }
  store->state = state;
  // What is read through this store need not be what the same file gives elsewhere.
  store->can = state->inner.can & ~(uint32_t)CAN_IDENTITY;
  if (store->shown.size == 0) store->shown = state->inner.shown;
  return 0;
}

static void fault_close(struct store *store) {
  struct fault_state *state = store->state;
  store_close(&state->inner);
  free(state);
}

// Puts a wrapper around a directory of the inner store, or ends it.
static int32_t wrap(struct store *store, struct directory *inner, struct directory **out,
                    struct fault *fault) {
  struct fault_directory *directory = malloc(sizeof *directory);
  if (!directory) {
    inner->store->ops->leave(inner);
    return no_memory(fault);
  }
  *directory = (struct fault_directory){.base.store = store, .inner = inner};
  *out = &directory->base;
  return 0;
}

static int32_t fault_root(struct store *store, struct arena *arena, struct entry *out,
                          struct directory **directory, struct fault *fault) {
  FAIL_ON_CUE(store, CALL_ROOT, fault);
  struct store *inner = &state_of(store)->inner;
  struct directory *root;
  int32_t code = inner->ops->root(inner, arena, out, &root, fault);
  if (code < 0) return code;
  lie(store, out);
  return wrap(store, root, directory, fault);
}

static int32_t fault_find(struct store *store, span path, struct arena *arena, struct entry *out,
                          struct directory **parent, struct fault *fault) {
  FAIL_ON_CUE(store, CALL_FIND, fault);
  struct store *inner = &state_of(store)->inner;
  struct directory *found;
  int32_t code = inner->ops->find(inner, path, arena, out, &found, fault);
  if (code < 0) return code;
  lie(store, out);
  return wrap(store, found, parent, fault);
}

static int32_t fault_enter(struct directory *parent, const struct entry *entry,
                           struct directory **out, struct fault *fault) {
  FAIL_ON_CUE(parent->store, CALL_ENTER, fault);
  struct directory *inner = inner_of(parent), *entered;
  int32_t code = inner->store->ops->enter(inner, entry, &entered, fault);
  return code < 0 ? code : wrap(parent->store, entered, out, fault);
}

static void fault_leave(struct directory *base) {
  if (!base) return;
  struct directory *inner = inner_of(base);
  inner->store->ops->leave(inner);
  free(base);
}

static int32_t fault_hold(struct directory *base, struct fault *fault) {
  FAIL_ON_CUE(base->store, CALL_HOLD, fault);
  struct directory *inner = inner_of(base);
  return inner->store->ops->hold(inner, fault);
}

static void fault_drop(struct directory *base) {
  struct directory *inner = inner_of(base);
  inner->store->ops->drop(inner);
}

// ── Looking ──

static int32_t fault_list(struct directory *base, struct listing *listing, struct fault *fault) {
  FAIL_ON_CUE(base->store, CALL_LIST, fault);
  struct directory *inner = inner_of(base);
  size_t first = listing->count;
  listing->takes_less = false;
  int32_t code = inner->store->ops->list(inner, listing, fault);
  for (size_t i = first; i < listing->count; i++) lie(base->store, &listing->entries[i]);
  return code;
}

static int32_t fault_stat(struct directory *base, struct entry *entry, bool follow,
                          struct fault *fault) {
  FAIL_ON_CUE(base->store, CALL_STAT, fault);
  struct directory *inner = inner_of(base);
  int32_t code = inner->store->ops->stat(inner, entry, follow, fault);
  if (code == 0) lie(base->store, entry);
  return code;
}

static int32_t fault_target(struct directory *base, struct entry *entry, struct arena *arena,
                            struct fault *fault) {
  FAIL_ON_CUE(base->store, CALL_TARGET, fault);
  struct directory *inner = inner_of(base);
  return inner->store->ops->target(inner, entry, arena, fault);
}

static int32_t fault_attributes(struct directory *base, const struct entry *entry,
                                struct arena *arena, span *out, struct fault *fault) {
  FAIL_ON_CUE(base->store, CALL_ATTRIBUTES, fault);
  struct directory *inner = inner_of(base);
  return inner->store->ops->attributes(inner, entry, arena, out, fault);
}

// ── Reading ──

static int32_t fault_open_reader(struct directory *base, const struct entry *entry,
                                 struct reader *out, struct fault *fault) {
  FAIL_ON_CUE(base->store, CALL_OPEN, fault);
  struct fault_reader *reader = malloc(sizeof *reader);
  if (!reader) return no_memory(fault);
  struct directory *inner = inner_of(base);
  int32_t code = inner->store->ops->reader(inner, entry, &reader->inner, fault);
  if (code < 0) {
    free(reader);
    return code;
  }
  atomic_init(&reader->end, UINT64_MAX);
  *out = (struct reader){.store = base->store, .fd = -1, .slot = {reader}};
  return 0;
}

// False when the task was cancelled meanwhile.
static bool wait_ms(const struct task *task, uint64_t milliseconds) {
  for (uint64_t i = 0; i < milliseconds; i++) {
    if (task_cancelled(task)) return false;
    nanosleep(&(struct timespec){.tv_nsec = 1'000'000}, nullptr);
  }
  return true;
}

static int64_t fault_read(struct reader *base, uint64_t at, uint8_t *into, size_t size,
                          struct fault *fault) {
  struct fault_state *state = state_of(base->store);
  struct fault_reader *reader = base->slot[0];
  bool is_failing = is_cue(state, CALL_READ);
  if (!wait_ms(base->store->task, state->delay_ms))
    return fault_set(fault, COPSE_E_CANCELLED, "cancelled while reading");
  if (is_failing && !state->does_cut) return fail(state, CALL_READ, fault);
  // A reader may be read by several workers, whose inner end must not be mixed up.
  struct reader inner = reader->inner;
  inner.at_end = false;
  int64_t got = inner.store->ops->read(&inner, at, into, size, fault);
  if (got < 0) return got;
  uint64_t count = (uint64_t)got;
  if (is_failing) {
    uint64_t kept = count > state->cut_bytes ? count - state->cut_bytes : 0;
    atomic_store_explicit(&reader->end, at + kept, memory_order_relaxed);
  }
  uint64_t end = atomic_load_explicit(&reader->end, memory_order_relaxed);
  uint64_t left = at < end ? end - at : 0;
  if (count > left) count = left;
  if (inner.at_end || (end != UINT64_MAX && count == left)) base->at_end = true;
  return (int64_t)count;
}

static void fault_read_end(struct reader *base) {
  struct fault_reader *reader = base->slot[0];
  reader->inner.store->ops->read_end(&reader->inner);
  free(reader);
  base->slot[0] = nullptr;
}

static int32_t fault_measure(struct reader *base, struct entry *out, bool *holes,
                             struct fault *fault) {
  FAIL_ON_CUE(base->store, CALL_MEASURE, fault);
  struct fault_reader *reader = base->slot[0];
  int32_t code = reader->inner.store->ops->measure(&reader->inner, out, holes, fault);
  if (code == 0) lie(base->store, out);
  return code;
}

static int32_t fault_next_data(struct reader *base, uint64_t at, uint64_t *begin, uint64_t *end,
                               struct fault *fault) {
  FAIL_ON_CUE(base->store, CALL_DATA, fault);
  struct fault_reader *reader = base->slot[0];
  const struct store_ops *ops = reader->inner.store->ops;
  if (ops->next_data) return ops->next_data(&reader->inner, at, begin, end, fault);
  *begin = at;
  *end = UINT64_MAX;
  return 1;
}

// ── Writing ──

static int32_t fault_above(struct store *store, bool make, struct arena *arena, struct entry *out,
                           struct directory **directory, struct fault *fault) {
  FAIL_ON_CUE(store, CALL_ABOVE, fault);
  struct store *inner = &state_of(store)->inner;
  if (!inner->ops->above)
    return fault_set(fault, COPSE_E_UNSUPPORTED, "the root of this place is always a directory");
  struct directory *above;
  int32_t code = inner->ops->above(inner, make, arena, out, &above, fault);
  if (code < 0) return code;
  lie(store, out);
  return wrap(store, above, directory, fault);
}

static int32_t fault_create(struct directory *base, const struct wanted *wanted,
                            struct directory **out, struct fault *fault) {
  FAIL_ON_CUE(base->store, CALL_CREATE, fault);
  struct directory *inner = inner_of(base), *created;
  int32_t code = inner->store->ops->create(inner, wanted, &created, fault);
  return code < 0 ? code : wrap(base->store, created, out, fault);
}

static int32_t fault_open_writer(struct directory *base, const struct wanted *wanted,
                                 struct writer **out, struct fault *fault) {
  FAIL_ON_CUE(base->store, CALL_WRITER, fault);
  struct fault_writer *writer = malloc(sizeof *writer);
  if (!writer) return no_memory(fault);
  *writer = (struct fault_writer){.base.store = base->store};
  struct directory *inner = inner_of(base);
  int32_t code = inner->store->ops->writer(inner, wanted, &writer->inner, fault);
  if (code < 0)
    free(writer);
  else
    *out = &writer->base;
  return code;
}

static int32_t fault_write(struct writer *base, uint64_t at, const uint8_t *bytes, size_t size,
                           struct fault *fault) {
  FAIL_ON_CUE(base->store, CALL_WRITE, fault);
  struct writer *inner = ((struct fault_writer *)base)->inner;
  return inner->store->ops->write(inner, at, bytes, size, fault);
}

static void fault_abandon(struct writer *base) {
  struct writer *inner = ((struct fault_writer *)base)->inner;
  inner->store->ops->abandon(inner);
  free(base);
}

static int32_t fault_commit(struct writer *base, uint64_t size, struct entry *out,
                            struct fault *fault) {
  struct fault_state *state = state_of(base->store);
  if (is_cue(state, CALL_COMMIT)) {  // a commit frees, even one that fails
    fault_abandon(base);
    return fail(state, CALL_COMMIT, fault);
  }
  struct writer *inner = ((struct fault_writer *)base)->inner;
  int32_t code = inner->store->ops->commit(inner, size, out, fault);
  free(base);
  return code;
}

static int32_t fault_make(struct directory *base, const struct wanted *wanted,
                          struct fault *fault) {
  FAIL_ON_CUE(base->store, CALL_MAKE, fault);
  struct directory *inner = inner_of(base);
  return inner->store->ops->make(inner, wanted, fault);
}

static int32_t fault_link(struct directory *from, const struct entry *from_entry,
                          struct directory *base, span name, struct fault *fault) {
  FAIL_ON_CUE(base->store, CALL_LINK, fault);
  struct directory *inner = inner_of(base);
  return inner->store->ops->link(inner_of(from), from_entry, inner, name, fault);
}

static int32_t fault_rename(struct directory *from, const struct entry *from_entry,
                            struct directory *base, span name, struct fault *fault) {
  FAIL_ON_CUE(base->store, CALL_RENAME, fault);
  struct directory *inner = inner_of(base);
  return inner->store->ops->rename(inner_of(from), from_entry, inner, name, fault);
}

static int32_t fault_remove(struct directory *base, const struct entry *entry,
                            struct fault *fault) {
  FAIL_ON_CUE(base->store, CALL_REMOVE, fault);
  struct directory *inner = inner_of(base);
  return inner->store->ops->remove(inner, entry, fault);
}

static int32_t fault_store_set(struct directory *base, const struct wanted *wanted,
                               struct fault *fault) {
  FAIL_ON_CUE(base->store, CALL_SET, fault);
  struct directory *inner = inner_of(base);
  return inner->store->ops->set(inner, wanted, fault);
}

static int32_t fault_settle(struct directory *base, struct fault *fault) {
  FAIL_ON_CUE(base->store, CALL_SETTLE, fault);
  struct directory *inner = inner_of(base);
  const struct store_ops *ops = inner->store->ops;
  return ops->settle ? ops->settle(inner, fault) : 0;
}

static int32_t fault_claim(struct directory *base, struct fault *fault) {
  FAIL_ON_CUE(base->store, CALL_CLAIM, fault);
  struct directory *inner = inner_of(base);
  const struct store_ops *ops = inner->store->ops;
  return ops->claim ? ops->claim(inner, fault) : 0;
}

static bool fault_is_stale(struct directory *base, const struct entry *entry, bool of_any_age) {
  struct directory *inner = inner_of(base);
  const struct store_ops *ops = inner->store->ops;
  return ops->is_stale && ops->is_stale(inner, entry, of_any_age);
}

static int32_t fault_finish(struct store *store, struct fault *fault) {
  FAIL_ON_CUE(store, CALL_FINISH, fault);
  struct store *inner = &state_of(store)->inner;
  return inner->ops->finish ? inner->ops->finish(inner, fault) : 0;
}

const struct store_ops fault_store = {
    .scheme = "fault",
    .can = 0,  // what the inner store can
    .open = fault_open,
    .close = fault_close,
    .root = fault_root,
    .find = fault_find,
    .enter = fault_enter,
    .leave = fault_leave,
    .hold = fault_hold,
    .drop = fault_drop,
    .list = fault_list,
    .stat = fault_stat,
    .target = fault_target,
    .attributes = fault_attributes,
    .reader = fault_open_reader,
    .read = fault_read,
    .read_end = fault_read_end,
    .measure = fault_measure,
    .next_data = fault_next_data,
    .above = fault_above,
    .create = fault_create,
    .writer = fault_open_writer,
    .write = fault_write,
    .commit = fault_commit,
    .abandon = fault_abandon,
    .make = fault_make,
    .link = fault_link,
    .rename = fault_rename,
    .remove = fault_remove,
    .set = fault_store_set,
    .settle = fault_settle,
    .claim = fault_claim,
    .is_stale = fault_is_stale,
    .finish = fault_finish,
};

#endif
