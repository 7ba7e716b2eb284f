// files: a tree given as a table, path in the tree to the place of that file. The places are of any
// scheme; each is opened when its file is asked for, and closed with the table.
//
// The table is sorted once. A directory is a range of it, so nothing is built for one.
#include <stdlib.h>

#include "base/path.h"
#include "base/record.h"
#include "engine/runtime.h"
#include "engine/thread.h"
#include "store/open.h"
#include "store/paths.h"

struct item {
  span path;
  span record;   // of the file's place
  bool is_open;  // guarded by the state's lock
  struct store store;
};

struct files_state {
  mutex lock;
  span above;  // what the table says of all its places
  size_t count;
  struct item items[];
};

struct files_directory {
  struct directory base;
  size_t begin, end;  // of the items
  size_t prefix;      // bytes of their paths before the names in this directory
};

struct files_reader {
  struct directory *directory;  // of the inner store
  struct reader inner;
};

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory");
}

static int32_t not_found(struct fault *fault) {
  return fault_set(fault, COPSE_E_NOT_FOUND, "the table has no such path; list shows those it has");
}

static struct files_state *state_of(const struct store *store) { return store->state; }

// ── The table ──

static int32_t check_items(struct files_state *state, struct fault *fault) {
  for (size_t i = 0; i < state->count; i++) {
    span path = state->items[i].path;
    int32_t code = path.size ? path_safe(path, fault)
                             : fault_set(fault, COPSE_E_ARGUMENT, "a file without a path");
    if (code < 0) return code;
    if (i == 0) continue;
    span last = state->items[i - 1].path;
    bool is_below = paths_below(path, last);
    if (is_below || span_equal(path, last))
      return fault_set(fault, COPSE_E_ARGUMENT,
                       is_below ? "a path in the table is a file and a directory"
                                : "a path is twice in the table");
  }
  return 0;
}

static void files_close(struct store *store) {
  struct files_state *state = state_of(store);
  for (size_t i = 0; i < state->count; i++)
    if (state->items[i].is_open) store_close(&state->items[i].store);
  mutex_end(&state->lock);
  free(state);
}

static int32_t files_open(struct store *store, const struct place *place, struct fault *fault) {
  size_t count = 0, above = 0;
  struct field field;
  for (span rest = place->record; record_next(&rest, &field, fault) == 1;) {
    count += field.key == COPSE_PLACE_FILE && field.kind == COPSE_FIELD_RECORD;
    if (count == 0) above = place->record.size - rest.size;
  }
  struct files_state *state = calloc(1, sizeof *state + count * sizeof *state->items);
  if (!state) return no_memory(fault);
  mutex_begin(&state->lock);
  state->above = (span){place->record.at, above};
  for (span rest = place->record; record_next(&rest, &field, fault) == 1;) {
    if (field.key != COPSE_PLACE_FILE || field.kind != COPSE_FIELD_RECORD) continue;
    state->items[state->count++] =
        (struct item){.path = record_text(field.bytes, COPSE_PLACE_PATH),
                      .record = record_record(field.bytes, COPSE_PLACE_INNER)};
  }
  if (count > 1) qsort(state->items, count, sizeof *state->items, paths_compare);
  store->state = state;
  int32_t code = check_items(state, fault);
  if (code < 0) files_close(store);
  return code;
}

// The store of an item, opened. That does no I/O, so the lock may be held.
static int32_t item_open(struct store *store, struct item *item, struct fault *fault) {
  struct files_state *state = state_of(store);
  int32_t code = 0;
  mutex_lock(&state->lock);
  if (!item->is_open) {
    code = store_open_in(&item->store, item->record, state->above, store->task, fault);
    item->is_open = code == 0;
  }
  mutex_unlock(&state->lock);
  return code;
}

// The file an item stands for, as its own store sees it.
static int32_t item_root(struct store *store, struct item *item, struct arena *arena,
                         struct entry *out, struct directory **directory, struct fault *fault) {
  int32_t code = item_open(store, item, fault);
  if (code == 0) code = item->store.ops->root(&item->store, arena, out, directory, fault);
  if (code < 0 || out->type == ENTRY_FILE) return code;
  item->store.ops->leave(*directory);
  return fault_set(fault, COPSE_E_UNSUPPORTED,
                   "what the table names here is no file: name files only");
}

// ── Directories ──

static struct files_directory *directory_new(struct store *store, size_t begin, size_t end,
                                             size_t prefix) {
  struct files_directory *directory = malloc(sizeof *directory);
  if (directory)
    *directory =
        (struct files_directory){.base.store = store, .begin = begin, .end = end, .prefix = prefix};
  return directory;
}

static struct paths paths_of(const struct store *store) {
  return (struct paths){(const uint8_t *)state_of(store)->items, sizeof(struct item)};
}

// The items of one name in a directory: [*begin, *end).
static bool find_name(const struct files_directory *directory, span name, size_t *begin,
                      size_t *end, bool *is_directory) {
  struct paths paths = paths_of(directory->base.store);
  return paths_find(&paths, directory->begin, directory->end, directory->prefix, name, begin, end,
                    is_directory);
}

static void fill_directory(struct entry *entry, span name) {
  *entry =
      (struct entry){.name = name, .type = ENTRY_DIRECTORY, .mtime_ns = INT64_MIN, .has = HAS_STAT};
}

static int32_t files_root(struct store *store, struct arena *, struct entry *out,
                          struct directory **directory, struct fault *fault) {
  struct files_directory *made = directory_new(store, 0, state_of(store)->count, 0);
  if (!made) return no_memory(fault);
  fill_directory(out, SPAN(""));
  *directory = &made->base;
  return 0;
}

static int32_t files_stat(struct directory *base, struct entry *entry, bool follow,
                          struct fault *fault);

static int32_t files_find(struct store *store, span path, struct arena *arena, struct entry *out,
                          struct directory **parent, struct fault *fault) {
  struct files_directory at = {
      .base.store = store, .begin = 0, .end = state_of(store)->count, .prefix = 0};
  struct files_directory above = at;
  span rest = path, part;
  bool is_directory = true;
  while (path_next(&rest, &part)) {
    size_t begin, end;
    if (!is_directory || !find_name(&at, part, &begin, &end, &is_directory))
      return not_found(fault);
    above = at;
    at = (struct files_directory){
        .base.store = store, .begin = begin, .end = end, .prefix = at.prefix + part.size + 1};
  }
  span name = arena_copy(arena, path_name(path));
  struct files_directory *made = directory_new(store, above.begin, above.end, above.prefix);
  if (!made || !name.at) {
    free(made);
    return no_memory(fault);
  }
  fill_directory(out, name);
  int32_t code = 0;
  if (!is_directory) {
    *out = (struct entry){.name = name, .type = ENTRY_FILE, .mtime_ns = INT64_MIN};
    code = files_stat(&made->base, out, false, fault);
  }
  if (code < 0)
    free(made);
  else
    *parent = &made->base;
  return code;
}

static int32_t files_enter(struct directory *parent, const struct entry *entry,
                           struct directory **out, struct fault *fault) {
  const struct files_directory *above = (struct files_directory *)parent;
  size_t begin, end;
  bool is_directory;
  if (!find_name(above, entry->name, &begin, &end, &is_directory) || !is_directory)
    return not_found(fault);
  struct files_directory *made =
      directory_new(parent->store, begin, end, above->prefix + entry->name.size + 1);
  if (!made) return no_memory(fault);
  *out = &made->base;
  return 0;
}

static void files_leave(struct directory *directory) { free(directory); }
static int32_t files_hold(struct directory *, struct fault *) { return 0; }
static void files_drop(struct directory *) {}

static int32_t files_list(struct directory *base, struct listing *listing, struct fault *fault) {
  const struct files_directory *directory = (struct files_directory *)base;
  struct paths paths = paths_of(base->store);
  for (size_t i = directory->begin; i < directory->end;) {
    bool is_directory;
    size_t begin, end = i + 1;
    span name = paths_name(&paths, i, directory->prefix, &is_directory);
    if (listing_add_name(listing, name, is_directory ? ENTRY_DIRECTORY : ENTRY_FILE, fault) < 0)
      return fault->code;
    if (is_directory) find_name(directory, name, &begin, &end, &is_directory);
    i = end;
  }
  return 0;
}

static struct item *item_of(struct directory *base, span name) {
  size_t begin, end;
  bool is_directory;
  if (!find_name((struct files_directory *)base, name, &begin, &end, &is_directory) || is_directory)
    return nullptr;
  return &state_of(base->store)->items[begin];
}

static int32_t files_stat(struct directory *base, struct entry *entry, bool, struct fault *fault) {
  if (entry->type == ENTRY_DIRECTORY) {
    fill_directory(entry, entry->name);
    return 0;
  }
  struct item *item = item_of(base, entry->name);
  if (!item) return not_found(fault);
  struct arena arena;
  arena_begin(&arena);
  struct entry inner = {};
  struct directory *directory = nullptr;
  int32_t code = item_root(base->store, item, &arena, &inner, &directory, fault);
  if (code == 0) {
    inner.name = entry->name;
    inner.target = (span){};
    inner.has &= (uint8_t)~(HAS_TARGET | HAS_FOLLOWED);
    *entry = inner;
    item->store.ops->leave(directory);
  }
  arena_free(&arena);
  return code;
}

static int32_t files_target(struct directory *, struct entry *, struct arena *,
                            struct fault *fault) {
  return fault_set(fault, COPSE_E_UNSUPPORTED, "a table of files has no links");
}

static int32_t files_attributes(struct directory *, const struct entry *, struct arena *, span *,
                                struct fault *fault) {
  return fault_set(fault, COPSE_E_UNSUPPORTED, "a table of files has no extended attributes");
}

// ── Reading: the inner store's ──

static void files_ahead(struct store *store, struct directory *base, const struct entry *entry) {
  struct fault fault = {};
  struct item *item = base ? item_of(base, entry->name) : nullptr;
  if (!item || item_open(store, item, &fault) < 0) return;
  if (item->store.ops->ahead) item->store.ops->ahead(&item->store, nullptr, nullptr);
}

static int32_t files_reader(struct directory *base, const struct entry *entry, struct reader *out,
                            struct fault *fault) {
  struct item *item = item_of(base, entry->name);
  if (!item) return not_found(fault);
  struct files_reader *reader = calloc(1, sizeof *reader);
  if (!reader) return no_memory(fault);
  struct arena arena;
  arena_begin(&arena);
  struct entry inner = {};
  int32_t code = item_root(base->store, item, &arena, &inner, &reader->directory, fault);
  if (code == 0) {
    code = item->store.ops->reader(reader->directory, &inner, &reader->inner, fault);
    if (code < 0) item->store.ops->leave(reader->directory);
  }
  arena_free(&arena);
  if (code < 0) {
    free(reader);
    return code;
  }
  *out = (struct reader){
      .store = base->store, .access = reader->inner.access, .fd = -1, .slot = {reader}};
  return 0;
}

static int64_t files_read(struct reader *base, uint64_t at, uint8_t *into, size_t size,
                          struct fault *fault) {
  const struct files_reader *reader = base->slot[0];
  struct reader inner = reader->inner;  // a worker's own: several may read at once
  inner.at_end = false;
  int64_t got = inner.store->ops->read(&inner, at, into, size, fault);
  if (inner.at_end) base->at_end = true;
  return got;
}

static int32_t files_scatter(struct reader *base, const struct range *done, size_t done_count,
                             struct fault *fault) {
  struct files_reader *reader = base->slot[0];
  const struct store_ops *ops = reader->inner.store->ops;
  return ops->scatter ? ops->scatter(&reader->inner, done, done_count, fault) : 0;
}

static int64_t files_read_any(struct reader *base, uint64_t *at, uint8_t *into, size_t size,
                              struct fault *fault) {
  struct files_reader *reader = base->slot[0];
  return reader->inner.store->ops->read_any(&reader->inner, at, into, size, fault);
}

static void files_read_end(struct reader *base) {
  struct files_reader *reader = base->slot[0];
  const struct store_ops *ops = reader->inner.store->ops;
  ops->read_end(&reader->inner);
  ops->leave(reader->directory);
  free(reader);
  base->slot[0] = nullptr;
}

static int32_t files_measure(struct reader *base, struct entry *out, bool *holes,
                             struct fault *fault) {
  struct files_reader *reader = base->slot[0];
  return reader->inner.store->ops->measure(&reader->inner, out, holes, fault);
}

static int32_t files_next_data(struct reader *base, uint64_t at, uint64_t *begin, uint64_t *end,
                               struct fault *fault) {
  struct files_reader *reader = base->slot[0];
  const struct store_ops *ops = reader->inner.store->ops;
  if (ops->next_data) return ops->next_data(&reader->inner, at, begin, end, fault);
  *begin = at;
  *end = UINT64_MAX;
  return 1;
}

static bool files_promised(const struct reader *base, uint32_t *algorithm, const uint8_t **digest) {
  const struct files_reader *reader = base->slot[0];
  const struct store_ops *ops = reader->inner.store->ops;
  return ops->promised && ops->promised(&reader->inner, algorithm, digest);
}

const struct store_ops files_store = {
    .scheme = "files",
    .can = CAN_LIST | CAN_RANGE | IS_VIEW,
    .open = files_open,
    .close = files_close,
    .root = files_root,
    .find = files_find,
    .enter = files_enter,
    .leave = files_leave,
    .hold = files_hold,
    .drop = files_drop,
    .list = files_list,
    .stat = files_stat,
    .target = files_target,
    .attributes = files_attributes,
    .reader = files_reader,
    .ahead = files_ahead,
    .read = files_read,
    .scatter = files_scatter,
    .read_any = files_read_any,
    .read_end = files_read_end,
    .measure = files_measure,
    .promised = files_promised,
    .next_data = files_next_data,
};
