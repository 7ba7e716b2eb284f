// memory: trees that live as long as their runtime, for tests and for callers who want no disk.
//
// All trees of a runtime hang below one nameless directory, so that the name of a tree is simply
// the first part of a path. One lock guards every directory's children. A file never changes: a
// commit puts a new one in the place of the old, and who has the old one open keeps it. Items are
// counted, and freed by whoever lets go of them last.
#include <stdckdint.h>
#include <stdlib.h>
#include <time.h>

#include "base/path.h"
#include "engine/runtime.h"
#include "engine/thread.h"
#include "store/open.h"

constexpr size_t NAME_MAX_BYTES = 255;       // what local file systems allow
constexpr uint64_t DEVICE = 0x6D656D6F7279;  // "memory": no real device has this number
constexpr uint32_t MODE_FILE = 0100000, MODE_DIRECTORY = 0040000, MODE_BITS = 0777;
constexpr size_t NAMES_BETWEEN_LOOKS = 1024;  // at the cancel flag, while listing

struct item {
  _Atomic uint32_t references;
  enum entry_type type;  // FILE or DIRECTORY
  uint32_t mode;         // guarded by the lock until nobody but its holders knows the item
  int64_t mtime_ns;      // likewise
  uint64_t inode;
  bool is_removed;         // from its directory; guarded by the lock
  uint32_t writers;        // unfinished files in it, which keep it; guarded by the lock
  struct item **children;  // directories: sorted by name; guarded by the lock
  size_t count, capacity;
  uint8_t *content;  // files: never changes once the file has its name
  size_t size;
  struct item *next;  // while a tree is freed
  span name;          // bytes behind the struct
};

struct forest {
  struct attachment attachment;
  pthread_rwlock_t lock;
  struct item *top;
  _Atomic uint64_t inodes;
};

struct memory_state {
  struct forest *forest;
  size_t base_size;
  uint8_t base[];  // path of the root below the top: the tree's name, then what follows it
};

struct memory_directory {
  struct directory base;
  struct item *item;
};

struct memory_writer {
  struct writer base;
  uint8_t *content;
  size_t size, capacity;
  struct item *directory;
  bool has_mode;
  uint32_t mode;
  int64_t mtime_ns;
  size_t name_size;
  uint8_t name[];
};

static const char forest_key;

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory");
}

static int32_t not_found(struct fault *fault) {
  return fault_set(fault, COPSE_E_NOT_FOUND, "no such file or directory: check the path");
}

static int32_t through_file(struct fault *fault) {
  return fault_set(fault, COPSE_E_NOT_FOUND, "a part of the path is no directory: check the path");
}

// ── Items ──

static int64_t now_ns(void) {
  struct timespec now;
  if (timespec_get(&now, TIME_UTC) != TIME_UTC) return INT64_MIN;
  return (int64_t)now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

static struct item *item_new(struct forest *forest, span name, enum entry_type type, uint32_t mode,
                             int64_t mtime_ns) {
  size_t size;
  if (ckd_add(&size, sizeof(struct item) + 1, name.size)) return nullptr;
  struct item *item = malloc(size);
  if (!item) return nullptr;
  uint8_t *copy = (uint8_t *)(item + 1);
  if (name.size) memcpy(copy, name.at, name.size);
  copy[name.size] = 0;
  *item = (struct item){
      .type = type,
      .mode = (type == ENTRY_DIRECTORY ? MODE_DIRECTORY : MODE_FILE) | (mode & MODE_BITS),
      .mtime_ns = mtime_ns == INT64_MIN ? now_ns() : mtime_ns,
      .inode = atomic_fetch_add_explicit(&forest->inodes, 1, memory_order_relaxed) + 1,
      .name = {copy, name.size},
  };
  atomic_init(&item->references, 1);
  return item;
}

static struct item *item_hold(struct item *item) {
  atomic_fetch_add_explicit(&item->references, 1, memory_order_relaxed);
  return item;
}

// Not recursive: trees are deep.
static void item_drop(struct item *item) {
  struct item *list = nullptr;
  for (; item; item = list, list = list ? list->next : nullptr) {
    if (atomic_fetch_sub_explicit(&item->references, 1, memory_order_acq_rel) != 1) continue;
    for (size_t i = 0; i < item->count; i++) {
      item->children[i]->next = list;
      list = item->children[i];
    }
    free(item->children);
    free(item->content);
    free(item);
  }
}

// Where `name` is or would be among the children.
static size_t place_of(const struct item *directory, span name, bool *found) {
  size_t begin = 0, end = directory->count;
  while (begin < end) {
    size_t middle = begin + (end - begin) / 2;
    int order = span_compare(directory->children[middle]->name, name);
    *found = order == 0;
    if (order == 0) return middle;
    if (order < 0)
      begin = middle + 1;
    else
      end = middle;
  }
  *found = false;
  return begin;
}

static struct item *child_of(const struct item *directory, span name) {
  bool found;
  size_t at = place_of(directory, name, &found);
  return found ? directory->children[at] : nullptr;
}

// Takes over the child's reference. False: out of memory, and the reference is still the caller's.
static bool add_child(struct item *directory, struct item *child) {
  bool found;
  size_t at = place_of(directory, child->name, &found);
  if (found) {
    item_drop(directory->children[at]);
    directory->children[at] = child;
  } else {
    if (directory->count == directory->capacity) {
      size_t capacity = directory->capacity ? directory->capacity * 2 : 8, size;
      if (ckd_mul(&size, capacity, sizeof(struct item *))) return false;
      struct item **children = realloc(directory->children, size);
      if (!children) return false;
      directory->children = children;
      directory->capacity = capacity;
    }
    memmove(&directory->children[at + 1], &directory->children[at],
            (directory->count - at) * sizeof(struct item *));
    directory->children[at] = child;
    directory->count++;
  }
  directory->mtime_ns = now_ns();
  return true;
}

static void fill(struct entry *entry, const struct item *item) {
  entry->size = item->size;
  entry->mtime_ns = item->mtime_ns;
  entry->inode = item->inode;
  entry->device = DEVICE;
  entry->mode = item->mode;
  entry->type = item->type;
  entry->uid = entry->gid = 0;
  entry->has |= HAS_STAT | HAS_SIZE;
}

// ── Opening ──

static void forest_free(struct attachment *attachment) {
  struct forest *forest = (struct forest *)attachment;
  item_drop(forest->top);
  pthread_rwlock_destroy(&forest->lock);
  free(forest);
}

static struct attachment *forest_make(struct runtime *) {
  struct forest *forest = calloc(1, sizeof *forest);
  if (!forest) return nullptr;
  forest->attachment.key = &forest_key;
  forest->attachment.free = forest_free;
  forest->top = item_new(forest, (span){}, ENTRY_DIRECTORY, 0755, INT64_MIN);
  if (!forest->top || pthread_rwlock_init(&forest->lock, nullptr) != 0) {
    if (forest->top) item_drop(forest->top);
    free(forest);
    return nullptr;
  }
  return &forest->attachment;
}

static int32_t memory_open(struct store *store, const struct place *place, struct fault *fault) {
  span base = place->path;
  while (base.size && base.at[base.size - 1] == '/') base.size--;
  if (base.size == 0)
    return fault_set(fault, COPSE_E_ARGUMENT, "a place in memory needs a name: memory:name");
  int32_t code = path_safe(base, fault);
  if (code < 0) return code;
  size_t size;
  struct memory_state *state = ckd_add(&size, sizeof *state, base.size) ? nullptr : malloc(size);
  if (!state) return no_memory(fault);
  state->forest = (struct forest *)runtime_attachment(store->runtime, &forest_key, forest_make);
  if (!state->forest) {
    free(state);
    return no_memory(fault);
  }
  memcpy(state->base, base.at, base.size);
  state->base_size = base.size;
  store->state = state;
  return 0;
}

static void memory_close(struct store *store) { free(store->state); }

static struct forest *forest_of(const struct store *store) {
  return ((struct memory_state *)store->state)->forest;
}

// The path below the top of what is at `path` below the store's root, from malloc.
static int32_t full_path(struct store *store, span path, uint8_t **out, size_t *size,
                         struct fault *fault) {
  const struct memory_state *state = store->state;
  size_t room;
  bool too_large = ckd_add(&room, state->base_size, path.size) || ckd_add(&room, room, 1);
  uint8_t *full = too_large ? nullptr : malloc(room);
  if (!full) return no_memory(fault);
  memcpy(full, state->base, state->base_size);
  *size = state->base_size;
  if (path.size) {
    full[(*size)++] = '/';
    memcpy(full + *size, path.at, path.size);
    *size += path.size;
  }
  *out = full;
  return 0;
}

// What is at a full path, and what it is in. nullptr: nothing, and then `parent` is how far the
// path leads, which is a file when it would go through one. The lock is held.
static struct item *item_at(struct forest *forest, span full, struct item **parent) {
  struct item *item = forest->top;
  span part;
  while (item && path_next(&full, &part)) {
    *parent = item;
    item = item->type == ENTRY_DIRECTORY ? child_of(item, part) : nullptr;
  }
  return item;
}

static struct memory_directory *directory_new(struct store *store) {
  struct memory_directory *directory = malloc(sizeof *directory);
  if (directory) *directory = (struct memory_directory){.base.store = store};
  return directory;
}

// What is at `path` below the root. Its handle is itself when it is a directory and `into` is
// wanted, else its parent.
static int32_t look_up(struct store *store, span path, bool into, struct arena *arena,
                       struct entry *out, struct directory **handle, struct fault *fault) {
  struct forest *forest = forest_of(store);
  uint8_t *full = nullptr;
  size_t size = 0;
  int32_t code = full_path(store, path, &full, &size, fault);
  if (code < 0) return code;
  struct memory_directory *directory = directory_new(store);
  span name = arena_copy(arena, path_name((span){full, size}));
  if (!directory || !name.at) code = no_memory(fault);
  if (code == 0) {
    *out = (struct entry){.name = name};
    pthread_rwlock_rdlock(&forest->lock);
    struct item *parent = nullptr, *item = item_at(forest, (span){full, size}, &parent);
    if (item) {
      fill(out, item);
      directory->item = item_hold(into && item->type == ENTRY_DIRECTORY ? item : parent);
    }
    pthread_rwlock_unlock(&forest->lock);
    if (!item) code = not_found(fault);
  }
  free(full);
  if (code == 0)
    *handle = &directory->base;
  else
    free(directory);
  return code;
}

static int32_t memory_root(struct store *store, struct arena *arena, struct entry *out,
                           struct directory **directory, struct fault *fault) {
  return look_up(store, (span){}, true, arena, out, directory, fault);
}

static int32_t memory_find(struct store *store, span path, struct arena *arena, struct entry *out,
                           struct directory **parent, struct fault *fault) {
  return look_up(store, path, false, arena, out, parent, fault);
}

// The child that an entry names, held. What is of another type now was changed.
static int32_t child_named(struct directory *base, span name, enum entry_type type,
                           struct item **out, struct fault *fault) {
  struct forest *forest = forest_of(base->store);
  pthread_rwlock_rdlock(&forest->lock);
  struct item *item = child_of(((struct memory_directory *)base)->item, name);
  if (item) item_hold(item);
  pthread_rwlock_unlock(&forest->lock);
  if (!item) return not_found(fault);
  if (item->type != type) {
    item_drop(item);
    return fault_set(fault, COPSE_E_CHANGED, "it was a %s and is none any more; run again",
                     type == ENTRY_FILE ? "file" : "directory");
  }
  *out = item;
  return 0;
}

static int32_t memory_enter(struct directory *parent, const struct entry *entry,
                            struct directory **out, struct fault *fault) {
  struct memory_directory *directory = directory_new(parent->store);
  if (!directory) return no_memory(fault);
  int32_t code = child_named(parent, entry->name, ENTRY_DIRECTORY, &directory->item, fault);
  if (code == 0)
    *out = &directory->base;
  else
    free(directory);
  return code;
}

static void memory_leave(struct directory *base) {
  if (!base) return;
  item_drop(((struct memory_directory *)base)->item);
  free(base);
}

static int32_t memory_hold(struct directory *, struct fault *) { return 0; }
static void memory_drop(struct directory *) {}

// ── Looking ──

static int32_t memory_list(struct directory *base, struct listing *listing, struct fault *fault) {
  struct forest *forest = forest_of(base->store);
  const struct item *directory = ((struct memory_directory *)base)->item;
  int32_t code = 0;
  pthread_rwlock_rdlock(&forest->lock);
  for (size_t i = 0; i < directory->count && code == 0; i++) {
    const struct item *child = directory->children[i];
    code = listing_add_name(listing, child->name, child->type, fault);
    if (code == 0 && i % NAMES_BETWEEN_LOOKS == 0 && task_cancelled(base->store->task))
      code = fault_set(fault, COPSE_E_CANCELLED, "cancelled while listing");
  }
  pthread_rwlock_unlock(&forest->lock);
  return code;
}

// The lock is held. The directory itself has the empty name.
static struct item *named(struct directory *base, span name) {
  struct item *directory = ((struct memory_directory *)base)->item;
  return name.size ? child_of(directory, name) : directory;
}

static int32_t memory_stat(struct directory *base, struct entry *entry, bool, struct fault *fault) {
  struct forest *forest = forest_of(base->store);
  pthread_rwlock_rdlock(&forest->lock);
  const struct item *item = named(base, entry->name);
  if (item) fill(entry, item);
  pthread_rwlock_unlock(&forest->lock);
  return item ? 0 : not_found(fault);
}

static int32_t memory_target(struct directory *, struct entry *, struct arena *,
                             struct fault *fault) {
  return fault_set(fault, COPSE_E_UNSUPPORTED, "there are no links in memory");
}

static int32_t memory_attributes(struct directory *, const struct entry *, struct arena *, span *,
                                 struct fault *fault) {
  return fault_set(fault, COPSE_E_UNSUPPORTED, "there are no extended attributes in memory");
}

// ── Reading ──

static int32_t memory_reader(struct directory *base, const struct entry *entry, struct reader *out,
                             struct fault *fault) {
  struct item *item;
  int32_t code = child_named(base, entry->name, ENTRY_FILE, &item, fault);
  if (code < 0) return code;
  *out = (struct reader){.store = base->store, .fd = -1, .slot = {item}};
  return 0;
}

static int64_t memory_read(struct reader *reader, uint64_t at, uint8_t *into, size_t size,
                           struct fault *) {
  const struct item *item = reader->slot[0];
  size_t left = at < item->size ? item->size - (size_t)at : 0;
  size_t got = size < left ? size : left;
  if (got) memcpy(into, item->content + at, got);
  if (got == left) reader->at_end = true;
  return (int64_t)got;
}

static void memory_read_end(struct reader *reader) {
  item_drop(reader->slot[0]);
  reader->slot[0] = nullptr;
}

static int32_t memory_measure(struct reader *reader, struct entry *out, bool *holes,
                              struct fault *) {
  fill(out, reader->slot[0]);
  if (holes) *holes = false;
  return 0;
}

// ── Writing ──

static struct item *item_of(struct directory *base) {
  return ((struct memory_directory *)base)->item;
}

static int32_t name_fits(span name, struct fault *fault) {
  if (name.size <= NAME_MAX_BYTES) return 0;
  return fault_set(fault, COPSE_E_LIMIT, "a name is longer than %zu bytes: choose a shorter one",
                   NAME_MAX_BYTES);
}

static int32_t is_directory(struct fault *fault) {
  return fault_set(fault, COPSE_E_EXISTS, "a directory has that name; remove it first");
}

// Gives `leaf` (taken over) its place in the directory. What the directory lost meanwhile is told
// as a local file system does. The lock is held.
static int32_t hang(struct item *directory, struct item *leaf, bool keep_mode,
                    struct fault *fault) {
  const struct item *old = child_of(directory, leaf->name);
  int32_t code = 0;
  if (directory->is_removed)
    code = fault_set(fault, COPSE_E_NOT_FOUND, "the directory was removed meanwhile");
  else if (old && leaf->type == ENTRY_DIRECTORY)
    code = fault_set(fault, COPSE_E_EXISTS, "something has that name already; remove it first");
  else if (old && old->type == ENTRY_DIRECTORY)
    code = is_directory(fault);
  if (code == 0 && old && keep_mode) leaf->mode = old->mode;
  if (code == 0 && !add_child(directory, leaf)) code = no_memory(fault);
  if (code < 0) item_drop(leaf);
  return code;
}

static int32_t memory_above(struct store *store, bool make, struct arena *arena, struct entry *out,
                            struct directory **directory, struct fault *fault) {
  struct forest *forest = forest_of(store);
  const struct memory_state *state = store->state;
  span base = {state->base, state->base_size}, above = path_parent(base), part;
  struct memory_directory *made = directory_new(store);
  *out = (struct entry){.name = arena_copy(arena, path_name(base)), .mtime_ns = INT64_MIN};
  int32_t code = made && out->name.at ? name_fits(out->name, fault) : no_memory(fault);
  pthread_rwlock_wrlock(&forest->lock);
  struct item *at = forest->top;
  while (code == 0 && path_next(&above, &part)) {
    struct item *child = child_of(at, part);
    if (!child && make) {
      code = name_fits(part, fault);
      if (code < 0) break;
      child = item_new(forest, part, ENTRY_DIRECTORY, 0755, INT64_MIN);
      code = child ? hang(at, child, false, fault) : no_memory(fault);
    } else if (!child) {
      code = not_found(fault);
    } else if (child->type != ENTRY_DIRECTORY) {
      code = through_file(fault);
    }
    at = child;
  }
  if (code == 0) {
    const struct item *item = child_of(at, out->name);
    if (item) fill(out, item);
    made->item = item_hold(at);
  }
  pthread_rwlock_unlock(&forest->lock);
  if (code == 0)
    *directory = &made->base;
  else
    free(made);
  return code;
}

static int32_t memory_create(struct directory *base, const struct wanted *wanted,
                             struct directory **out, struct fault *fault) {
  struct forest *forest = forest_of(base->store);
  int32_t code = name_fits(wanted->entry->name, fault);
  if (code < 0) return code;
  struct memory_directory *made = directory_new(base->store);
  uint32_t mode = wanted->what & WANT_MODE ? wanted->entry->mode : 0755;
  struct item *item = item_new(forest, wanted->entry->name, ENTRY_DIRECTORY, mode,
                               wanted->what & WANT_MTIME ? wanted->entry->mtime_ns : INT64_MIN);
  if (!made || !item) {
    free(made);
    if (item) item_drop(item);
    return no_memory(fault);
  }
  made->item = item_hold(item);
  pthread_rwlock_wrlock(&forest->lock);
  code = hang(item_of(base), item, false, fault);
  pthread_rwlock_unlock(&forest->lock);
  if (code == 0)
    *out = &made->base;
  else
    memory_leave(&made->base);
  return code;
}

static int32_t memory_writer(struct directory *base, const struct wanted *wanted,
                             struct writer **out, struct fault *fault) {
  struct forest *forest = forest_of(base->store);
  span name = wanted->entry->name;
  int32_t code = name_fits(name, fault);
  if (code < 0) return code;
  // Looked at now, so that nobody pushes a file to where it cannot go, and once more when it goes
  // there.
  struct memory_writer *writer = malloc(sizeof *writer + name.size);
  if (!writer) return no_memory(fault);
  pthread_rwlock_wrlock(&forest->lock);
  struct item *directory = item_of(base);
  const struct item *old = child_of(directory, name);
  if (directory->is_removed)
    code = not_found(fault);
  else if (old && old->type == ENTRY_DIRECTORY)
    code = is_directory(fault);
  else
    directory->writers++;
  pthread_rwlock_unlock(&forest->lock);
  if (code < 0) {
    free(writer);
    return code;
  }
  bool has_mode = wanted->what & WANT_MODE;
  *writer = (struct memory_writer){
      .base.store = base->store,
      .directory = item_hold(item_of(base)),
      .has_mode = has_mode,
      .mode = has_mode ? wanted->entry->mode : 0644,
      .mtime_ns = wanted->what & WANT_MTIME ? wanted->entry->mtime_ns : INT64_MIN,
      .name_size = name.size};
  memcpy(writer->name, name.at, name.size);
  *out = &writer->base;
  return 0;
}

static int32_t grow(struct memory_writer *writer, uint64_t end, struct fault *fault) {
  if (end > PTRDIFF_MAX)
    return fault_set(fault, COPSE_E_NO_SPACE, "the file is larger than memory can be");
  if (end > writer->capacity) {
    size_t capacity = writer->capacity ? writer->capacity : 4096;
    while (capacity < end) capacity = capacity > PTRDIFF_MAX / 2 ? (size_t)end : capacity * 2;
    uint8_t *content = realloc(writer->content, capacity);
    if (!content) return no_memory(fault);
    writer->content = content;
    writer->capacity = capacity;
  }
  if (end > writer->size) {
    memset(writer->content + writer->size, 0, (size_t)end - writer->size);
    writer->size = (size_t)end;
  }
  return 0;
}

static int32_t memory_write(struct writer *base, uint64_t at, const uint8_t *bytes, size_t size,
                            struct fault *fault) {
  struct memory_writer *writer = (struct memory_writer *)base;
  uint64_t end;
  if (ckd_add(&end, at, size)) end = UINT64_MAX;
  int32_t code = grow(writer, end, fault);
  if (code == 0 && size) memcpy(writer->content + at, bytes, size);
  return code;
}

static void memory_abandon(struct writer *base) {
  struct memory_writer *writer = (struct memory_writer *)base;
  struct forest *forest = forest_of(base->store);
  pthread_rwlock_wrlock(&forest->lock);
  writer->directory->writers--;
  pthread_rwlock_unlock(&forest->lock);
  item_drop(writer->directory);
  free(writer->content);
  free(writer);
}

static int32_t memory_commit(struct writer *base, uint64_t size, struct entry *out,
                             struct fault *fault) {
  struct memory_writer *writer = (struct memory_writer *)base;
  struct forest *forest = forest_of(base->store);
  span name = {writer->name, writer->name_size};
  struct item *item = nullptr;
  int32_t code = grow(writer, size, fault);
  if (code == 0) {
    item = item_new(forest, name, ENTRY_FILE, writer->mode, writer->mtime_ns);
    if (!item) code = no_memory(fault);
  }
  if (code == 0) {
    // Files are kept for long: give back what growing took too much of. When that fails, it is
    // still right.
    writer->size = (size_t)size;
    uint8_t *content = writer->size ? realloc(writer->content, writer->size) : nullptr;
    item->content = content ? content : writer->content;
    item->size = writer->size;
    writer->content = nullptr;
    item_hold(item);
    pthread_rwlock_wrlock(&forest->lock);
    code = hang(writer->directory, item, !writer->has_mode, fault);
    if (code == 0) fill(out, item);
    pthread_rwlock_unlock(&forest->lock);
    item_drop(item);
  }
  memory_abandon(base);
  return code;
}

static int32_t memory_make(struct directory *, const struct wanted *, struct fault *fault) {
  return fault_set(fault, COPSE_E_UNSUPPORTED, "memory holds files and directories, no links");
}

static int32_t memory_set(struct directory *base, const struct wanted *wanted,
                          struct fault *fault) {
  struct forest *forest = forest_of(base->store);
  constexpr uint32_t KIND = MODE_FILE | MODE_DIRECTORY;
  pthread_rwlock_wrlock(&forest->lock);
  struct item *item = named(base, wanted->entry->name);
  if (item && (wanted->what & WANT_MODE))
    item->mode = (item->mode & KIND) | (wanted->entry->mode & MODE_BITS);
  if (item && (wanted->what & WANT_MTIME) && wanted->entry->mtime_ns != INT64_MIN)
    item->mtime_ns = wanted->entry->mtime_ns;
  pthread_rwlock_unlock(&forest->lock);
  return item ? 0 : not_found(fault);
}

static int32_t memory_remove(struct directory *base, const struct entry *entry,
                             struct fault *fault) {
  struct forest *forest = forest_of(base->store);
  struct item *parent = item_of(base);
  int32_t code = 0;
  pthread_rwlock_wrlock(&forest->lock);
  bool found;
  size_t at = place_of(parent, entry->name, &found);
  struct item *item = found ? parent->children[at] : nullptr;
  if (!item) {
    code = not_found(fault);
  } else if ((entry->has & HAS_STAT) && item->inode != entry->inode) {
    code = fault_set(fault, COPSE_E_CHANGED,
                     "it was replaced by something else meanwhile and is left; run again");
  } else if (item->count > 0 || item->writers > 0) {
    code =
        fault_set(fault, COPSE_E_EXISTS, "the directory is not empty; remove what is in it first");
  } else {
    parent->count--;
    memmove(&parent->children[at], &parent->children[at + 1],
            (parent->count - at) * sizeof(struct item *));
    parent->mtime_ns = now_ns();
    item->is_removed = true;
  }
  pthread_rwlock_unlock(&forest->lock);
  if (code == 0) item_drop(item);
  return code;
}

const struct store_ops memory_store = {
    .scheme = "memory",
    .can = CAN_LIST | CAN_RANGE | CAN_WRITE | CAN_DELETE | CAN_MTIME | CAN_MODE | CAN_ATOMIC |
           CAN_IDENTITY | IS_LOCAL,
    .open = memory_open,
    .close = memory_close,
    .root = memory_root,
    .find = memory_find,
    .enter = memory_enter,
    .leave = memory_leave,
    .hold = memory_hold,
    .drop = memory_drop,
    .list = memory_list,
    .stat = memory_stat,
    .target = memory_target,
    .attributes = memory_attributes,
    .reader = memory_reader,
    .read = memory_read,
    .read_end = memory_read_end,
    .measure = memory_measure,
    .above = memory_above,
    .create = memory_create,
    .writer = memory_writer,
    .write = memory_write,
    .commit = memory_commit,
    .abandon = memory_abandon,
    .make = memory_make,
    .remove = memory_remove,
    .set = memory_set,
};
