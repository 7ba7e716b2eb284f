#include "engine/io_posix.h"

#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __APPLE__
#define st_mtim st_mtimespec
#define st_ctim st_ctimespec
#endif

int posix_open_flags(uint32_t flags) {
  int how = O_CLOEXEC | (flags & IO_DIRECTORY ? O_DIRECTORY : 0);
  if (flags & IO_CREATE)
    return how | (flags & IO_READ ? O_RDWR : O_WRONLY) | O_CREAT | O_EXCL | O_NOFOLLOW;
  return how | (flags & IO_WRITE ? O_RDWR : O_RDONLY) | O_NONBLOCK | O_NOCTTY |
         (flags & IO_FOLLOW ? 0 : O_NOFOLLOW);
}

// Not retried: the descriptor is closed also when close is interrupted.
int posix_close(int fd) { return close(fd) < 0 && errno != EINTR ? -errno : 0; }

// macOS takes at most INT_MAX bytes in one call.
constexpr size_t PIECE_MAX = 1 << 30;

int64_t posix_read(int fd, void *into, size_t size, uint64_t from) {
  if (from > INT64_MAX) return -EINVAL;
  return RETRY(pread(fd, into, size < PIECE_MAX ? size : PIECE_MAX, (off_t)from));
}

int64_t posix_write(int fd, const void *from, size_t size, uint64_t to) {
  if (to > INT64_MAX) return -EINVAL;
  return RETRY(pwrite(fd, from, size < PIECE_MAX ? size : PIECE_MAX, (off_t)to));
}

int posix_read_files(struct io_ring **ring, struct io_file *files, size_t count) {
  (void)ring;
  for (size_t i = 0; i < count; i++) {
    struct io_file *file = &files[i];
    int fd = io_plain.open(file->directory, file->name, IO_READ | (file->follow ? IO_FOLLOW : 0));
    file->got = fd < 0 ? fd : posix_read(fd, file->into, file->size, 0);
    if (fd >= 0) posix_close(fd);
  }
  return 0;
}

static int64_t nanoseconds(struct timespec time) {
  int64_t result;
  if (__builtin_mul_overflow((int64_t)time.tv_sec, 1'000'000'000, &result))
    return time.tv_sec < 0 ? INT64_MIN + 1 : INT64_MAX;
  if (__builtin_add_overflow(result, (int64_t)time.tv_nsec, &result)) return INT64_MAX;
  return result;
}

int posix_stat(int directory, const char *name, bool follow, struct io_stat *out) {
  struct stat stat;
  int code =
      *name ? RETRY(fstatat(posix_at(directory), name, &stat, follow ? 0 : AT_SYMLINK_NOFOLLOW))
            : RETRY(fstat(directory, &stat));
  if (code < 0) return code;
  bool special = S_ISBLK(stat.st_mode) || S_ISCHR(stat.st_mode);
  *out = (struct io_stat){.size = (uint64_t)stat.st_size,
                          .inode = stat.st_ino,
                          .device = (uint64_t)stat.st_dev,
                          .special_device = special ? (uint64_t)stat.st_rdev : 0,
                          .blocks_512 = (uint64_t)stat.st_blocks,
                          .links = stat.st_nlink,
                          .mtime_ns = nanoseconds(stat.st_mtim),
                          .ctime_ns = nanoseconds(stat.st_ctim),
                          .mode = stat.st_mode,
                          .uid = stat.st_uid,
                          .gid = stat.st_gid};
  return 0;
}

int64_t posix_read_link(int directory, const char *name, char *into, size_t size) {
  return RETRY(readlinkat(posix_at(directory), name, into, size));
}

int64_t posix_seek_data(int fd, uint64_t from) {
  return from > INT64_MAX ? -ENXIO : RETRY(lseek(fd, (off_t)from, SEEK_DATA));
}

int64_t posix_seek_hole(int fd, uint64_t from) {
  return from > INT64_MAX ? -ENXIO : RETRY(lseek(fd, (off_t)from, SEEK_HOLE));
}

int posix_make_directory(int directory, const char *name, uint32_t mode) {
  return RETRY(mkdirat(posix_at(directory), name, (mode_t)mode));
}

int posix_make_link(int directory, const char *name, const char *target) {
  return RETRY(symlinkat(target, posix_at(directory), name));
}

int posix_remove(int directory, const char *name, bool is_directory) {
  return RETRY(unlinkat(posix_at(directory), name, is_directory ? AT_REMOVEDIR : 0));
}

int posix_link(int from_directory, const char *from, int to_directory, const char *to) {
  return RETRY(linkat(posix_at(from_directory), from, posix_at(to_directory), to, 0));
}

int posix_set_mode(int directory, const char *name, uint32_t mode) {
  return *name ? RETRY(fchmodat(posix_at(directory), name, (mode_t)mode, AT_SYMLINK_NOFOLLOW))
               : RETRY(fchmod(directory, (mode_t)mode));
}

int posix_set_owner(int directory, const char *name, uint32_t uid, uint32_t gid) {
  return *name ? RETRY(fchownat(posix_at(directory), name, uid, gid, AT_SYMLINK_NOFOLLOW))
               : RETRY(fchown(directory, uid, gid));
}

int posix_set_mtime(int directory, const char *name, int64_t mtime_ns) {
  int64_t seconds = mtime_ns / 1'000'000'000, rest = mtime_ns % 1'000'000'000;
  if (rest < 0) {
    seconds--;
    rest += 1'000'000'000;
  }
  struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = seconds, .tv_nsec = (long)rest}};
  return *name ? RETRY(utimensat(posix_at(directory), name, times, AT_SYMLINK_NOFOLLOW))
               : RETRY(futimens(directory, times));
}

int posix_set_size(int fd, uint64_t size) {
  return size > INT64_MAX ? -EFBIG : RETRY(ftruncate(fd, (off_t)size));
}

int posix_lock(int fd) { return RETRY(flock(fd, LOCK_EX | LOCK_NB)); }
