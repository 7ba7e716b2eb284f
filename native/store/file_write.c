// file_write: putting files, directories and links into a local directory, and taking them away.
//
// Everything is named relative to the descriptor of a held directory, so that a directory swapped
// for a link leads nowhere. Content is written to a temporary of our own name in the same directory
// and renamed, so that the name holds the whole old or the whole new file at every instant. A
// temporary is locked while it is written: one that nobody holds locked was left by a killed
// process.
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "engine/io.h"
#include "engine/runtime.h"
#include "store/file.h"

constexpr uint32_t KIND = 0170000, DIRECTORY = 0040000, REGULAR = 0100000;

// Not derived from the file's name: a long name must fit, and a stranger must not be able to guess
// it.
#define TEMPORARY_BEGIN ".copse-"
#define TEMPORARY_END ".part"
#define TEMPORARY_KEPT ".keep"  // file_partial.c
constexpr size_t TEMPORARY_RANDOM = FILE_TEMPORARY_RANDOM;
constexpr size_t TEMPORARY_SIZE =
    sizeof TEMPORARY_BEGIN - 1 + TEMPORARY_RANDOM + sizeof TEMPORARY_END - 1;
constexpr int TEMPORARY_TRIES = 8;

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory");
}

static int32_t is_directory(struct fault *fault) {
  return fault_set(fault, COPSE_E_EXISTS, "a directory has that name; remove it first");
}

static int32_t is_there_now(struct fault *fault) {
  return fault_set(fault, COPSE_E_EXISTS,
                   "something has that name now, or one that differs only in case; run again, or "
                   "rename one of the two");
}

static const struct io_ops *io_of(const struct directory *base) {
  return ((const struct file_state *)base->store->state)->io;
}

static int fd_of(const struct directory *base) { return ((const struct file_directory *)base)->fd; }

static const char *name_of(span name) { return (const char *)name.at; }

static bool temporary_name(char into[32]) {
  uint8_t random[TEMPORARY_RANDOM / 2];
  if (getrandom(random, sizeof random, 0) != sizeof random) return false;
  snprintf(into, 32, TEMPORARY_BEGIN "%02x%02x%02x%02x%02x%02x%02x%02x" TEMPORARY_END, random[0],
           random[1], random[2], random[3], random[4], random[5], random[6], random[7]);
  return true;
}

bool store_name_is_ours(span name) {
  if (name.size != TEMPORARY_SIZE) return false;
  const char *at = name_of(name);
  size_t begin = sizeof TEMPORARY_BEGIN - 1;
  if (memcmp(at, TEMPORARY_BEGIN, begin) != 0) return false;
  const char *end = at + begin + TEMPORARY_RANDOM;
  if (memcmp(end, TEMPORARY_END, sizeof TEMPORARY_END - 1) != 0 &&
      memcmp(end, TEMPORARY_KEPT, sizeof TEMPORARY_KEPT - 1) != 0)
    return false;
  for (size_t i = 0; i < TEMPORARY_RANDOM; i++) {
    char c = at[begin + i];
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
  }
  return true;
}

// ── Metadata ──

static bool next_attribute(span *rest, span *name, span *value) {
  const uint8_t *end = rest->size ? memchr(rest->at, 0, rest->size) : nullptr;
  size_t name_size = end ? (size_t)(end - rest->at) : 0;
  uint32_t size;
  if (!end || rest->size - name_size - 1 < sizeof size) return false;
  memcpy(&size, end + 1, sizeof size);
  size_t head = name_size + 1 + sizeof size;
  if (rest->size - head < size) return false;
  *name = (span){rest->at, name_size};
  *value = (span){rest->at + head, size};
  *rest = (span){rest->at + head + size, rest->size - head - size};
  return true;
}

// Sets what is wanted and takes the others away.
static int set_attributes(const struct io_ops *io, int at, const char *name, span wanted) {
  constexpr size_t LIST_MAX = 64 * 1024;  // XATTR_LIST_MAX
  span rest = wanted, key, value;
  while (next_attribute(&rest, &key, &value)) {
    int code = io->set_xattr(at, name, name_of(key), value.at, value.size);
    if (code < 0) return code;
  }
  char *names = malloc(LIST_MAX);
  if (!names) return -ENOMEM;
  int64_t size = io->list_xattr(at, name, names, LIST_MAX);
  int code = size == -EOPNOTSUPP ? 0 : size < 0 ? (int)size : 0;
  for (int64_t i = 0; code == 0 && i < size;) {
    span one = {(const uint8_t *)names + i, strnlen(names + i, (size_t)(size - i))};
    if ((int64_t)one.size + i == size) break;
    bool is_wanted = false;
    for (rest = wanted; !is_wanted && next_attribute(&rest, &key, &value);)
      is_wanted = span_equal(key, one);
    if (!is_wanted) code = io->remove_xattr(at, name, names + i);
    if (code == -ENODATA) code = 0;
    i += (int64_t)one.size + 1;
  }
  free(names);
  return code;
}

// `name` in `at`, or `at` itself when it is empty. A change of owner clears special bits, so it
// comes before the mode; the time comes last.
static int32_t apply(const struct io_ops *io, int at, const char *name, const struct wanted *wanted,
                     uint32_t mode, struct fault *fault) {
  const struct entry *entry = wanted->entry;
  int code = 0;
  const char *call = "fsetxattr";
  if (wanted->what & WANT_XATTR) code = set_attributes(io, at, name, wanted->attributes);
  if (code >= 0 && (wanted->what & WANT_OWNER))
    code = io->set_owner(at, name, entry->uid, entry->gid), call = "fchown";
  if (code >= 0 && mode != UINT32_MAX) code = io->set_mode(at, name, mode), call = "fchmod";
  if (code >= 0 && (wanted->what & WANT_MTIME) && entry->mtime_ns != INT64_MIN)
    code = io->set_mtime(at, name, entry->mtime_ns), call = "futimens";
  return code < 0 ? fault_from_errno(fault, -code, call) : 0;
}

int32_t file_set(struct directory *base, const struct wanted *wanted, struct fault *fault) {
  // A link has no permission bits of its own.
  bool has_mode = (wanted->what & WANT_MODE) && wanted->entry->type != ENTRY_LINK;
  return apply(io_of(base), fd_of(base), name_of(wanted->entry->name), wanted,
               has_mode ? wanted->entry->mode & 07777 : UINT32_MAX, fault);
}

// ── Directories ──

int32_t file_above(struct store *store, bool make, struct arena *arena, struct entry *out,
                   struct directory **directory, struct fault *fault) {
  struct file_state *state = store->state;
  const struct io_ops *io = state->io;
  size_t size = state->path_size;
  while (size > 1 && state->path[size - 1] == '/') size--;
  size_t at = size;
  while (at > 0 && state->path[at - 1] != '/') at--;
  *out = (struct entry){.mtime_ns = INT64_MIN};
  out->name = arena_copy(arena, (span){(const uint8_t *)state->path + at, size - at});
  span parent = at ? (span){(const uint8_t *)state->path, at} : SPAN(".");
  parent = arena_copy(arena, parent);
  if (!out->name.at || !parent.at) return no_memory(fault);
  if (out->name.size == 0 || span_equal(out->name, SPAN(".")) || span_equal(out->name, SPAN("..")))
    return fault_set(fault, COPSE_E_ARGUMENT, "the path ends with no name of its own");
  int fd = io->open(IO_HERE, name_of(parent), IO_READ | IO_DIRECTORY | IO_FOLLOW);
  if (fd == -ENOENT && make) {
    // What the caller names is resolved as any program does, links and all.
    char *path = malloc(parent.size + 1);
    if (!path) return no_memory(fault);
    memcpy(path, parent.at, parent.size + 1);
    fd = 0;
    int refused = 0;
    for (size_t i = 1; i <= parent.size && fd >= 0; i++) {
      if (path[i] != '/' && path[i] != 0) continue;
      char kept = path[i];
      path[i] = 0;
      fd = io->make_directory(IO_HERE, path, 0777);
      if (fd == -EROFS || fd == -EACCES) refused = fd;
      if (fd == -EEXIST || fd == refused) fd = 0;  // the open will tell whether it is there
      path[i] = kept;
    }
    free(path);
    if (fd >= 0) fd = io->open(IO_HERE, name_of(parent), IO_READ | IO_DIRECTORY | IO_FOLLOW);
    if (fd == -ENOENT && refused < 0) return fault_from_errno(fault, -refused, "mkdir");
  }
  if (fd < 0) return fault_from_errno(fault, -fd, "open");
  int32_t code = file_directory_at(store, parent, fd, directory, fault);
  if (code < 0) return code;
  code = store->ops->stat(*directory, out, false, fault);
  if (code == COPSE_E_NOT_FOUND) {
    *fault = (struct fault){};
    return 0;
  }
  if (code < 0) store->ops->leave(*directory);
  return code;
}

int32_t file_create(struct directory *base, const struct wanted *wanted, struct directory **out,
                    struct fault *fault) {
  // Until all is in it, we must be able to write here, and nobody else needs to look.
  uint32_t mode = wanted->what & WANT_MODE ? (wanted->entry->mode & 0777) | 0700 : 0777;
  int code = io_of(base)->make_directory(fd_of(base), name_of(wanted->entry->name), mode);
  if (code < 0) return fault_from_errno(fault, -code, "mkdirat");
  struct entry plain = {.name = wanted->entry->name, .type = ENTRY_DIRECTORY};
  return base->store->ops->enter(base, &plain, out, fault);
}

// ── Files ──

static int create_temporary(const struct io_ops *io, int at, char temporary[32]) {
  int fd = -EIO;
  for (int i = 0; i < TEMPORARY_TRIES; i++) {
    if (!temporary_name(temporary)) break;
    fd = io->open(at, temporary, IO_CREATE | IO_READ);
    if (fd != -EEXIST) break;
  }
  if (fd >= 0) io->lock(fd);  // where there are no locks we sweep nothing either
  return fd;
}

int32_t file_writer_new(struct directory *base, const struct wanted *wanted,
                        struct file_writer **out, struct fault *fault) {
  const struct io_ops *io = io_of(base);
  span name = wanted->entry->name;
  size_t behind = wanted->what & WANT_XATTR ? wanted->attributes.size : 0;
  struct file_writer *writer = malloc(sizeof *writer + name.size + 1 + behind);
  if (!writer) return no_memory(fault);
  *writer = (struct file_writer){.base.store = base->store,
                                 .io = io,
                                 .directory = (struct file_directory *)base,
                                 .fd = -1,
                                 .wanted = *wanted,
                                 .entry = *wanted->entry};
  memcpy(writer->name, name.at, name.size);
  writer->name[name.size] = 0;
  writer->entry.name = (span){(uint8_t *)writer->name, name.size};
  writer->wanted.entry = &writer->entry;
  uint8_t *attributes = (uint8_t *)writer->name + name.size + 1;
  if (behind) memcpy(attributes, wanted->attributes.at, behind);
  writer->wanted.attributes = (span){attributes, behind};
  // It is made private and widened when it is whole.
  if (wanted->what & WANT_MODE) {
    writer->mode = wanted->entry->mode & 07777;
  } else {
    writer->mode = 0666 & ~system_umask();
    struct io_stat old;
    if (io->stat(fd_of(base), writer->name, false, &old) >= 0) {
      if ((old.mode & KIND) == REGULAR) writer->mode = old.mode & 0777;
      if ((old.mode & KIND) == DIRECTORY) {
        free(writer);
        return is_directory(fault);
      }
    }
  }
  file_directory_keep(writer->directory);
  *out = writer;
  return 0;
}

// A file whose name is new needs no temporary where the system can make one without a name: fewer
// calls, and nothing stays of it when we are killed. Large ones have one, to be seen growing.
static bool open_nameless(struct file_writer *writer) {
  constexpr uint64_t LARGE = 1 << 20;
  const struct io_ops *io = writer->io;
  struct file_state *state = writer->base.store->state;
  int at = writer->directory->fd;
  uint8_t can = atomic_load_explicit(&state->nameless, memory_order_relaxed);
  bool is_small = (writer->entry.has & HAS_SIZE) && writer->entry.size <= LARGE;
  if (!writer->wanted.is_new || !is_small || !io->open_nameless || can == NAMELESS_CANNOT)
    return false;
  int fd = io->open_nameless(at, writer->mode & 0777);
  // Some can make it and never name it. Asked with a name that is always there, nothing is made.
  if (fd >= 0 && can == NAMELESS_UNKNOWN)
    can = io->name_file(fd, at, ".") == -EEXIST ? NAMELESS_CAN : NAMELESS_CANNOT;
  if (fd >= 0 && can == NAMELESS_CANNOT) {
    io->close(fd);
    fd = -EOPNOTSUPP;
  }
  if (fd == -EOPNOTSUPP || fd == -EISDIR || fd == -EINVAL || fd == -ENOSYS) can = NAMELESS_CANNOT;
  atomic_store_explicit(&state->nameless, can, memory_order_relaxed);
  writer->fd = fd;
  writer->is_nameless = fd >= 0;
  return fd >= 0;
}

int32_t file_writer_open(struct file_writer *writer, struct fault *fault) {
  if (open_nameless(writer)) return 0;
  writer->fd = create_temporary(writer->io, writer->directory->fd, writer->temporary);
  if (writer->fd >= 0) return 0;
  int32_t code = fault_from_errno(fault, -writer->fd, "openat");
  writer->temporary[0] = 0;
  file_abandon(&writer->base);
  return code;
}

int32_t file_writer(struct directory *base, const struct wanted *wanted, struct writer **out,
                    struct fault *fault) {
  struct file_writer *writer;
  int32_t code = file_writer_new(base, wanted, &writer, fault);
  if (code == 0) code = file_writer_open(writer, fault);
  if (code == 0) *out = &writer->base;
  return code;
}

static void reach(struct file_writer *writer, uint64_t end) {
  uint64_t before = atomic_load_explicit(&writer->end, memory_order_relaxed);
  while (before < end &&
         !atomic_compare_exchange_weak_explicit(&writer->end, &before, end, memory_order_relaxed,
                                                memory_order_relaxed)) {
  }
}

int32_t file_write(struct writer *base, uint64_t at, const uint8_t *bytes, size_t size,
                   struct fault *fault) {
  struct file_writer *writer = (struct file_writer *)base;
  while (size > 0) {
    int64_t wrote = writer->io->write(writer->fd, bytes, size, at);
    if (wrote <= 0) return fault_from_errno(fault, wrote < 0 ? (int)-wrote : EIO, "pwrite");
    bytes += wrote;
    at += (uint64_t)wrote;
    size -= (size_t)wrote;
  }
  reach(writer, at);
  return 0;
}

// What a kernel or file system answers that cannot do it between these two files.
static bool is_not_here(int64_t code) {
  return code == -EOPNOTSUPP || code == -EXDEV || code == -EINVAL || code == -ENOSYS ||
         code == -ENOTTY || code == -EPERM || code == -EBADF || code == -ETXTBSY;
}

static void went(struct writer *writer, enum io_way way, uint64_t bytes) {
  atomic_fetch_add_explicit(&writer->store->task->ways[way], bytes, memory_order_relaxed);
}

constexpr uint64_t RANGE_MAX = 64 << 20;  // so that a cancelled task need not wait for long

// What comes out of a pipe. Its end is 0 as well: whoever reads then meets it again.
static int64_t pull_flow(struct file_writer *writer, struct reader *reader, uint64_t at,
                         uint64_t size, struct fault *fault) {
  struct file_state *state = writer->base.store->state;
  constexpr uint64_t PIECE = 1 << 20;
  while (!atomic_load_explicit(&state->no_flow, memory_order_relaxed)) {
    int32_t code = store_wait(reader->store->task, reader->fd, false, fault);
    if (code < 0) return code;
    int64_t got =
        writer->io->flow_in(writer->fd, reader->fd, at, (size_t)(size < PIECE ? size : PIECE));
    if (got == -EAGAIN) continue;
    if (got > 0) {
      reach(writer, at + (uint64_t)got);
      went(&writer->base, IO_SPLICE, (uint64_t)got);
    }
    if (got >= 0) return got;
    if (!is_not_here(got)) return fault_from_errno(fault, (int)-got, "splice");
    atomic_store_explicit(&state->no_flow, true, memory_order_relaxed);
  }
  return 0;
}

// What came of copying to that place inside the kernel. 0: it does not do that, now and from now
// on.
static int64_t copied_range(struct file_writer *writer, int64_t copied, enum io_way way,
                            uint64_t at, _Atomic bool *is_not, struct fault *fault) {
  if (is_not_here(copied)) {
    atomic_store_explicit(is_not, true, memory_order_relaxed);
    return 0;
  }
  if (copied < 0) return fault_from_errno(fault, (int)-copied, "copy_file_range");
  if (copied > 0) {
    reach(writer, at + (uint64_t)copied);
    went(&writer->base, way, (uint64_t)copied);
  }
  return copied;
}

int64_t file_pull(struct writer *base, struct reader *reader, uint64_t at, uint64_t size,
                  struct fault *fault) {
  struct file_writer *writer = (struct file_writer *)base;
  struct file_state *state = base->store->state;
  if (reader->flows) return pull_flow(writer, reader, at, size, fault);
  if (reader->store->ops->scheme != base->store->ops->scheme) return 0;
  if (size == UINT64_MAX) {
    if (atomic_load_explicit(&state->no_clone, memory_order_relaxed)) return 0;
    if (writer->io->clone(writer->fd, reader->fd) < 0) {
      atomic_store_explicit(&state->no_clone, true, memory_order_relaxed);
      return 0;
    }
    atomic_store_explicit(&writer->may_be_long, true, memory_order_relaxed);
    struct io_stat stat;
    if (writer->io->stat(writer->fd, "", true, &stat) >= 0) went(base, IO_CLONE, stat.size);
    return 1;
  }
  if (atomic_load_explicit(&state->no_range, memory_order_relaxed)) return 0;
  size_t piece = (size_t)(size < RANGE_MAX ? size : RANGE_MAX);
  enum io_way way;
  int64_t copied = writer->io->copy_range(writer->fd, reader->fd, at, piece, &way);
  return copied_range(writer, copied, way, at, &state->no_range, fault);
}

// Others share blocks, or copy on a server.
static bool is_cached(const struct io_ops *io, int fd) {
  constexpr uint64_t EXT4 = 0xEF53, TMPFS = 0x01021994;
  uint64_t magic = 0;
  return io->file_system(fd, &magic) >= 0 && (magic == EXT4 || magic == TMPFS);
}

bool file_is_cached(struct writer *base, const struct reader *reader) {
  const struct file_writer *writer = (const struct file_writer *)base;
  return is_cached(writer->io, writer->fd) && is_cached(writer->io, reader->fd);
}

// The temporary, or what never had a name, gets it.
static int32_t give_name(struct file_writer *writer, struct fault *fault) {
  const struct io_ops *io = writer->io;
  int at = writer->directory->fd;
  // Renamed while it is locked: nobody takes it for a stale one in between.
  int code = writer->is_nameless
                 ? io->name_file(writer->fd, at, writer->name)
                 : io->rename(at, writer->temporary, at, writer->name, !writer->wanted.is_new);
  const char *call = writer->is_nameless ? "linkat" : "renameat";
  if (writer->is_nameless && (code == -EPERM || code == -ENOENT || code == -EOPNOTSUPP)) {
    // Not with this file system after all: the next try has a temporary.
    struct file_state *state = writer->base.store->state;
    atomic_store_explicit(&state->nameless, NAMELESS_CANNOT, memory_order_relaxed);
    code = -EBUSY;
  }
  if (code >= 0) writer->temporary[0] = 0;  // it has its name now
  int closed = io->close(writer->fd);
  writer->fd = -1;
  if (code >= 0 && closed < 0) {
    // Nothing to be tried again: a second file would find the first under its name.
    int32_t result = fault_from_errno(fault, -closed, "close");
    return fault_retryable(result) ? fault_set(fault, COPSE_E_IO, "closing it failed") : result;
  }
  if (code == -EEXIST && writer->wanted.is_new) return is_there_now(fault);
  if (code == -EISDIR || code == -ENOTEMPTY || code == -EEXIST) return is_directory(fault);
  return code < 0 ? fault_from_errno(fault, -code, call) : 0;
}

// What was made without a name has its mode from the beginning, when no umask took of it.
static int set_missing_mode(struct file_writer *writer, struct io_stat *stat) {
  if (!writer->is_nameless || (stat->mode & 07777) == writer->mode) return 0;
  int code = writer->io->set_mode(writer->fd, "", writer->mode);
  return code < 0 ? code : writer->io->stat(writer->fd, "", true, stat);
}

int64_t file_reuse(struct writer *base, struct reader *old, uint64_t from, uint64_t at,
                   uint64_t size, struct fault *fault) {
  struct file_writer *writer = (struct file_writer *)base;
  struct file_state *state = base->store->state;
  bool is_whole = size == UINT64_MAX;
  _Atomic bool *is_not = is_whole ? &state->no_own_clone : &state->no_own_range;
  if (old->store != base->store || atomic_load_explicit(is_not, memory_order_relaxed)) return 0;
  if (!is_whole) {
    size_t piece = (size_t)(size < RANGE_MAX ? size : RANGE_MAX);
    int64_t copied = writer->io->copy_from(writer->fd, at, old->fd, from, piece);
    return copied_range(writer, copied, IO_COPY_RANGE, at, is_not, fault);
  }
  int code = writer->io->clone(writer->fd, old->fd);
  if (is_not_here(code)) {
    atomic_store_explicit(is_not, true, memory_order_relaxed);
    return 0;
  }
  if (code < 0) return fault_from_errno(fault, -code, "ioctl");
  atomic_store_explicit(&writer->may_be_long, true, memory_order_relaxed);
  return 1;
}

int32_t file_commit(struct writer *base, uint64_t size, struct entry *out, struct fault *fault) {
  struct file_writer *writer = (struct file_writer *)base;
  const struct io_ops *io = writer->io;
  int code = 0;
  const char *call = "ftruncate";
  if (atomic_load_explicit(&writer->end, memory_order_relaxed) != size ||
      atomic_load_explicit(&writer->may_be_long, memory_order_relaxed))
    code = io->set_size(writer->fd, size);
  uint32_t mode = writer->is_nameless ? UINT32_MAX : writer->mode;
  int32_t result = code < 0 ? fault_from_errno(fault, -code, call)
                            : apply(io, writer->fd, "", &writer->wanted, mode, fault);
  struct io_stat stat = {};
  if (result == 0) {
    code = io->stat(writer->fd, "", true, &stat), call = "fstat";
    if (code >= 0) code = set_missing_mode(writer, &stat), call = "fchmod";
    if (code >= 0 && !base->store->hasty) code = io->sync(writer->fd), call = "fsync";
    result = code < 0 ? fault_from_errno(fault, -code, call) : give_name(writer, fault);
  }
  if (result == 0) file_entry_fill(out, &stat);
  file_abandon(base);
  return result;
}

void file_abandon(struct writer *base) {
  struct file_writer *writer = (struct file_writer *)base;
  bool is_kept = writer->journal_at && writer->has_records;
  if (writer->temporary[0] && !is_kept)
    writer->io->remove(writer->directory->fd, writer->temporary, false);
  if (writer->fd >= 0) writer->io->close(writer->fd);
  file_directory_free(writer->directory);
  free(writer);
}

// ── Links ──

// `made` says how making the temporary went; it takes the name's place.
static int replace(const struct io_ops *io, int at, const char *temporary, const char *name) {
  int code = io->rename(at, temporary, at, name, true);
  // Both names of one file: rename does nothing and leaves both.
  io->remove(at, temporary, false);
  return code;
}

int32_t file_make(struct directory *base, const struct wanted *wanted, struct fault *fault) {
  const struct io_ops *io = io_of(base);
  int at = fd_of(base);
  span target = wanted->entry->target;
  char *copy = malloc(target.size + 1), temporary[32];
  if (!copy) return no_memory(fault);
  if (target.size) memcpy(copy, target.at, target.size);
  copy[target.size] = 0;
  const char *name = name_of(wanted->entry->name), *made = name;
  int code = io->make_link(at, made, copy);
  if (code == -EEXIST && wanted->is_new) {
    free(copy);
    return is_there_now(fault);
  }
  if (code == -EEXIST) {
    made = temporary;
    code = temporary_name(temporary) ? io->make_link(at, made, copy) : -EIO;
  }
  free(copy);
  if (code < 0) return fault_from_errno(fault, -code, "symlinkat");
  int32_t result = apply(io, at, made, wanted, UINT32_MAX, fault);
  if (made == name) return result;
  if (result < 0) {
    io->remove(at, made, false);
    return result;
  }
  code = replace(io, at, made, name);
  if (code == -EISDIR) return is_directory(fault);
  return code < 0 ? fault_from_errno(fault, -code, "renameat") : 0;
}

int32_t file_link(struct directory *from, const struct entry *from_entry, struct directory *base,
                  span name, struct fault *fault) {
  const struct io_ops *io = io_of(base);
  int at = fd_of(base);
  int code = io->link(fd_of(from), name_of(from_entry->name), at, name_of(name));
  if (code == -EEXIST) {
    char temporary[32];
    code = temporary_name(temporary)
               ? io->link(fd_of(from), name_of(from_entry->name), at, temporary)
               : -EIO;
    if (code >= 0) code = replace(io, at, temporary, name_of(name));
    if (code == -EISDIR) return is_directory(fault);
  }
  return code < 0 ? fault_from_errno(fault, -code, "linkat") : 0;
}

int32_t file_rename(struct directory *from, const struct entry *from_entry, struct directory *base,
                    span name, struct fault *fault) {
  int code = io_of(base)->rename(fd_of(from), name_of(from_entry->name), fd_of(base), name_of(name),
                                 false);
  return code < 0 ? fault_from_errno(fault, -code, "renameat2") : 0;
}

int32_t file_remove(struct directory *base, const struct entry *entry, struct fault *fault) {
  const struct io_ops *io = io_of(base);
  struct io_stat stat;
  int code = io->stat(fd_of(base), name_of(entry->name), false, &stat);
  if (code < 0) return fault_from_errno(fault, -code, "fstatat");
  bool is_known = entry->has & HAS_STAT;
  if (is_known && (stat.inode != entry->inode || stat.device != entry->device))
    return fault_set(fault, COPSE_E_CHANGED,
                     "it was replaced by something else meanwhile and is left; run again");
  code = io->remove(fd_of(base), name_of(entry->name), (stat.mode & KIND) == DIRECTORY);
  if (code == -ENOTEMPTY || code == -EEXIST)
    return fault_set(fault, COPSE_E_EXISTS,
                     "the directory is not empty; remove what is in it first");
  return code < 0 ? fault_from_errno(fault, -code, "unlinkat") : 0;
}

// ── Directories as a whole ──

int32_t file_settle(struct directory *base, struct fault *fault) {
  if (base->store->hasty || fd_of(base) < 0) return 0;
  int code = io_of(base)->sync(fd_of(base));
  // Some file systems flush no directories, and say so.
  if (code == -EINVAL || code == -EBADF) code = 0;
  return code < 0 ? fault_from_errno(fault, -code, "fsync") : 0;
}

int32_t file_claim(struct directory *base, struct fault *fault) {
  struct file_state *state = base->store->state;
  int fd = state->io->open(fd_of(base), ".", IO_READ | IO_DIRECTORY);
  if (fd < 0) return fault_from_errno(fault, -fd, "openat");
  int code = state->io->lock(fd);
  if (code == -EAGAIN) {
    state->io->close(fd);
    return fault_set(fault, COPSE_E_BUSY,
                     "another run is writing to this directory; wait until it has ended");
  }
  state->claimed = fd;  // without locks here (some network file systems) nobody is kept out
  return 0;
}

bool file_is_stale(struct directory *base, const struct entry *entry, bool of_any_age) {
  if (!store_name_is_ours(entry->name)) return false;
  if (entry->type == ENTRY_LINK) return true;  // lives for an instant only
  if (entry->type != ENTRY_FILE) return false;
  const struct io_ops *io = io_of(base);
  int fd = io->open(fd_of(base), name_of(entry->name), IO_READ);
  if (fd < 0) return fd == -EACCES;
  bool is_stale = io->lock(fd) >= 0 && (of_any_age || !file_is_kept(name_of(entry->name), io, fd));
  io->close(fd);
  return is_stale;
}
