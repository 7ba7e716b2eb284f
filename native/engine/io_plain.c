// The table of plain calls on Linux. What is the same everywhere is in io_posix.c.
#include "engine/io_posix.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

static_assert(IO_HERE == AT_FDCWD);

// openat2 has no wrapper; its struct is stable.
struct how {
  uint64_t flags, mode, resolve;
};
constexpr uint64_t RESOLVE_BENEATH_ = 0x08, RESOLVE_NO_MAGICLINKS_ = 0x02;
// The kernel gives up with EAGAIN when anything on the machine is renamed while it goes through a
// "..", because it cannot tell then whether it is still beneath.
constexpr int BENEATH_TRIES = 64;

static int plain_open(int directory, const char *name, uint32_t flags) {
  int how = posix_open_flags(flags);
  if (!(flags & IO_BENEATH)) return RETRY(openat(directory, name, how, 0600));
#ifdef SYS_openat2
  struct how beneath = {.flags = (uint64_t)how,
                        .mode = flags & IO_CREATE ? 0600 : 0,
                        .resolve = RESOLVE_BENEATH_ | RESOLVE_NO_MAGICLINKS_};
  int fd = -EAGAIN;
  for (int i = 0; i < BENEATH_TRIES && fd == -EAGAIN; i++)
    fd = (int)RETRY(syscall(SYS_openat2, directory, name, &beneath, sizeof beneath));
  return fd;
#else
  return -ENOSYS;
#endif
}

static int64_t plain_read_directory(int fd, void *buffer, size_t size) {
  return RETRY(getdents64(fd, buffer, size));
}

static int plain_open_nameless(int directory, uint32_t mode) {
  return RETRY(openat(directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, (mode_t)mode));
}

static int plain_name_file(int fd, int directory, const char *name) {
  int code = RETRY(linkat(fd, "", directory, name, AT_EMPTY_PATH));
  if (code != -ENOENT) return code;
  // Before Linux 6.10 only who may read everything may do that; this way anybody may.
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return RETRY(linkat(AT_FDCWD, path, directory, name, AT_SYMLINK_FOLLOW));
}

static int plain_rename(int from_directory, const char *from, int to_directory, const char *to,
                        bool replace) {
  if (replace) return RETRY(renameat(from_directory, from, to_directory, to));
#ifdef RENAME_NOREPLACE
  int code = RETRY(renameat2(from_directory, from, to_directory, to, RENAME_NOREPLACE));
  if (code != -EINVAL && code != -ENOSYS) return code;
#endif
  struct stat stat;  // a file system that cannot promise it
  if (fstatat(to_directory, to, &stat, AT_SYMLINK_NOFOLLOW) == 0) return -EEXIST;
  return RETRY(renameat(from_directory, from, to_directory, to));
}

static int plain_clone(int fd, int from) { return RETRY(ioctl(fd, FICLONE, from)); }

// Through a pipe, which takes pages and not bytes: between file systems, where copy_file_range does
// not go. (sendfile would write at the file's own offset, which all who write to it share.)
static int64_t splice_range(int fd, int from, uint64_t at, size_t size) {
  constexpr size_t PIECE = 1 << 20;  // what a pipe may hold without privileges
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return -ENOSYS;
  fcntl(ends[0], F_SETPIPE_SZ, (int)PIECE);
  off_t from_at = (off_t)at, to_at = (off_t)at;
  int64_t moved = 0, code = 0;
  while (code >= 0 && (size_t)moved < size) {
    size_t left = size - (size_t)moved;
    ssize_t in =
        RETRY(splice(from, &from_at, ends[1], nullptr, left < PIECE ? left : PIECE, SPLICE_F_MOVE));
    if (in <= 0) {
      code = in;
      break;
    }
    while (in > 0 && code >= 0) {
      ssize_t out = RETRY(splice(ends[0], nullptr, fd, &to_at, (size_t)in, SPLICE_F_MOVE));
      if (out <= 0) {
        code = out < 0 ? out : -EIO;
      } else {
        in -= out;
        moved += out;
      }
    }
  }
  close(ends[0]);
  close(ends[1]);
  return moved > 0 ? moved : code;  // what failed fails again at the next call
}

static int64_t plain_copy_range(int fd, int from, uint64_t at, size_t size, enum io_way *way) {
  off_t from_at = (off_t)at, to_at = (off_t)at;
  *way = IO_COPY_RANGE;
  int64_t copied = RETRY(copy_file_range(from, &from_at, fd, &to_at, size, 0));
  if (copied != -EXDEV && copied != -ENOSYS && copied != -EOPNOTSUPP) return copied;
  *way = IO_SPLICE;
  return splice_range(fd, from, at, size);
}

static int64_t plain_copy_from(int fd, uint64_t at, int from, uint64_t from_at, size_t size) {
  off_t source = (off_t)from_at, target = (off_t)at;
  return RETRY(copy_file_range(from, &source, fd, &target, size, 0));
}

static int64_t plain_flow_in(int fd, int pipe, uint64_t at, size_t size) {
  off_t to_at = (off_t)at;
  return RETRY(splice(pipe, nullptr, fd, &to_at, size, SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
}

// splice wants a pipe; everything else is sendfile's.
static int64_t plain_flow_out(int fd, int from, uint64_t at, size_t size, enum io_way *way) {
  off_t from_at = (off_t)at;
  *way = IO_SPLICE;
  int64_t moved =
      RETRY(splice(from, &from_at, fd, nullptr, size, SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
  if (moved != -EINVAL) return moved;
  *way = IO_SENDFILE;
  return RETRY(sendfile(fd, from, &from_at, size));
}

// A failed flush is final: the kernel may have dropped the data, and a second call would say that
// all is well.
static int plain_sync(int fd) { return fsync(fd) < 0 ? -errno : 0; }

static int plain_file_system(int fd, uint64_t *magic) {
  struct statfs stat;
  int code = RETRY(fstatfs(fd, &stat));
  if (code >= 0) *magic = (uint64_t)stat.f_type;
  return code;
}

static int plain_advise_sequential(int fd) {
  return -posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
}

// The l* calls take a path, so a name in a directory is named through the directory's descriptor.
static bool path_of(char *into, size_t size, int directory, const char *name) {
  int length = directory == IO_HERE ? snprintf(into, size, "%s", name)
                                    : snprintf(into, size, "/proc/self/fd/%d/%s", directory, name);
  return length >= 0 && (size_t)length < size;
}

// Without /proc the path leads nowhere, which must not pass for an entry that vanished.
static int64_t gone_or_unsupported(int directory, const char *name) {
  struct stat stat;
  return fstatat(directory, name, &stat, AT_SYMLINK_NOFOLLOW) == 0 ? -EOPNOTSUPP : -ENOENT;
}

static int64_t plain_list_xattr(int directory, const char *name, char *into, size_t size) {
  char path[4096];
  if (!*name) return RETRY(flistxattr(directory, into, size));
  if (!path_of(path, sizeof path, directory, name)) return -ENAMETOOLONG;
  int64_t got = RETRY(llistxattr(path, into, size));
  return got == -ENOENT ? gone_or_unsupported(directory, name) : got;
}

static int64_t plain_get_xattr(int directory, const char *name, const char *key, void *into,
                               size_t size) {
  char path[4096];
  if (!*name) return RETRY(fgetxattr(directory, key, into, size));
  if (!path_of(path, sizeof path, directory, name)) return -ENAMETOOLONG;
  int64_t got = RETRY(lgetxattr(path, key, into, size));
  return got == -ENOENT ? gone_or_unsupported(directory, name) : got;
}

static int plain_set_xattr(int directory, const char *name, const char *key, const void *value,
                           size_t size) {
  char path[4096];
  if (!*name) return RETRY(fsetxattr(directory, key, value, size, 0));
  if (!path_of(path, sizeof path, directory, name)) return -ENAMETOOLONG;
  int code = RETRY(lsetxattr(path, key, value, size, 0));
  return code == -ENOENT ? (int)gone_or_unsupported(directory, name) : code;
}

static int plain_remove_xattr(int directory, const char *name, const char *key) {
  char path[4096];
  if (!*name) return RETRY(fremovexattr(directory, key));
  if (!path_of(path, sizeof path, directory, name)) return -ENAMETOOLONG;
  int code = RETRY(lremovexattr(path, key));
  return code == -ENOENT ? (int)gone_or_unsupported(directory, name) : code;
}

bool io_each_name(const void *buffer, size_t filled, size_t *at, struct io_name *out) {
  constexpr size_t HEAD = offsetof(struct dirent64, d_name);
  while (*at < filled && filled - *at > HEAD) {
    const uint8_t *from = (const uint8_t *)buffer + *at;
    struct dirent64 head;
    memcpy(&head, from, HEAD);
    if (head.d_reclen <= HEAD || head.d_reclen > filled - *at) return false;
    const char *name = (const char *)from + HEAD;
    size_t length = strnlen(name, head.d_reclen - HEAD);
    *at += head.d_reclen;
    bool self = length == 1 && name[0] == '.',
         above = length == 2 && name[0] == '.' && name[1] == '.';
    // d_off is where the next one would be looked for. ext4 and btrfs go to the greatest place
    // there is when they have come to the end, and only then: after an error (which the call that
    // has names to give does not tell) they stay where it was. Other file systems have ends of
    // their own, that might be places elsewhere; those are asked again.
    *out = (struct io_name){.name = name,
                            .name_len = length,
                            .inode = head.d_ino,
                            .type = head.d_type,
                            .is_last = head.d_off == INT64_MAX && *at == filled};
    if (!self && !above && length > 0) return true;
  }
  return false;
}

const struct io_ops io_plain = {
    .name = "plain",
    .open = plain_open,
    .close = posix_close,
    .read = posix_read,
    .read_files = posix_read_files,
    .write = posix_write,
    .stat = posix_stat,
    .read_link = posix_read_link,
    .read_directory = plain_read_directory,
    .seek_data = posix_seek_data,
    .seek_hole = posix_seek_hole,
    .make_directory = posix_make_directory,
    .make_link = posix_make_link,
    .rename = plain_rename,
    .open_nameless = plain_open_nameless,
    .name_file = plain_name_file,
    .remove = posix_remove,
    .link = posix_link,
    .set_mode = posix_set_mode,
    .set_mtime = posix_set_mtime,
    .set_owner = posix_set_owner,
    .set_size = posix_set_size,
    .clone = plain_clone,
    .copy_range = plain_copy_range,
    .copy_from = plain_copy_from,
    .flow_in = plain_flow_in,
    .flow_out = plain_flow_out,
    .lock = posix_lock,
    .sync = plain_sync,
    .file_system = plain_file_system,
    .advise_sequential = plain_advise_sequential,
    .list_xattr = plain_list_xattr,
    .get_xattr = plain_get_xattr,
    .set_xattr = plain_set_xattr,
    .remove_xattr = plain_remove_xattr,
};
