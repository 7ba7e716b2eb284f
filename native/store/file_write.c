// file_write: putting files, directories and links below a local root, and taking them away.
//
// Content is written to a temporary of our own name in the destination's directory and renamed over
// it, so that the name holds the whole old or the whole new file at every instant. No link is
// followed on the way down.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "engine/io.h"
#include "engine/runtime.h"
#include "store/file.h"

struct file_writer {
  struct writer base;
  const struct io_ops *io;
  int directory, fd;
  uint32_t mode;
  int64_t mtime_ns;
  char temporary[32];
  char name[];
};

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory");
}

// Opens (and with `make` makes) the directory that holds the last part of root/path. An empty path
// means the root itself, whose parent is then opened as the caller named it. *name: the last part,
// from malloc.
static int open_parent(struct store *store, span path, bool make, char **name,
                       struct fault *fault) {
  struct file_state *state = store->state;
  const struct io_ops *io = state->io;
  span last = path.size ? path_name(path) : (span){};
  span root = {(const uint8_t *)state->path, state->path_size};
  if (!path.size) {
    while (root.size > 1 && root.at[root.size - 1] == '/') root.size--;
    size_t at = root.size;
    while (at > 0 && root.at[at - 1] != '/') at--;
    last = (span){root.at + at, root.size - at};
    root.size = at;
  }
  char *buffer = malloc(root.size + path.size + last.size + 4);
  *name = malloc(last.size + 1);
  int fd = -ENOMEM;
  if (!buffer || !*name) goto out;
  memcpy(*name, last.at, last.size);
  (*name)[last.size] = 0;
  if (root.size == 0) root = SPAN(".");
  memcpy(buffer, root.at, root.size);
  buffer[root.size] = 0;
  fd = io->open(IO_HERE, buffer, IO_READ | IO_DIRECTORY | IO_FOLLOW);
  if (fd == -ENOENT && make && path.size) {
    int made = io->make_directory(IO_HERE, buffer, 0777);
    fd = made < 0 && made != -EEXIST
             ? made
             : io->open(IO_HERE, buffer, IO_READ | IO_DIRECTORY | IO_FOLLOW);
  }
  span rest = path.size ? path_parent(path) : (span){}, part;
  while (fd >= 0 && path_next(&rest, &part)) {
    memcpy(buffer, part.at, part.size);
    buffer[part.size] = 0;
    int below = io->open(fd, buffer, IO_READ | IO_DIRECTORY);
    if (below == -ENOENT && make) {
      int made = io->make_directory(fd, buffer, 0777);
      below = made < 0 && made != -EEXIST ? made : io->open(fd, buffer, IO_READ | IO_DIRECTORY);
    }
    io->close(fd);
    fd = below;
  }
out:
  free(buffer);
  if (fd >= 0) return fd;
  free(*name);
  *name = nullptr;
  return fault_from_errno(fault, -fd, "openat");
}

// Not derived from the file's name: a long name must fit, and a stranger must not be able to guess
// it.
static bool temporary_name(char into[32]) {
  uint8_t random[8];
  if (getrandom(random, sizeof random, 0) != sizeof random) return false;
  snprintf(into, 32, ".copse-%02x%02x%02x%02x%02x%02x%02x%02x.part", random[0], random[1],
           random[2], random[3], random[4], random[5], random[6], random[7]);
  return true;
}

int32_t file_writer(struct store *store, span path, const struct entry *want, uint64_t *resume_from,
                    struct writer **out, struct fault *fault) {
  struct file_state *state = store->state;
  char *name;
  int directory = open_parent(store, path, true, &name, fault);
  if (directory < 0) return directory;
  struct file_writer *writer = malloc(sizeof *writer + strlen(name) + 1);
  if (!writer) {
    state->io->close(directory);
    free(name);
    return no_memory(fault);
  }
  *writer = (struct file_writer){.base.store = store,
                                 .io = state->io,
                                 .directory = directory,
                                 .fd = -EIO,
                                 .mode = want->mode & 0777,
                                 .mtime_ns = want->mtime_ns};
  // No mode asked for: what any program's new file gets. It is made private and widened when it is
  // whole.
  if (want->mode == 0) writer->mode = 0666 & ~system_umask();
  memcpy(writer->name, name, strlen(name) + 1);
  free(name);
  // A replaced file keeps its permission bits, a new one gets what the caller wants.
  struct io_stat old;
  if (state->io->stat(directory, writer->name, false, &old) >= 0) {
    constexpr uint32_t KIND = 0170000, DIRECTORY = 0040000, REGULAR = 0100000;
    if ((old.mode & KIND) == DIRECTORY) {
      state->io->close(directory);
      free(writer);
      return fault_set(fault, COPSE_E_EXISTS, "a directory has that name; remove it first");
    }
    if ((old.mode & KIND) == REGULAR) writer->mode = old.mode & 0777;
  }
  for (int i = 0; i < 8 && writer->fd < 0; i++) {
    if (!temporary_name(writer->temporary)) break;
    writer->fd = state->io->open(directory, writer->temporary, IO_CREATE);
    if (writer->fd < 0 && writer->fd != -EEXIST) break;
  }
  if (writer->fd < 0) {
    int32_t code = fault_from_errno(fault, -writer->fd, "openat");
    state->io->close(directory);
    free(writer);
    return code;
  }
  *resume_from = 0;
  *out = &writer->base;
  return 0;
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
  return 0;
}

int32_t file_commit(struct writer *base, struct entry *out, struct fault *fault) {
  struct file_writer *writer = (struct file_writer *)base;
  const struct io_ops *io = writer->io;
  const char *call = "fchmod";
  int code = io->set_mode(writer->fd, writer->mode);
  if (code >= 0 && writer->mtime_ns != INT64_MIN)
    code = io->set_mtime(writer->fd, writer->mtime_ns), call = "futimens";
  if (code >= 0) code = io->sync(writer->fd), call = "fsync";
  struct io_stat stat = {};
  if (code >= 0) code = io->stat(writer->fd, "", true, &stat), call = "fstat";
  int closed = io->close(writer->fd);
  writer->fd = -1;
  if (code >= 0) code = closed, call = "close";
  if (code >= 0) {
    code = io->rename(writer->directory, writer->temporary, writer->directory, writer->name);
    call = "renameat";
  }
  if (code >= 0) {
    writer->temporary[0] = 0;  // it has its name now
    code = io->sync(writer->directory), call = "fsync";
  }
  int32_t result = code >= 0 ? 0 : fault_from_errno(fault, -code, call);
  if (result == 0) {
    out->size = stat.size;
    out->mtime_ns = stat.mtime_ns;
    out->mode = stat.mode;
    out->inode = stat.inode;
    out->device = stat.device;
    out->uid = stat.uid;
    out->gid = stat.gid;
    out->type = ENTRY_FILE;
    out->has |= HAS_STAT;
  }
  file_abandon(base);
  return result;
}

void file_abandon(struct writer *base) {
  struct file_writer *writer = (struct file_writer *)base;
  if (writer->fd >= 0) writer->io->close(writer->fd);
  if (writer->temporary[0]) writer->io->remove(writer->directory, writer->temporary, false);
  writer->io->close(writer->directory);
  free(writer);
}

int32_t file_make(struct store *store, span path, const struct entry *entry, struct fault *fault) {
  const struct io_ops *io = ((struct file_state *)store->state)->io;
  char *name;
  int directory = open_parent(store, path, true, &name, fault);
  if (directory < 0) return directory;
  bool link = entry->type == ENTRY_LINK;
  int code = -ENOMEM;
  char *target = link ? malloc(entry->target.size + 1) : nullptr;
  if (target) {
    memcpy(target, entry->target.at, entry->target.size);
    target[entry->target.size] = 0;
    code = io->make_link(directory, name, target);
  } else if (!link) {
    code = io->make_directory(directory, name, entry->mode ? entry->mode & 0777 : 0777);
  }
  int32_t result = code >= 0 ? 0 : fault_from_errno(fault, -code, link ? "symlinkat" : "mkdirat");
  io->close(directory);
  free(target);
  free(name);
  return result;
}

int32_t file_remove(struct store *store, span path, struct fault *fault) {
  const struct io_ops *io = ((struct file_state *)store->state)->io;
  char *name;
  int directory = open_parent(store, path, false, &name, fault);
  if (directory < 0) return directory;
  struct io_stat stat;
  int code = io->stat(directory, name, false, &stat);
  const char *call = "fstatat";
  if (code >= 0) {
    constexpr uint32_t KIND = 0170000, DIRECTORY = 0040000;
    code = io->remove(directory, name, (stat.mode & KIND) == DIRECTORY);
    call = "unlinkat";
  }
  int32_t result = 0;
  if (code == -ENOTEMPTY || code == -EEXIST)
    result =
        fault_set(fault, COPSE_E_EXISTS, "the directory is not empty; remove what is in it first");
  else if (code < 0)
    result = fault_from_errno(fault, -code, call);
  io->close(directory);
  free(name);
  return result;
}
