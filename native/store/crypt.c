#include "store/crypt.h"

#include <stdlib.h>

#include "base/record.h"
#include "engine/runtime.h"
#include "store/open.h"

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory");
}

// ── Benches ──

struct crypt_bench *crypt_bench_take(struct crypt_state *state, uint8_t part_log,
                                     struct fault *fault) {
  mutex_lock(&state->lock);
  struct crypt_bench *bench = state->benches;
  if (bench) state->benches = bench->next;
  mutex_unlock(&state->lock);
  if (!bench) bench = calloc(1, sizeof *bench);
  if (!bench) {
    no_memory(fault);
    return nullptr;
  }
  if (crypt_bench_room(state, bench, part_log, fault) == 0) return bench;
  crypt_bench_give(state, bench);
  return nullptr;
}

// What is reserved stays so as long as the bench is there, also when the system has no memory.
int32_t crypt_bench_room(struct crypt_state *state, struct crypt_bench *bench, uint8_t part_log,
                         struct fault *fault) {
  size_t wanted = crypt_bench_size(part_log);
  if (wanted > bench->reserved) {
    if (!buffer_reserve(&state->inner.runtime->buffers, wanted - bench->reserved))
      return fault_set(fault, COPSE_E_LIMIT,
                       "no memory is left for parts of files: give the runtime more, or do less at "
                       "once");
    bench->reserved = wanted;
  }
  return crypt_bench_ready(bench, part_log, fault);
}

void crypt_bench_give(struct crypt_state *state, struct crypt_bench *bench) {
  if (bench->seal.context) seal_forget(&bench->seal);
  mutex_lock(&state->lock);
  bench->next = state->benches;
  state->benches = bench;
  mutex_unlock(&state->lock);
}

// ── Opening ──

// Whether this place, or one around it, is what the task writes to.
static bool is_target(const struct task *task, span place) {
  span request = {task->request, task->request_len};
  uint64_t verb = record_number(request, COPSE_KEY_VERB, 0);
  span target = record_record(request, verb == COPSE_VERB_WRITE ? COPSE_KEY_LEFT : COPSE_KEY_RIGHT);
  bool writes = verb == COPSE_VERB_WRITE || verb == COPSE_VERB_SYNC;
  return writes && target.size && place.at >= target.at && place.at <= target.at + target.size;
}

static int32_t crypt_open(struct store *store, const struct place *place, struct fault *fault) {
  if (place->inner.size == 0)
    return fault_set(fault, COPSE_E_ARGUMENT, "a crypt place needs a place to wrap");
  struct crypt_state *state = calloc(1, sizeof *state);
  if (!state) return no_memory(fault);
  int32_t code = crypt_keys_begin(&state->keys, place, store->task, fault);
  if (code < 0) {
    free(state);
    return code;
  }
  struct field level;
  bool is_said = record_find(place->record, COPSE_PLACE_CRYPT_LEVEL, COPSE_FIELD_NUMBER, &level);
  state->is_said = is_said || state->keys.kind != CRYPT_NO_KEY;
  state->is_target = is_target(store->task, place->record);
  if (is_said && level.number > 22)
    code = fault_set(fault, COPSE_E_ARGUMENT, "zstd has levels from 1 to 22");
  else if (is_said)
    state->level = (int)level.number;
  if (code == 0)
    code = store_open_in(&state->inner, place->inner, place->above, store->task, fault);
  if (code < 0) {
    crypt_keys_end(&state->keys);
    free(state);
    return code;
  }
  mutex_begin(&state->lock);
  store->state = state;
  // Content is another one here than there, and is written in one stream.
  constexpr uint32_t NOT_HERE =
      CAN_TREE | CAN_DIGEST | CAN_RESUME | CAN_PARALLEL | CAN_IDENTITY | ONLY_FORWARD | ONLY_DIGEST;
  store->can = state->inner.can & ~NOT_HERE;
  if (store->shown.size == 0) store->shown = state->inner.shown;
  return 0;
}

static void crypt_close(struct store *store) {
  struct crypt_state *state = crypt_state_of(store);
  while (state->benches) {
    struct crypt_bench *bench = state->benches;
    state->benches = bench->next;
    buffer_release(&state->inner.runtime->buffers, bench->reserved);
    crypt_bench_end(bench);
    free(bench);
  }
  crypt_keys_end(&state->keys);
  store_close(&state->inner);
  mutex_end(&state->lock);
  free(state);
}

// ── Entries ──

// The size that its content has here. What is damaged in a place that is written to has none, so
// that it differs from whatever its source is.
static int32_t know_size(struct directory *inner, struct crypt_state *state, struct entry *entry,
                         struct fault *fault) {
  if (entry->type != ENTRY_FILE || !(entry->has & HAS_STAT)) return 0;
  uint64_t raw_size = entry->size;
  entry->ctime_ns = 0;  // what is known by it of the stored file is not known of this content
  entry->size = COPSE_UNKNOWN;
  entry->has &= (uint8_t)~HAS_SIZE;
  if (state->inner.can & ONLY_ONCE) return 0;  // what is looked at is gone
  struct crypt_bench *bench = crypt_bench_take(state, 0, fault);
  if (!bench) return fault->code;
  struct reader reader;
  struct crypt_header header;
  struct crypt_trailer trailer;
  int32_t code = inner->store->ops->reader(inner, entry, &reader, fault);
  if (code == 0) {
    code = crypt_look(state, bench, &reader, raw_size, &header, &trailer, fault);
    inner->store->ops->read_end(&reader);
  }
  crypt_bench_give(state, bench);
  if (code == 0) {
    entry->size = trailer.size;
    entry->has |= HAS_SIZE;
  } else if (code == COPSE_E_CORRUPT && state->is_target) {
    *fault = (struct fault){};
    code = 0;
  }
  return code;
}

// Puts a wrapper around a directory of the inner store, or ends it.
static int32_t wrap(struct store *store, struct directory *inner, struct directory **out,
                    struct fault *fault) {
  struct crypt_directory *directory = malloc(sizeof *directory);
  if (!directory) {
    inner->store->ops->leave(inner);
    return no_memory(fault);
  }
  *directory = (struct crypt_directory){.base.store = store, .inner = inner};
  *out = &directory->base;
  return 0;
}

// The same with an entry in it.
static int32_t wrap_entry(struct store *store, struct directory *inner, struct entry *entry,
                          struct directory **out, struct fault *fault) {
  int32_t code = know_size(inner, crypt_state_of(store), entry, fault);
  if (code == 0) return wrap(store, inner, out, fault);
  inner->store->ops->leave(inner);
  return code;
}

static int32_t crypt_root(struct store *store, struct arena *arena, struct entry *out,
                          struct directory **directory, struct fault *fault) {
  struct store *inner = &crypt_state_of(store)->inner;
  struct directory *root;
  int32_t code = inner->ops->root(inner, arena, out, &root, fault);
  return code < 0 ? code : wrap_entry(store, root, out, directory, fault);
}

static int32_t crypt_find(struct store *store, span path, struct arena *arena, struct entry *out,
                          struct directory **parent, struct fault *fault) {
  struct store *inner = &crypt_state_of(store)->inner;
  struct directory *found;
  inner->lingers = store->lingers;
  int32_t code = inner->ops->find(inner, path, arena, out, &found, fault);
  return code < 0 ? code : wrap_entry(store, found, out, parent, fault);
}

static int32_t crypt_enter(struct directory *parent, const struct entry *entry,
                           struct directory **out, struct fault *fault) {
  struct directory *inner = crypt_inner(parent), *entered;
  int32_t code = inner->store->ops->enter(inner, entry, &entered, fault);
  return code < 0 ? code : wrap(parent->store, entered, out, fault);
}

static void crypt_leave(struct directory *base) {
  if (!base) return;
  struct directory *inner = crypt_inner(base);
  inner->store->ops->leave(inner);
  free(base);
}

static int32_t crypt_hold(struct directory *base, struct fault *fault) {
  struct directory *inner = crypt_inner(base);
  return inner->store->ops->hold(inner, fault);
}

static void crypt_drop(struct directory *base) {
  struct directory *inner = crypt_inner(base);
  inner->store->ops->drop(inner);
}

// Sizes that a listing brings are not those of the content; whoever wants them asks for each. They
// are taken out, so what has any must not be lent.
static int32_t crypt_list(struct directory *base, struct listing *listing, struct fault *fault) {
  struct directory *inner = crypt_inner(base);
  size_t first = listing->count;
  listing->takes_less = listing->takes_less && !(inner->store->can & CAN_DIGEST);
  int32_t code = inner->store->ops->list(inner, listing, fault);
  for (size_t i = first; listing->entries && i < listing->count; i++)
    if (listing->entries[i].type == ENTRY_FILE)
      listing->entries[i].has &= (uint8_t)~(HAS_STAT | HAS_SIZE | HAS_DIGEST);
  return code;
}

static int32_t crypt_stat(struct directory *base, struct entry *entry, bool follow,
                          struct fault *fault) {
  struct directory *inner = crypt_inner(base);
  int32_t code = inner->store->ops->stat(inner, entry, follow, fault);
  return code < 0 ? code : know_size(inner, crypt_state_of(base->store), entry, fault);
}

static int32_t crypt_target(struct directory *base, struct entry *entry, struct arena *arena,
                            struct fault *fault) {
  struct directory *inner = crypt_inner(base);
  return inner->store->ops->target(inner, entry, arena, fault);
}

static int32_t crypt_attributes(struct directory *base, const struct entry *entry,
                                struct arena *arena, span *out, struct fault *fault) {
  struct directory *inner = crypt_inner(base);
  return inner->store->ops->attributes(inner, entry, arena, out, fault);
}

// ── Writing all but content ──

static int32_t crypt_above(struct store *store, bool make, struct arena *arena, struct entry *out,
                           struct directory **directory, struct fault *fault) {
  struct store *inner = &crypt_state_of(store)->inner;
  if (!inner->ops->above)
    return fault_set(fault, COPSE_E_UNSUPPORTED, "the root of this place is always a directory");
  struct directory *above;
  int32_t code = inner->ops->above(inner, make, arena, out, &above, fault);
  return code < 0 ? code : wrap_entry(store, above, out, directory, fault);
}

static int32_t crypt_create(struct directory *base, const struct wanted *wanted,
                            struct directory **out, struct fault *fault) {
  struct directory *inner = crypt_inner(base), *created;
  int32_t code = inner->store->ops->create(inner, wanted, &created, fault);
  return code < 0 ? code : wrap(base->store, created, out, fault);
}

static int32_t crypt_make(struct directory *base, const struct wanted *wanted,
                          struct fault *fault) {
  struct directory *inner = crypt_inner(base);
  return inner->store->ops->make(inner, wanted, fault);
}

static int32_t crypt_link(struct directory *from, const struct entry *from_entry,
                          struct directory *base, span name, struct fault *fault) {
  struct directory *inner = crypt_inner(base);
  if (!inner->store->ops->link)
    return fault_set(fault, COPSE_E_UNSUPPORTED, "a file has one name here");
  return inner->store->ops->link(crypt_inner(from), from_entry, inner, name, fault);
}

static int32_t crypt_rename(struct directory *from, const struct entry *from_entry,
                            struct directory *base, span name, struct fault *fault) {
  struct directory *inner = crypt_inner(base);
  if (!inner->store->ops->rename)
    return fault_set(fault, COPSE_E_UNSUPPORTED, "nothing is renamed here");
  return inner->store->ops->rename(crypt_inner(from), from_entry, inner, name, fault);
}

static int32_t crypt_remove(struct directory *base, const struct entry *entry,
                            struct fault *fault) {
  struct directory *inner = crypt_inner(base);
  return inner->store->ops->remove(inner, entry, fault);
}

static int32_t crypt_set(struct directory *base, const struct wanted *wanted, struct fault *fault) {
  struct directory *inner = crypt_inner(base);
  return inner->store->ops->set(inner, wanted, fault);
}

static int32_t crypt_settle(struct directory *base, struct fault *fault) {
  struct directory *inner = crypt_inner(base);
  const struct store_ops *ops = inner->store->ops;
  return ops->settle ? ops->settle(inner, fault) : 0;
}

static int32_t crypt_claim(struct directory *base, struct fault *fault) {
  struct directory *inner = crypt_inner(base);
  const struct store_ops *ops = inner->store->ops;
  return ops->claim ? ops->claim(inner, fault) : 0;
}

static bool crypt_is_stale(struct directory *base, const struct entry *entry, bool of_any_age) {
  struct directory *inner = crypt_inner(base);
  const struct store_ops *ops = inner->store->ops;
  return ops->is_stale && ops->is_stale(inner, entry, of_any_age);
}

static bool crypt_is_itself(const struct store *store, const struct store *other,
                            const struct entry *entry) {
  const struct store *inner = &crypt_state_of(store)->inner;
  return inner->ops->is_itself && inner->ops->is_itself(inner, other, entry);
}

static int32_t crypt_finish(struct store *store, struct fault *fault) {
  struct store *inner = &crypt_state_of(store)->inner;
  return inner->ops->finish ? inner->ops->finish(inner, fault) : 0;
}

const struct store_ops crypt_store = {
    .scheme = "crypt",
    .can = 0,  // what the inner store can
    .library = "libcrypto",
    .version = seal_version,
    .open = crypt_open,
    .close = crypt_close,
    .root = crypt_root,
    .find = crypt_find,
    .enter = crypt_enter,
    .leave = crypt_leave,
    .hold = crypt_hold,
    .drop = crypt_drop,
    .list = crypt_list,
    .stat = crypt_stat,
    .target = crypt_target,
    .attributes = crypt_attributes,
    .reader = crypt_reader,
    .read = crypt_read,
    .piece = crypt_piece,
    .lend = crypt_lend,
    .read_end = crypt_read_end,
    .measure = crypt_measure,
    .above = crypt_above,
    .create = crypt_create,
    .writer = crypt_writer,
    .write = crypt_write,
    .commit = crypt_commit,
    .abandon = crypt_abandon,
    .make = crypt_make,
    .link = crypt_link,
    .rename = crypt_rename,
    .remove = crypt_remove,
    .set = crypt_set,
    .settle = crypt_settle,
    .claim = crypt_claim,
    .is_stale = crypt_is_stale,
    .is_itself = crypt_is_itself,
    .finish = crypt_finish,
};
