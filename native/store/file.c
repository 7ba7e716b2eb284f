// file: trees and files of the local machine.
//
// A directory handle is a descriptor opened relative to its parent's, so that nothing is resolved
// by path below the root: no PATH_MAX, and a directory swapped for a link is noticed instead of
// followed. Descriptors are few, trees are deep: all file stores of a runtime share one bound on
// open directories (struct descriptors). A handle nobody holds may lose its descriptor, and gets it
// again by walking down from the nearest ancestor that still has one, checked by device and inode.
#include "store/file.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdckdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "engine/io.h"
#include "engine/runtime.h"
#include "engine/thread.h"
#include "store/open.h"

// Directories kept open by all file stores of one runtime. An eighth of what the process may open,
// because the embedding program needs most of it; 512 is far more than the workers can use at once.
constexpr rlim_t DESCRIPTORS_MAX = 512;
constexpr size_t DEVICES_KNOWN = 16;

struct descriptors {
  struct attachment attachment;
  mutex lock;
  // Open and perhaps held by nobody, in the order in which they were let go of first.
  struct file_directory *oldest, *newest;
  _Atomic size_t open;
  size_t open_max;  // set once
  struct {
    uint64_t device;
    bool short_is_end;
  } devices[DEVICES_KNOWN];
  size_t devices_known, devices_next;
};

static const char descriptors_key;

static void descriptors_free(struct attachment *attachment) {
  struct descriptors *descriptors = (struct descriptors *)attachment;
  mutex_end(&descriptors->lock);
  free(descriptors);
}

static struct attachment *descriptors_make(struct runtime *) {
  struct descriptors *descriptors = calloc(1, sizeof *descriptors);
  if (!descriptors) return nullptr;
  descriptors->attachment.key = &descriptors_key;
  descriptors->attachment.free = descriptors_free;
  mutex_begin(&descriptors->lock);
  struct rlimit limit;
  rlim_t most = getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur / 8 : 64;
  if (most > DESCRIPTORS_MAX) most = DESCRIPTORS_MAX;
  descriptors->open_max = most < 4 ? 4 : (size_t)most;
  return &descriptors->attachment;
}

// ── Keeping few descriptors open ──

constexpr int32_t GIVEN_UP = -1;

static void list_remove(struct descriptors *all, struct file_directory *directory) {
  if (!atomic_load_explicit(&directory->listed, memory_order_relaxed)) return;
  *(directory->older ? &directory->older->newer : &all->oldest) = directory->newer;
  *(directory->newer ? &directory->newer->older : &all->newest) = directory->older;
  directory->older = directory->newer = nullptr;
  atomic_store(&directory->listed, false);
}

static void list_append(struct descriptors *all, struct file_directory *directory) {
  directory->older = all->newest;
  directory->newer = nullptr;
  *(all->newest ? &all->newest->newer : &all->oldest) = directory;
  all->newest = directory;
  if (!directory->was_listed) directory->was_listed = true;
  atomic_store(&directory->listed, true);
}

// Holds it when it is open.
static bool hold_if_open(struct file_directory *directory) {
  if (directory->here) return true;
  int32_t held = atomic_load_explicit(&directory->held, memory_order_relaxed);
  do {
    if (held == GIVEN_UP) return false;
  } while (!atomic_compare_exchange_weak_explicit(&directory->held, &held, held + 1,
                                                  memory_order_acquire, memory_order_relaxed));
  if (held == 0 && !atomic_load_explicit(&directory->used, memory_order_relaxed))
    atomic_store_explicit(&directory->used, true, memory_order_relaxed);
  return true;
}

// Closes a directory that nobody holds and that is on no list. The lock is held.
static void give_up(struct descriptors *all, const struct io_ops *io,
                    struct file_directory *directory) {
  int32_t nobody = 0;
  if (!atomic_compare_exchange_strong(&directory->held, &nobody, GIVEN_UP)) return;
  struct io_stat stat;
  // What cannot be told apart when it is opened again is not closed: it just stays open.
  if (!directory->identified) {
    if (io->stat(directory->fd, "", true, &stat) < 0) {
      atomic_store_explicit(&directory->held, 0, memory_order_release);
      return;
    }
    directory->device = stat.device;
    directory->inode = stat.inode;
    directory->identified = true;
  }
  io->close(directory->fd);
  directory->fd = -1;
  atomic_fetch_sub_explicit(&all->open, 1, memory_order_relaxed);
}

// Closes directories that nobody holds until at most `most` are open; what was used since somebody
// looked gets another turn. The lock is held.
static void close_oldest(struct descriptors *all, const struct io_ops *io, size_t most) {
  struct file_directory *spared = nullptr;  // the first one: when it comes again all were looked at
  while (atomic_load_explicit(&all->open, memory_order_relaxed) > most && all->oldest) {
    struct file_directory *directory = all->oldest;
    bool is_used = atomic_exchange_explicit(&directory->used, false, memory_order_relaxed);
    list_remove(all, directory);
    if (is_used && most > 0 && directory != spared) {
      if (!spared) spared = directory;
      list_append(all, directory);
      continue;
    }
    // Held: whoever drops it last finds that it is not listed and does so, or it was dropped just
    // before.
    give_up(all, io, directory);
  }
}

static void count_open(struct descriptors *all, const struct io_ops *io) {
  size_t open = atomic_fetch_add_explicit(&all->open, 1, memory_order_relaxed) + 1;
  if (open <= all->open_max) return;
  mutex_lock(&all->lock);
  close_oldest(all, io, all->open_max);
  mutex_unlock(&all->lock);
}

// Opens, and when the process has no descriptor left gives up idle directories and tries once more.
static int open_at(struct file_state *state, int directory, const char *name, uint32_t flags) {
  int fd = state->io->open(directory, name, flags);
  if (fd != -EMFILE && fd != -ENFILE) return fd;
  mutex_lock(&state->all->lock);
  close_oldest(state->all, state->io, 0);
  mutex_unlock(&state->all->lock);
  return state->io->open(directory, name, flags);
}

static struct file_directory *directory_new(struct store *store, struct file_directory *parent,
                                            span name, int fd) {
  size_t size;
  if (ckd_add(&size, sizeof(struct file_directory) + 1, name.size)) return nullptr;
  struct file_directory *directory = malloc(size);
  if (!directory) return nullptr;
  *directory = (struct file_directory){
      .base.store = store, .parent = parent, .here = fd == IO_HERE, .fd = fd};
  atomic_init(&directory->held, 1);
  atomic_init(&directory->references, 1);
  atomic_init(&directory->short_is_end, SHORT_UNKNOWN);
  memcpy(directory->name, name.at, name.size);
  directory->name[name.size] = 0;
  if (parent) atomic_fetch_add_explicit(&parent->references, 1, memory_order_relaxed);
  if (fd >= 0) {
    struct file_state *state = store->state;
    count_open(state->all, state->io);
  }
  return directory;
}

static void file_leave(struct directory *base) {
  struct file_directory *directory = (struct file_directory *)base;
  while (directory &&
         atomic_fetch_sub_explicit(&directory->references, 1, memory_order_acq_rel) == 1) {
    struct file_state *state = directory->base.store->state;
    struct file_directory *parent = directory->parent;
    if (directory->was_listed) {  // else nobody else ever saw it
      mutex_lock(&state->all->lock);
      list_remove(state->all, directory);
      mutex_unlock(&state->all->lock);
    }
    if (directory->fd >= 0) {
      atomic_fetch_sub_explicit(&state->all->open, 1, memory_order_relaxed);
      state->io->close(directory->fd);
    }
    free(directory);
    directory = parent;
  }
}

int32_t file_directory_at(struct store *store, span name, int fd, struct directory **out,
                          struct fault *fault) {
  struct file_state *state = store->state;
  struct file_directory *directory = directory_new(store, nullptr, name, fd);
  if (!directory) {
    state->io->close(fd);
    return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  }
  directory->followed = true;
  *out = &directory->base;
  return 0;
}

static void file_drop(struct directory *base) {
  struct file_directory *directory = (struct file_directory *)base;
  if (directory->here) return;
  struct file_state *state = base->store->state;
  struct descriptors *all = state->all;
  // Either we see that it is not listed, or who takes it off the list sees that nobody holds it.
  if (atomic_fetch_sub(&directory->held, 1) != 1 || atomic_load(&directory->listed)) return;
  mutex_lock(&all->lock);
  bool is_open = atomic_load_explicit(&directory->held, memory_order_relaxed) != GIVEN_UP;
  if (is_open && !atomic_load_explicit(&directory->listed, memory_order_relaxed))
    list_append(all, directory);
  close_oldest(all, state->io, all->open_max);
  mutex_unlock(&all->lock);
}

void file_directory_keep(struct file_directory *directory) {
  atomic_fetch_add_explicit(&directory->references, 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&directory->held, 1, memory_order_relaxed);
}

void file_directory_free(struct file_directory *directory) {
  file_drop(&directory->base);
  file_leave(&directory->base);
}

// Opens a directory whose descriptor was given up; its parent is held.
static int32_t open_again(struct file_state *state, struct file_directory *directory,
                          struct fault *fault) {
  int from = directory->parent ? directory->parent->fd : IO_HERE;
  uint32_t follow = directory->followed ? IO_FOLLOW : 0;
  int fd = open_at(state, from, directory->name, IO_READ | IO_DIRECTORY | follow);
  if (fd < 0) return fault_from_errno(fault, -fd, "openat");
  struct io_stat stat;
  int code = state->io->stat(fd, "", true, &stat);
  // With the lock, because whoever gave it up may only just be finding out which one it is.
  mutex_lock(&state->all->lock);
  bool is_open = code >= 0 && hold_if_open(directory);  // somebody was faster
  bool is_same = code >= 0 && stat.inode == directory->inode && stat.device == directory->device;
  bool is_ours = !is_open && is_same;
  if (is_ours) {
    directory->fd = fd;
    atomic_store_explicit(&directory->held, 1, memory_order_release);
  }
  mutex_unlock(&state->all->lock);
  if (is_ours)
    count_open(state->all, state->io);
  else
    state->io->close(fd);
  if (is_open || is_ours) return 0;
  if (code < 0) return fault_from_errno(fault, -code, "fstat");
  return fault_set(fault, COPSE_E_CHANGED,
                   "the directory was replaced by another one meanwhile; run again");
}

static int32_t file_hold(struct directory *base, struct fault *fault) {
  struct file_directory *directory = (struct file_directory *)base;
  struct file_state *state = base->store->state;
  if (hold_if_open(directory)) return 0;
  // Up to the nearest ancestor that is open, then down again. Not recursive: trees are deep.
  size_t count = 0;
  struct file_directory *from = directory;
  for (; from && !hold_if_open(from); from = from->parent) count++;
  struct file_directory **chain = malloc(count * sizeof(struct file_directory *));
  int32_t code = 0;
  if (!chain) {
    code = fault_set(fault, COPSE_E_MEMORY, "out of memory while opening a directory again");
    count = 0;
  }
  struct file_directory *at = directory;
  for (size_t i = 0; i < count; i++, at = at->parent) chain[i] = at;
  while (count > 0 && code == 0) {
    code = open_again(state, chain[--count], fault);
    if (from) file_drop(&from->base);
    from = code == 0 ? chain[count] : nullptr;
  }
  if (code < 0 && from) file_drop(&from->base);
  free(chain);
  return code;
}

// ── Opening ──

static int32_t file_open(struct store *store, const struct place *place, struct fault *fault) {
  if (place->path.size == 0) return fault_set(fault, COPSE_E_ARGUMENT, "the path is empty");
  struct file_state *state = malloc(sizeof *state + place->path.size + 1);
  if (!state) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  state->io = store->io;
  state->claimed = -1;
  state->root = state->found = nullptr;
  atomic_init(&state->no_clone, false);
  atomic_init(&state->no_range, false);
  atomic_init(&state->nameless, NAMELESS_UNKNOWN);
  atomic_init(&state->no_own_clone, false);
  atomic_init(&state->no_own_range, false);
  atomic_init(&state->no_flow, false);
  state->all =
      (struct descriptors *)runtime_attachment(store->runtime, &descriptors_key, descriptors_make);
  if (!state->all) {
    free(state);
    return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  }
  memcpy(state->path, place->path.at, place->path.size);
  state->path[place->path.size] = 0;
  state->path_size = place->path.size;
  mutex_begin(&state->lock);
  store->state = state;
  return 0;
}

static void file_close(struct store *store) {
  struct file_state *state = store->state;
  if (state->found) file_leave(&state->found->base);
  if (state->root) file_leave(&state->root->base);
  mutex_end(&state->lock);
  if (state->claimed >= 0) state->io->close(state->claimed);
  free(state);
}

static enum entry_type type_of_mode(uint32_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return ENTRY_FILE;
    case S_IFDIR:
      return ENTRY_DIRECTORY;
    case S_IFLNK:
      return ENTRY_LINK;
    default:
      return ENTRY_OTHER;
  }
}

void file_entry_fill(struct entry *entry, const struct io_stat *stat) {
  entry->size = stat->size;
  entry->mtime_ns = stat->mtime_ns;
  entry->ctime_ns = stat->ctime_ns;
  entry->inode = stat->inode;
  entry->device = stat->device;
  entry->special = stat->special_device;
  entry->uid = stat->uid;
  entry->gid = stat->gid;
  entry->mode = stat->mode;
  entry->type = type_of_mode(stat->mode);
  entry->has = (uint8_t)((entry->has & ~(HAS_SIZE | HAS_LINKED)) | HAS_STAT);
  if (stat->links > 1 && entry->type == ENTRY_FILE) entry->has |= HAS_LINKED;
  // A file of /proc says 0 and one of /sys says 4096 whatever they hold, both without a block. So
  // does a file that is one hole, which file_measure tells apart.
  if (stat->blocks_512 > 0) entry->has |= HAS_SIZE;
}

static int32_t file_root(struct store *store, struct arena *, struct entry *out,
                         struct directory **directory, struct fault *fault) {
  struct file_state *state = store->state;
  struct io_stat stat;
  int code = state->io->stat(IO_HERE, state->path, true, &stat);
  // A link named by the caller that leads nowhere is still something: it is compared as a link.
  bool dangles = code == -ENOENT || code == -ELOOP;
  if (dangles) code = state->io->stat(IO_HERE, state->path, false, &stat);
  if (code < 0) return fault_from_errno(fault, -code, "stat");
  *out = (struct entry){.name = {(const uint8_t *)state->path, state->path_size}};
  file_entry_fill(out, &stat);
  int fd = IO_HERE;
  if (out->type == ENTRY_DIRECTORY) {
    fd = open_at(state, IO_HERE, state->path, IO_READ | IO_DIRECTORY | IO_FOLLOW);
    if (fd < 0) return fault_from_errno(fault, -fd, "open");
  } else if (!dangles) {
    out->has |= HAS_FOLLOWED;
  }
  struct file_directory *root = directory_new(store, nullptr, out->name, fd);
  if (!root) {
    if (fd >= 0) state->io->close(fd);
    return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  }
  root->followed = true;
  if (fd == IO_HERE) root->device = stat.device;
  *directory = &root->base;
  return 0;
}

static int32_t open_below(struct store *store, struct file_directory *parent, const char *name,
                          uint32_t flags, bool followed, struct file_directory **out,
                          struct fault *fault) {
  struct file_state *state = store->state;
  int fd = open_at(state, parent->fd, name, IO_READ | IO_DIRECTORY | flags);
  if (fd == -ENOTDIR || (fd == -ELOOP && !followed))
    return fault_set(fault, COPSE_E_CHANGED, "it was a directory and is none any more; run again");
  if (fd == -EXDEV)
    return fault_set(fault, COPSE_E_UNSAFE_PATH, "the path leaves its root through a link");
  if (fd < 0) return fault_from_errno(fault, -fd, "openat");
  *out = directory_new(store, parent, span_of(name), fd);
  if (!*out) {
    state->io->close(fd);
    return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  }
  (*out)->followed = followed;
  return 0;
}

static int32_t file_enter(struct directory *parent, const struct entry *entry,
                          struct directory **out, struct fault *fault) {
  bool follow = entry->has & HAS_FOLLOWED;
  struct file_directory *directory;
  int32_t code =
      open_below(parent->store, (struct file_directory *)parent, (const char *)entry->name.at,
                 follow ? IO_FOLLOW : 0, follow, &directory, fault);
  if (code == 0) *out = &directory->base;
  return code;
}

// ── Looking ──

static int32_t file_list(struct directory *base, struct listing *listing, struct fault *fault) {
  struct file_directory *directory = (struct file_directory *)base;
  const struct io_ops *io = ((struct file_state *)base->store->state)->io;
  alignas(16) uint8_t buffer[64 * 1024];
  for (;;) {
    int64_t filled = io->read_directory(directory->fd, buffer, sizeof buffer);
    if (filled < 0) return fault_from_errno(fault, (int)-filled, "getdents64");
    if (filled == 0) return 0;
    if (task_cancelled(base->store->task))
      return fault_set(fault, COPSE_E_CANCELLED, "cancelled while listing");
    size_t at = 0;
    struct io_name name = {};
    while (io_each_name(buffer, (size_t)filled, &at, &name)) {
      enum entry_type type = name.type == DT_REG       ? ENTRY_FILE
                             : name.type == DT_DIR     ? ENTRY_DIRECTORY
                             : name.type == DT_LNK     ? ENTRY_LINK
                             : name.type == DT_UNKNOWN ? ENTRY_NONE
                                                       : ENTRY_OTHER;
      span bytes = {(const uint8_t *)name.name, name.name_len};
      if (listing_add_name(listing, bytes, type, fault) < 0) return fault->code;
    }
    if (name.is_last) return 0;
  }
}

static int32_t file_stat(struct directory *base, struct entry *entry, bool follow,
                         struct fault *fault) {
  struct file_directory *directory = (struct file_directory *)base;
  const struct io_ops *io = ((struct file_state *)base->store->state)->io;
  struct io_stat stat;
  follow = follow || (entry->has & HAS_FOLLOWED);
  int code = io->stat(directory->fd, (const char *)entry->name.at, follow, &stat);
  if (code == -ELOOP) code = -ENOENT;
  if (code < 0) return fault_from_errno(fault, -code, "fstatat");
  bool was_link = entry->type == ENTRY_LINK;
  file_entry_fill(entry, &stat);
  if (follow && was_link) entry->has |= HAS_FOLLOWED;
  return 0;
}

static int32_t file_target(struct directory *base, struct entry *entry, struct arena *arena,
                           struct fault *fault) {
  struct file_directory *directory = (struct file_directory *)base;
  const struct io_ops *io = ((struct file_state *)base->store->state)->io;
  char target[4096];  // PATH_MAX: the kernel makes no longer one
  int64_t size = io->read_link(directory->fd, (const char *)entry->name.at, target, sizeof target);
  if (size == -EINVAL)
    return fault_set(fault, COPSE_E_CHANGED, "it was a link and is none any more; run again");
  if (size < 0) return fault_from_errno(fault, (int)-size, "readlinkat");
  entry->target = arena_copy(arena, (span){(const uint8_t *)target, (size_t)size});
  if (!entry->target.at) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  entry->has |= HAS_TARGET;
  return 0;
}

static int32_t file_where(struct store *store, struct arena *arena, span *out,
                          struct fault *fault) {
  struct file_state *state = store->state;
  char *path = arena_take(arena, PATH_MAX);
  if (!path) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  // What cannot be resolved is said by whoever opens it, or is too long and keeps its own name.
  *out = realpath(state->path, path) ? span_of(path)
                                     : (span){(const uint8_t *)state->path, state->path_size};
  return 0;
}

// Who asks for many paths mostly asks for neighbours, and each open costs as much as the answer. So
// the root and the directory of the last path are kept for the next one, where a store lingers.
static bool found_before(struct file_state *state, struct file_directory *const *kept, span name,
                         struct file_directory **out) {
  mutex_lock(&state->lock);
  struct file_directory *found = *kept;
  bool same = found && span_equal(span_of(found->name), name);
  if (same) atomic_fetch_add_explicit(&found->references, 1, memory_order_relaxed);
  mutex_unlock(&state->lock);
  if (same) *out = found;
  return same;
}

static void keep_found(struct store *store, struct file_directory **kept,
                       struct file_directory *found) {
  if (!store->lingers) return;
  struct file_state *state = store->state;
  atomic_fetch_add_explicit(&found->references, 1, memory_order_relaxed);
  mutex_lock(&state->lock);
  struct file_directory *before = *kept;
  *kept = found;
  mutex_unlock(&state->lock);
  if (before) file_leave(&before->base);
}

static int32_t find_root(struct store *store, struct arena *arena, struct file_directory **out,
                         struct fault *fault) {
  struct file_state *state = store->state;
  if (found_before(state, &state->root, (span){(const uint8_t *)state->path, state->path_size},
                   out))
    return 0;
  struct entry entry;
  struct directory *root;
  int32_t code = file_root(store, arena, &entry, &root, fault);
  if (code < 0) return code;
  if (entry.type != ENTRY_DIRECTORY) {
    file_leave(root);
    return fault_set(fault, COPSE_E_NOT_FOUND, "the location is a file, it holds nothing");
  }
  *out = (struct file_directory *)root;
  keep_found(store, &state->root, *out);
  return 0;
}

// Without openat2: part by part, links not followed.
static int32_t find_by_parts(struct store *store, struct file_directory *root, span path,
                             struct arena *arena, struct file_directory **out,
                             struct fault *fault) {
  struct file_directory *at = root;
  span part;
  int32_t code = 0;
  while (code == 0 && path_next(&path, &part)) {
    span copy = arena_copy(arena, part);
    struct file_directory *next = nullptr;
    code = copy.at ? open_below(store, at, (const char *)copy.at, 0, false, &next, fault)
                   : fault_set(fault, COPSE_E_MEMORY, "out of memory");
    if (at != root) file_leave(&at->base);
    at = next;
  }
  *out = at;
  return code;
}

// The directory at `path`, held. The root is the caller's.
static int32_t find_directory(struct store *store, struct file_directory *root, span path,
                              struct arena *arena, struct file_directory **out,
                              struct fault *fault) {
  struct file_state *state = store->state;
  if (found_before(state, &state->found, path, out)) return 0;
  span name = arena_copy(arena, path);
  if (!name.at) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  int32_t code =
      open_below(store, root, (const char *)name.at, IO_BENEATH | IO_FOLLOW, true, out, fault);
  if (code == 0) keep_found(store, &state->found, *out);
  if (code == COPSE_E_UNSUPPORTED) code = find_by_parts(store, root, path, arena, out, fault);
  if (code != COPSE_E_CHANGED) return code;
  return fault_set(fault, COPSE_E_NOT_FOUND, "no such file or directory");
}

static int32_t file_find(struct store *store, span path, struct arena *arena, struct entry *out,
                         struct directory **parent, struct fault *fault) {
  struct file_directory *at = nullptr;
  int32_t code = find_root(store, arena, &at, fault);
  span above = path_parent(path);
  if (code == 0 && above.size) {
    struct file_directory *root = at;
    at = nullptr;
    code = find_directory(store, root, above, arena, &at, fault);
    file_leave(&root->base);
  }
  if (code == 0) {
    *out = (struct entry){.name = arena_copy(arena, path_name(path))};
    code = out->name.at ? file_stat(&at->base, out, false, fault)
                        : fault_set(fault, COPSE_E_MEMORY, "out of memory");
  }
  if (code < 0) {
    if (at) file_leave(&at->base);
    return code;
  }
  *parent = &at->base;
  return 0;
}

static int compare_names(const void *left, const void *right) {
  return strcmp(*(char *const *)left, *(char *const *)right);
}

// name, NUL, u32 length, value, for each attribute in order of names.
static int32_t file_attributes(struct directory *base, const struct entry *entry,
                               struct arena *arena, span *out, struct fault *fault) {
  struct file_directory *directory = (struct file_directory *)base;
  const struct io_ops *io = ((struct file_state *)base->store->state)->io;
  constexpr size_t ATTRIBUTES_MAX = 64 * 1024;  // XATTR_LIST_MAX and XATTR_SIZE_MAX
  const char *name = (const char *)entry->name.at;
  *out = (span){};
  char *names = malloc(ATTRIBUTES_MAX + 1), *value = malloc(ATTRIBUTES_MAX);
  char **sorted = nullptr;
  int32_t code = 0;
  int64_t size =
      names && value ? io->list_xattr(directory->fd, name, names, ATTRIBUTES_MAX) : -ENOMEM;
  if (size == -EOPNOTSUPP || size == -ENODATA) size = 0;
  if (size < 0) code = fault_from_errno(fault, (int)-size, "listxattr");
  if (size > 0) {
    names[size] = 0;
    size_t count = 0;
    for (int64_t i = 0; i < size; i++) count += names[i] == 0;
    sorted = malloc((count + 1) * sizeof *sorted);
    size_t at = 0, total = 0;
    for (size_t i = 0; sorted && i < count; i++, at += strlen(names + at) + 1)
      sorted[i] = names + at;
    if (!sorted)
      code = fault_set(fault, COPSE_E_MEMORY, "out of memory");
    else
      qsort(sorted, count, sizeof *sorted, compare_names);
    uint8_t *all = nullptr;
    for (size_t i = 0; code == 0 && i < count; i++) {
      int64_t got = io->get_xattr(directory->fd, name, sorted[i], value, ATTRIBUTES_MAX);
      if (got < 0) {
        code = fault_from_errno(fault, (int)-got, "getxattr");
        break;
      }
      size_t name_size = strlen(sorted[i]) + 1, piece = name_size + 4 + (size_t)got;
      uint8_t *more = arena_take_bytes(arena, total + piece);
      if (!more) {
        code = fault_set(fault, COPSE_E_MEMORY, "out of memory");
        break;
      }
      if (total) memcpy(more, all, total);
      memcpy(more + total, sorted[i], name_size);
      uint32_t length = (uint32_t)got;
      memcpy(more + total + name_size, &length, 4);
      memcpy(more + total + name_size + 4, value, (size_t)got);
      all = more;
      total += piece;
    }
    if (code == 0) *out = (span){all, total};
  }
  free(sorted);
  free(names);
  free(value);
  return code;
}

// ── Reading ──

// On file systems that are known for it a read that gives less than was asked for has met the end;
// on /proc, FUSE and network file systems only a read of nothing has. Saves one read per small
// file.
static bool magic_short_is_end(uint64_t magic) {
  static const uint64_t known[] = {0xEF53 /* ext4 */,        0x58465342 /* xfs */,
                                   0x9123683E /* btrfs */,   0x01021994 /* tmpfs */,
                                   0x794c7630 /* overlay */, 0xF2F52010 /* f2fs */};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (known[i] == magic) return true;
  return false;
}

static bool short_is_end(struct file_state *state, struct file_directory *directory, int fd) {
  uint64_t magic = 0;
  if (!directory) return state->io->file_system(fd, &magic) >= 0 && magic_short_is_end(magic);
  uint8_t known = atomic_load_explicit(&directory->short_is_end, memory_order_relaxed);
  if (known != SHORT_UNKNOWN) return known == SHORT_IS_END;
  bool root_is_file = directory->here;
  struct descriptors *all = state->all;
  bool answer = false, found = false;
  if (root_is_file) {  // asked once per device, not once per file
    mutex_lock(&all->lock);
    for (size_t i = 0; i < all->devices_known && !found; i++) {
      found = all->devices[i].device == directory->device;
      if (found) answer = all->devices[i].short_is_end;
    }
    mutex_unlock(&all->lock);
  }
  if (!found) {
    answer = state->io->file_system(fd, &magic) >= 0 && magic_short_is_end(magic);
    if (root_is_file) {
      mutex_lock(&all->lock);
      all->devices[all->devices_next].device = directory->device;
      all->devices[all->devices_next].short_is_end = answer;
      all->devices_next = (all->devices_next + 1) % DEVICES_KNOWN;
      if (all->devices_known < DEVICES_KNOWN) all->devices_known++;
      mutex_unlock(&all->lock);
    }
  }
  atomic_store_explicit(&directory->short_is_end, answer ? SHORT_IS_END : SHORT_IS_SHORT,
                        memory_order_relaxed);
  return answer;
}

static int32_t file_reader(struct directory *base, const struct entry *entry, struct reader *out,
                           struct fault *fault) {
  struct file_directory *directory = (struct file_directory *)base;
  struct file_state *state = base->store->state;
  bool follow = entry->has & HAS_FOLLOWED;
  int fd = open_at(state, directory->fd, (const char *)entry->name.at,
                   IO_READ | (follow ? IO_FOLLOW : 0));
  if (fd == -ELOOP && !follow)
    return fault_set(fault, COPSE_E_CHANGED, "it was a file and is a link now; run again");
  if (fd == -ENXIO)  // a socket
    return fault_set(fault, COPSE_E_CHANGED, "it was a file and is none any more; run again");
  if (fd < 0) return fault_from_errno(fault, -fd, "openat");
  *out = (struct reader){.store = base->store, .fd = fd};
  // A link may lead to another file system than its directory's; a root's directory is the root
  // itself.
  out->slot[0] = follow && !directory->here ? nullptr : directory;
  return 0;
}

static bool file_together(struct directory *base, const struct entry *entry, struct io_file *out) {
  struct file_directory *directory = (struct file_directory *)base;
  struct file_state *state = base->store->state;
  // A link may lead to another file system, where a short read means something else.
  if (!state->io->fused || directory->here || (entry->has & HAS_FOLLOWED)) return false;
  if (!short_is_end(state, directory, directory->fd)) return false;
  out->directory = directory->fd;
  out->name = (const char *)entry->name.at;
  out->follow = false;
  return true;
}

static int64_t file_read(struct reader *reader, uint64_t at, uint8_t *into, size_t size,
                         struct fault *fault) {
  struct file_state *state = reader->store->state;
  int64_t got = state->io->read(reader->fd, into, size, at);
  if (got < 0) {
    if (got == -EISDIR || got == -ESPIPE || got == -ENXIO)
      return fault_set(fault, COPSE_E_CHANGED, "it was a file and is none any more; run again");
    return fault_from_errno(fault, (int)-got, "pread");
  }
  if (got == 0)
    reader->at_end = true;
  else if ((size_t)got < size)
    reader->at_end = short_is_end(state, reader->slot[0], reader->fd);
  return got;
}

static void file_read_end(struct reader *reader) {
  struct file_state *state = reader->store->state;
  state->io->close(reader->fd);
  reader->fd = -1;
}

static int32_t file_measure(struct reader *reader, struct entry *out, bool *holes,
                            struct fault *fault) {
  struct file_state *state = reader->store->state;
  struct io_stat stat;
  int code = state->io->stat(reader->fd, "", true, &stat);
  if (code < 0) return fault_from_errno(fault, -code, "fstat");
  if (!S_ISREG(stat.mode))
    return fault_set(fault, COPSE_E_CHANGED, "it was a file and is none any more; run again");
  file_entry_fill(out, &stat);
  if (stat.blocks_512 == 0 && short_is_end(state, reader->slot[0], reader->fd))
    out->has |= HAS_SIZE;
  if (holes) *holes = stat.blocks_512 < stat.size / 512;
  return 0;
}

static int32_t file_next_data(struct reader *reader, uint64_t at, uint64_t *begin, uint64_t *end,
                              struct fault *fault) {
  const struct io_ops *io = ((struct file_state *)reader->store->state)->io;
  int64_t data = io->seek_data(reader->fd, at);
  if (data == -ENXIO) return 0;
  if (data == -EINVAL || data == -EOPNOTSUPP) {  // cannot tell: all of it may be data
    *begin = at;
    *end = UINT64_MAX;
    return 1;
  }
  if (data < 0) return fault_from_errno(fault, (int)-data, "lseek");
  int64_t hole = io->seek_hole(reader->fd, (uint64_t)data);
  if (hole < 0) return fault_from_errno(fault, (int)-hole, "lseek");
  *begin = (uint64_t)data;
  *end = (uint64_t)hole;
  return 1;
}

const struct store_ops file_store = {
    .scheme = "file",
    .can = CAN_LIST | CAN_RANGE | CAN_WRITE | CAN_DELETE | CAN_MTIME | CAN_MODE | CAN_LINKS |
           CAN_ATOMIC | CAN_PARALLEL | CAN_OWNER | CAN_XATTR | CAN_IDENTITY | CAN_RENAME |
           CAN_TWINS | IS_LOCAL,
    .open = file_open,
    .close = file_close,
    .root = file_root,
    .where = file_where,
    .find = file_find,
    .enter = file_enter,
    .leave = file_leave,
    .hold = file_hold,
    .drop = file_drop,
    .list = file_list,
    .stat = file_stat,
    .target = file_target,
    .attributes = file_attributes,
    .reader = file_reader,
    .together = file_together,
    .read = file_read,
    .read_end = file_read_end,
    .measure = file_measure,
    .next_data = file_next_data,
    .above = file_above,
    .create = file_create,
    .writer = file_writer,
    .resume = file_resume,
    .keep = file_keep,
    .reread = file_reread,
    .forget = file_forget,
    .write = file_write,
    .pull = file_pull,
    .is_cached = file_is_cached,
    .reuse = file_reuse,
    .commit = file_commit,
    .abandon = file_abandon,
    .make = file_make,
    .link = file_link,
    .rename = file_rename,
    .remove = file_remove,
    .set = file_set,
    .settle = file_settle,
    .claim = file_claim,
    .is_stale = file_is_stale,
    .partial = file_partial_of,
};
