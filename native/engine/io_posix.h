// io_posix: the calls of the plain table that are the same on every system, for io_plain.c and
// io_macos.c to fill their tables with.
#pragma once
#include <errno.h>
#include <fcntl.h>

#include "engine/io.h"

// Minus errno, and again when a signal came in between.
#define RETRY(call)                               \
  __extension__({                                 \
    typeof(call) result_;                         \
    do result_ = (call);                          \
    while (result_ < 0 && errno == EINTR);        \
    result_ < 0 ? (typeof(call))-errno : result_; \
  })

// "Here" is another number on each system; io.h has Linux's.
static inline int posix_at(int directory) { return directory == IO_HERE ? AT_FDCWD : directory; }

int posix_open_flags(uint32_t flags);  // of enum io_open: what openat takes
int posix_close(int fd);
int64_t posix_read(int fd, void *into, size_t size, uint64_t from);
int64_t posix_write(int fd, const void *from, size_t size, uint64_t to);
int posix_read_files(struct io_ring **ring, struct io_file *files, size_t count);
int posix_stat(int directory, const char *name, bool follow, struct io_stat *out);
int64_t posix_read_link(int directory, const char *name, char *into, size_t size);
int64_t posix_seek_data(int fd, uint64_t from);
int64_t posix_seek_hole(int fd, uint64_t from);
int posix_make_directory(int directory, const char *name, uint32_t mode);
int posix_make_link(int directory, const char *name, const char *target);
int posix_remove(int directory, const char *name, bool is_directory);
int posix_link(int from_directory, const char *from, int to_directory, const char *to);
int posix_set_mode(int directory, const char *name, uint32_t mode);
int posix_set_owner(int directory, const char *name, uint32_t uid, uint32_t gid);
int posix_set_mtime(int directory, const char *name, int64_t mtime_ns);
int posix_set_size(int fd, uint64_t size);
int posix_lock(int fd);
