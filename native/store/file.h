// file: what file.c (looking and reading) and file_write.c (writing) share.
#pragma once
#include <stdatomic.h>

#include "base/path.h"
#include "store/store.h"

struct descriptors;

struct file_state {
  const struct io_ops *io;
  struct descriptors *all;
  size_t path_size;
  char path[];
};

enum short_read : uint8_t { SHORT_UNKNOWN, SHORT_IS_END, SHORT_IS_SHORT };

struct file_directory {
  struct directory base;
  struct file_directory *parent;  // kept alive by this one
  _Atomic uint32_t references;    // its owner and its children
  _Atomic uint8_t short_is_end;   // enum short_read: what a short read means here
  bool followed;                  // was entered through a link
  bool here;                      // no directory: stands for a root that is a file
  // Guarded by the lock of descriptors:
  bool identified, listed;
  int fd;  // -1: given up; IO_HERE where `here` is set
  uint32_t held;
  uint64_t device, inode;
  struct file_directory *older, *newer;
  char name[];
};

int32_t file_writer(struct store *, span path, const struct entry *want, uint64_t *resume_from,
                    struct writer **, struct fault *);
int32_t file_write(struct writer *, uint64_t at, const uint8_t *bytes, size_t size, struct fault *);
int32_t file_commit(struct writer *, struct entry *out, struct fault *);
void file_abandon(struct writer *);
int32_t file_make(struct store *, span path, const struct entry *, struct fault *);
int32_t file_remove(struct store *, span path, struct fault *);
