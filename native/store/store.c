#include "store/store.h"

#include <poll.h>
#include <stdlib.h>

#include "base/path.h"
#include "engine/pool.h"
#include "engine/task.h"

void listing_begin(struct listing *listing) {
  *listing = (struct listing){};
  arena_begin(&listing->arena);
}

void listing_free(struct listing *listing) {
  arena_free(&listing->arena);
  free(listing->entries);
  free(listing->order);
  *listing = (struct listing){};
}

void listing_reset(struct listing *listing) {
  constexpr size_t KEPT_NAMES = 1024;
  if (listing->entries || listing->capacity > KEPT_NAMES) {
    listing_free(listing);
    return;
  }
  struct listing kept = {
      .arena = listing->arena, .order = listing->order, .capacity = listing->capacity};
  arena_reset(&kept.arena);
  *listing = kept;
}

static int32_t no_room(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory while listing a directory");
}

// Room for one more of so many bytes; what the array is then, or nullptr.
static void *grow(struct listing *listing, void *array, size_t each) {
  if (listing->count < listing->capacity) return array;
  size_t capacity = listing->capacity ? listing->capacity * 2 : 32;
  void *grown = realloc(array, capacity * each);
  if (grown) listing->capacity = capacity;
  return grown;
}

static void note(struct listing *listing, span first, span name, enum entry_type type) {
  size_t most = listing->common < name.size ? listing->common : name.size, same = 0;
  if (listing->count == 0) {
    same = name.size;
  } else {
    while (same < most && first.at[same] == name.at[same]) same++;
  }
  listing->common = same;
  listing->has_untyped |= type == ENTRY_NONE;
  listing->count++;
}

struct entry *listing_add(struct listing *listing, span name, enum entry_type type,
                          struct fault *fault) {
  if (!listing->entries) {  // it may have been one of names
    free(listing->order);
    listing->order = nullptr;
    listing->capacity = 0;
  }
  struct entry *entries = grow(listing, listing->entries, sizeof *entries);
  if (entries) listing->entries = entries;
  span copy = entries ? arena_copy(&listing->arena, name) : (span){};
  if (!copy.at) {
    no_room(fault);
    return nullptr;
  }
  struct entry *entry = &entries[listing->count];
  note(listing, entries[0].name, name, type);
  *entry = (struct entry){.name = copy, .type = type, .mtime_ns = INT64_MIN};
  return entry;
}

int32_t listing_add_name(struct listing *listing, span name, enum entry_type type,
                         struct fault *fault) {
  if (!listing->takes_less || listing->entries)
    return listing_add(listing, name, type, fault) ? 0 : fault->code;
  struct order *order = grow(listing, listing->order, sizeof *order);
  if (order) listing->order = order;
  uint32_t size = (uint32_t)name.size;
  uint8_t *at = order && size == name.size
                    ? arena_take_bytes(&listing->arena, NAME_HEAD + name.size + 1)
                    : nullptr;
  if (!at) return no_room(fault);
  memcpy(at, &size, sizeof size);
  at[sizeof size] = type;
  at += NAME_HEAD;
  if (size) memcpy(at, name.at, size);
  at[size] = 0;
  order[listing->count].name = at;
  note(listing, order_name(&order[0]), name, type);
  return 0;
}

void listing_lend(struct listing *listing, const struct directory *lender, size_t count,
                  void (*lent)(const struct directory *lender, size_t at, struct entry *out)) {
  listing->lender = lender;
  listing->lent = lent;
  listing->count = count;
}

struct entry *listing_entry(const struct listing *listing, size_t at, struct entry *room) {
  if (listing->entries) return listing->order[at].entry;
  if (listing->lent) {
    listing->lent(listing->lender, at, room);
    return room;
  }
  const struct order *order = &listing->order[at];
  *room =
      (struct entry){.name = order_name(order), .type = order_type(order), .mtime_ns = INT64_MIN};
  return room;
}

void listing_keep_names(struct listing *listing) {
  free(listing->order);
  listing->order = nullptr;
  listing->count = listing->capacity = 0;
}

int32_t listing_complete(struct listing *listing, struct fault *fault) {
  if (listing->entries || listing->count == 0) return 0;
  struct entry *entries = calloc(listing->count, sizeof *entries);
  if (!entries) return no_room(fault);
  for (size_t i = 0; i < listing->count; i++) (void)listing_entry(listing, i, &entries[i]);
  free(listing->order);
  listing->order = nullptr;
  listing->lent = nullptr;
  listing->entries = entries;
  listing->capacity = listing->count;
  return 0;
}

// The root as a directory, held; with `made` it is made when nothing is there.
static int32_t root_directory(struct store *store, uint32_t *made, struct arena *arena,
                              struct directory **out, struct fault *fault) {
  const struct store_ops *ops = store->ops;
  struct entry entry = {};
  int32_t code = ops->root(store, arena, &entry, out, fault);
  if (code == 0 && entry.type == ENTRY_DIRECTORY) return 0;
  if (code == 0) {
    ops->leave(*out);
    return fault_set(fault, COPSE_E_NOT_FOUND, "the location is a file, it holds nothing");
  }
  if (code != COPSE_E_NOT_FOUND || !made || !ops->above) return code;
  struct directory *above;
  *fault = (struct fault){};
  code = ops->above(store, true, arena, &entry, &above, fault);
  if (code < 0) return code;
  code = ops->create(above, &(struct wanted){.entry = &entry}, out, fault);
  ops->leave(above);
  if (code == 0) *made = 1;
  if (code != COPSE_E_EXISTS) return code;
  return ops->root(store, arena, &entry, out, fault);  // somebody was faster
}

int32_t store_place(struct store *store, span path, uint32_t *made, struct arena *arena,
                    struct entry *out, struct directory **parent, struct fault *fault) {
  const struct store_ops *ops = store->ops;
  if (made) *made = 0;
  if (path.size == 0) {
    if (ops->above) return ops->above(store, made != nullptr, arena, out, parent, fault);
    return fault_set(fault, COPSE_E_UNSUPPORTED, "the root of this place is always a directory");
  }
  struct directory *at;
  int32_t code = root_directory(store, made, arena, &at, fault);
  if (code < 0) return code;
  span rest = path_parent(path), part;
  while (code == 0 && path_next(&rest, &part)) {
    struct entry entry = {
        .name = arena_copy(arena, part), .type = ENTRY_DIRECTORY, .mtime_ns = INT64_MIN};
    struct directory *below = nullptr;
    code = entry.name.at ? ops->enter(at, &entry, &below, fault)
                         : fault_set(fault, COPSE_E_MEMORY, "out of memory");
    if (code == 0 && made) *made = 0;
    if (code == COPSE_E_NOT_FOUND && made) {
      *fault = (struct fault){};
      code = ops->create(at, &(struct wanted){.entry = &entry}, &below, fault);
      if (code == 0) ++*made;
      if (code == COPSE_E_EXISTS) {  // somebody was faster
        *made = 0;
        *fault = (struct fault){};
        code = ops->enter(at, &entry, &below, fault);
      }
    }
    if (code == COPSE_E_CHANGED) {
      *fault = (struct fault){};
      code =
          fault_set(fault, COPSE_E_NOT_FOUND, "a part of the path is no directory: check the path");
    }
    ops->leave(at);
    at = below;
  }
  if (code < 0) return code;
  *out = (struct entry){.name = arena_copy(arena, path_name(path)), .mtime_ns = INT64_MIN};
  code = out->name.at ? ops->stat(at, out, false, fault)
                      : fault_set(fault, COPSE_E_MEMORY, "out of memory");
  if (code == COPSE_E_NOT_FOUND) {
    *fault = (struct fault){};
    code = 0;
  }
  if (code < 0)
    ops->leave(at);
  else
    *parent = at;
  return code;
}

void store_unmake(struct store *store, span path, uint32_t made) {
  struct arena arena;
  arena_begin(&arena);
  bool gone = true;
  for (; gone && made > 0; made--) {
    path = path_parent(path);
    struct entry entry = {};
    struct directory *parent;
    struct fault ignored = {};
    gone = store_place(store, path, nullptr, &arena, &entry, &parent, &ignored) == 0;
    if (!gone) break;
    gone = entry.type == ENTRY_DIRECTORY && store->ops->remove(parent, &entry, &ignored) == 0;
    store->ops->leave(parent);
  }
  arena_free(&arena);
}

int32_t store_wait(struct task *task, int fd, bool to_write, struct fault *fault) {
  constexpr int SLICE_MS = 20;  // until a cancelled task is noticed
  struct pollfd wanted = {.fd = fd, .events = to_write ? POLLOUT : POLLIN};
  // What is wrong with it (also a reader that left) is said by the call that follows.
  int ready = poll(&wanted, 1, 0);
  bool aside = ready == 0 && pool_step_aside();
  while (ready <= 0 && !task_cancelled(task)) ready = poll(&wanted, 1, SLICE_MS);
  if (aside) pool_step_back();
  return ready > 0 ? 0 : fault_set(fault, COPSE_E_CANCELLED, "cancelled");
}
