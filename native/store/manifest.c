// manifest: a tree of which only a list with hashes is there. It wraps the place of the list, which
// any store may hold. Files have digests and no content: comparing hashes the other side.
//
// The list is read when the root is asked for. A directory is a range of the sorted table.
#include <stdlib.h>

#include "base/path.h"
#include "base/record.h"
#include "engine/task.h"
#include "engine/thread.h"
#include "store/manifest_parse.h"
#include "store/open.h"
#include "store/paths.h"

constexpr size_t TEXT_MAX = 1 << 30;  // more than ten million lines
constexpr size_t READ_BYTES = 256 * 1024;

struct manifest_state {
  mutex lock;
  struct store inner;
  uint32_t algorithm;  // of a list, which does not say
  bool is_loaded;      // guarded by the lock
  struct manifest manifest;
};

struct manifest_directory {
  struct directory base;
  size_t begin, end;  // of the items below it
  size_t prefix;      // bytes of their paths before the names in it
};

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory");
}

static int32_t not_found(struct fault *fault) {
  return fault_set(fault, COPSE_E_NOT_FOUND,
                   "the manifest has no such path; list shows those it has");
}

static int32_t no_content(struct fault *fault) {
  return fault_set(fault, COPSE_E_UNSUPPORTED,
                   "a manifest has no content: it can be listed and compared with");
}

static struct manifest_state *state_of(const struct store *store) { return store->state; }

// ── Loading ──

static void manifest_close(struct store *store) {
  struct manifest_state *state = state_of(store);
  store_close(&state->inner);
  manifest_free(&state->manifest);
  mutex_end(&state->lock);
  free(state);
}

static int32_t manifest_open(struct store *store, const struct place *place, struct fault *fault) {
  if (place->inner.size == 0)
    return fault_set(fault, COPSE_E_ARGUMENT, "a manifest without a place where it is");
  struct manifest_state *state = calloc(1, sizeof *state);
  if (!state) return no_memory(fault);
  mutex_begin(&state->lock);
  state->algorithm =
      (uint32_t)record_number(place->record, COPSE_PLACE_ALGORITHM, COPSE_ALGORITHM_SHA256);
  store->state = state;
  int32_t code = store_open_in(&state->inner, place->inner, place->above, store->task, fault);
  if (code == 0 && state->algorithm > COPSE_ALGORITHM_SHA256)
    code = fault_set(fault, COPSE_E_ARGUMENT, "an unknown algorithm");
  if (code < 0) manifest_close(store);
  return code;
}

static int32_t read_text(struct store *inner, struct reader *reader, uint8_t **text, size_t *size,
                         struct fault *fault) {
  size_t capacity = 0;
  while (!reader->at_end) {
    if (task_cancelled(inner->task)) return fault_set(fault, COPSE_E_CANCELLED, "cancelled");
    if (capacity - *size < READ_BYTES) {
      capacity = capacity ? capacity * 2 : 2 * READ_BYTES;
      uint8_t *larger = realloc(*text, capacity);
      if (!larger) return no_memory(fault);
      *text = larger;
    }
    int64_t n = inner->ops->read(reader, *size, *text + *size, READ_BYTES, fault);
    if (n < 0) return (int32_t)n;
    *size += (size_t)n;
    if (*size > TEXT_MAX)
      return fault_set(fault, COPSE_E_LIMIT, "the manifest is larger than %zu bytes", TEXT_MAX);
    if (n == 0) break;
  }
  return 0;
}

static int32_t load(struct store *store, struct fault *fault) {
  struct manifest_state *state = state_of(store);
  struct store *inner = &state->inner;
  struct arena arena;
  arena_begin(&arena);
  struct entry entry = {};
  struct directory *directory = nullptr;
  int32_t code = inner->ops->root(inner, &arena, &entry, &directory, fault);
  uint8_t *text = nullptr;
  size_t size = 0;
  if (code == 0 && entry.type != ENTRY_FILE)
    code = fault_set(fault, COPSE_E_UNSUPPORTED, "a manifest is a file");
  struct reader reader = {};
  if (code == 0 && (code = inner->ops->reader(directory, &entry, &reader, fault)) == 0) {
    code = read_text(inner, &reader, &text, &size, fault);
    inner->ops->read_end(&reader);
  }
  if (code == 0)
    code = manifest_parse((span){text, size}, state->algorithm, &state->manifest, fault);
  inner->ops->leave(directory);
  arena_free(&arena);
  free(text);
  return code;
}

static int32_t loaded(struct store *store, struct fault *fault) {
  struct manifest_state *state = state_of(store);
  mutex_lock(&state->lock);
  int32_t code = state->is_loaded ? 0 : load(store, fault);
  state->is_loaded = code == 0;
  if (code == 0) store->algorithm = state->manifest.algorithm;
  mutex_unlock(&state->lock);
  return code;
}

// ── Directories ──

static const struct manifest_item *items_of(const struct directory *directory) {
  return state_of(directory->store)->manifest.items;
}

static struct paths paths_of(const struct directory *directory) {
  return (struct paths){(const uint8_t *)items_of(directory), sizeof(struct manifest_item)};
}

// `is_part`: the item is further down.
static void fill(const struct manifest_directory *directory, size_t number, bool is_part,
                 struct entry *entry) {
  span name = entry->name;
  const struct manifest_item *item = &items_of(&directory->base)[number];
  *entry = (struct entry){.name = name, .mtime_ns = INT64_MIN, .has = HAS_STAT};
  entry->type = is_part ? ENTRY_DIRECTORY : item->type;
  if (entry->type == ENTRY_DIRECTORY) return;
  entry->size = item->size;
  if (entry->type == ENTRY_LINK) {
    entry->target = item->target;
    entry->has |= HAS_TARGET;
    return;
  }
  entry->digest = item->digest;
  entry->has |= HAS_DIGEST;
  if (item->size != COPSE_UNKNOWN) entry->has |= HAS_SIZE;
}

static int32_t directory_new(struct store *store, size_t begin, size_t end, size_t prefix,
                             struct directory **out, struct fault *fault) {
  struct manifest_directory *made = malloc(sizeof *made);
  if (!made) return no_memory(fault);
  *made = (struct manifest_directory){
      .base.store = store, .begin = begin, .end = end, .prefix = prefix};
  *out = &made->base;
  return 0;
}

static int32_t manifest_root(struct store *store, struct arena *, struct entry *out,
                             struct directory **directory, struct fault *fault) {
  int32_t code = loaded(store, fault);
  if (code < 0) return code;
  *out = (struct entry){
      .name = SPAN(""), .type = ENTRY_DIRECTORY, .mtime_ns = INT64_MIN, .has = HAS_STAT};
  return directory_new(store, 0, state_of(store)->manifest.count, 0, directory, fault);
}

static int32_t below(const struct manifest_directory *at, span name, struct manifest_directory *out,
                     struct entry *entry, struct fault *fault) {
  struct paths paths = paths_of(&at->base);
  size_t begin, end;
  bool is_part;
  if (!paths_find(&paths, at->begin, at->end, at->prefix, name, &begin, &end, &is_part))
    return not_found(fault);
  entry->name = name;
  fill(at, begin, is_part, entry);
  // The item of the directory itself is not in it.
  if (items_of(&at->base)[begin].path.size == at->prefix + name.size) begin++;
  *out = (struct manifest_directory){
      .base = at->base, .begin = begin, .end = end, .prefix = at->prefix + name.size + 1};
  return 0;
}

static int32_t manifest_find(struct store *store, span path, struct arena *arena, struct entry *out,
                             struct directory **parent, struct fault *fault) {
  int32_t code = loaded(store, fault);
  struct manifest_directory at = {.base.store = store}, above = at;
  struct entry entry = {.type = ENTRY_DIRECTORY};
  if (code == 0) at.end = state_of(store)->manifest.count;
  for (span rest = path, part; code == 0 && path_next(&rest, &part);) {
    above = at;
    code =
        entry.type == ENTRY_DIRECTORY ? below(&above, part, &at, &entry, fault) : not_found(fault);
  }
  if (code < 0) return code;
  *out = entry;
  out->name = arena_copy(arena, path_name(path));
  if (!out->name.at) return no_memory(fault);
  return directory_new(store, above.begin, above.end, above.prefix, parent, fault);
}

static int32_t manifest_enter(struct directory *parent, const struct entry *entry,
                              struct directory **out, struct fault *fault) {
  struct manifest_directory made;
  struct entry found;
  int32_t code = below((struct manifest_directory *)parent, entry->name, &made, &found, fault);
  if (code == 0 && found.type != ENTRY_DIRECTORY) code = not_found(fault);
  return code < 0 ? code
                  : directory_new(parent->store, made.begin, made.end, made.prefix, out, fault);
}

static void manifest_leave(struct directory *directory) { free(directory); }
static int32_t manifest_hold(struct directory *, struct fault *) { return 0; }
static void manifest_drop(struct directory *) {}

static int32_t manifest_list(struct directory *base, struct listing *listing, struct fault *fault) {
  const struct manifest_directory *directory = (struct manifest_directory *)base;
  struct paths paths = paths_of(base);
  for (size_t i = directory->begin; i < directory->end;) {
    bool is_part;
    span name = paths_name(&paths, i, directory->prefix, &is_part);
    struct entry *entry = listing_add(listing, name, ENTRY_FILE, fault);
    if (!entry) return fault->code;
    fill(directory, i, is_part, entry);
    size_t first = i++;
    if (entry->type == ENTRY_DIRECTORY)
      paths_find(&paths, first, directory->end, directory->prefix, name, &first, &i, &is_part);
  }
  return 0;
}

static int32_t manifest_stat(struct directory *base, struct entry *entry, bool follow,
                             struct fault *fault) {
  struct manifest_directory made;
  struct entry found;
  span name = entry->name;
  int32_t code = below((struct manifest_directory *)base, name, &made, &found, fault);
  if (code < 0) return code;
  if (follow && found.type == ENTRY_LINK)
    return fault_set(fault, COPSE_E_UNSUPPORTED,
                     "a manifest says where a link leads, not what is there; keep links");
  *entry = found;
  return 0;
}

static int32_t manifest_target(struct directory *base, struct entry *entry, struct arena *,
                               struct fault *fault) {
  return manifest_stat(base, entry, false, fault);  // it comes with the rest
}

static int32_t manifest_attributes(struct directory *, const struct entry *, struct arena *, span *,
                                   struct fault *fault) {
  return no_content(fault);
}

static int32_t manifest_reader(struct directory *, const struct entry *, struct reader *,
                               struct fault *fault) {
  return no_content(fault);
}

static int64_t manifest_read(struct reader *, uint64_t, uint8_t *, size_t, struct fault *fault) {
  return no_content(fault);
}

static void manifest_read_end(struct reader *) {}

static int32_t manifest_measure(struct reader *, struct entry *, bool *, struct fault *fault) {
  return no_content(fault);
}

const struct store_ops manifest_store = {
    .scheme = "manifest",
    .can = CAN_LIST | CAN_LINKS | CAN_DIGEST | ONLY_DIGEST,
    .open = manifest_open,
    .close = manifest_close,
    .root = manifest_root,
    .find = manifest_find,
    .enter = manifest_enter,
    .leave = manifest_leave,
    .hold = manifest_hold,
    .drop = manifest_drop,
    .list = manifest_list,
    .stat = manifest_stat,
    .target = manifest_target,
    .attributes = manifest_attributes,
    .reader = manifest_reader,
    .read = manifest_read,
    .read_end = manifest_read_end,
    .measure = manifest_measure,
};
