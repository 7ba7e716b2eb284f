// file: what file.c (looking and reading) and file_write.c (writing) share.
#pragma once
#include <stdatomic.h>

#include "base/path.h"
#include "store/store.h"

struct descriptors;

struct file_state {
  const struct io_ops *io;
  struct descriptors *all;
  int claimed;  // the root, locked; -1: not
  // Found out once: the kernel cannot copy between this store and the source.
  _Atomic bool no_clone, no_range;
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

// file.c
struct io_stat;
void file_entry_fill(struct entry *entry, const struct io_stat *stat);
// A directory handle without a parent for an open descriptor, held; `name` is what it was opened
// by. Closes the descriptor when it fails.
int32_t file_directory_at(struct store *, span name, int fd, struct directory **out,
                          struct fault *);
// One more owner, for whom it stays open; ends with file_directory_free.
void file_directory_keep(struct file_directory *);
void file_directory_free(struct file_directory *);

// file_write.c
int32_t file_above(struct store *, bool make, struct arena *, struct entry *out,
                   struct directory **, struct fault *);
int32_t file_create(struct directory *, const struct wanted *, struct directory **out,
                    struct fault *);
int32_t file_writer(struct directory *, const struct wanted *, struct writer **, struct fault *);
int32_t file_write(struct writer *, uint64_t at, const uint8_t *bytes, size_t size, struct fault *);
int64_t file_pull(struct writer *, struct reader *, uint64_t at, uint64_t size, struct fault *);
int32_t file_commit(struct writer *, uint64_t size, struct entry *out, struct fault *);
void file_abandon(struct writer *);
int32_t file_make(struct directory *, const struct wanted *, struct fault *);
int32_t file_link(struct directory *from, const struct entry *from_entry, struct directory *,
                  span name, struct fault *);
int32_t file_rename(struct directory *from, const struct entry *from_entry, struct directory *,
                    span name, struct fault *);
int32_t file_remove(struct directory *, const struct entry *, struct fault *);
int32_t file_set(struct directory *, const struct wanted *, struct fault *);
int32_t file_settle(struct directory *, struct fault *);
int32_t file_claim(struct directory *, struct fault *);
bool file_is_stale(struct directory *, const struct entry *);
