// file: what file.c (looking and reading) and file_write.c (writing) share.
#pragma once
#include <stdatomic.h>

#include "base/path.h"
#include "engine/thread.h"
#include "store/store.h"

struct descriptors;

struct file_state {
  const struct io_ops *io;
  struct descriptors *all;
  int claimed;  // the root, locked; -1: not
  // Found out once: the kernel cannot copy between this store and the source.
  _Atomic bool no_clone, no_range, no_flow;
  // Nor between two files of this store.
  _Atomic bool no_own_clone, no_own_range;
  mutex lock;                           // guards the two below
  struct file_directory *root, *found;  // what find kept; nullptr: nothing
  _Atomic uint8_t nameless;  // enum nameless: whether files can be made without a name here
  size_t path_size;
  char path[];
};

enum short_read : uint8_t { SHORT_UNKNOWN, SHORT_IS_END, SHORT_IS_SHORT };

enum nameless : uint8_t { NAMELESS_UNKNOWN, NAMELESS_CAN, NAMELESS_CANNOT };

struct file_directory {
  struct directory base;
  struct file_directory *parent;  // kept alive by this one
  _Atomic uint32_t references;    // its owner and its children
  _Atomic uint8_t short_is_end;   // enum short_read: what a short read means here
  bool followed;                  // was entered through a link
  bool here;                      // no directory: stands for a root that is a file
  // How often it is held. Whoever finds it open may hold it without the lock; only with the lock,
  // and only when nobody holds it, it becomes GIVEN_UP, and ceases to be that.
  _Atomic int32_t held;
  int fd;               // written while it is GIVEN_UP; IO_HERE where `here` is set
  _Atomic bool listed;  // among those that may be given up; written with the lock
  _Atomic bool used;    // held since somebody looked for one to give up
  // Guarded by the lock of descriptors:
  bool identified;
  bool was_listed;  // once: the lock is needed to end it. Read by its last owner, too
  uint64_t device, inode;
  struct file_directory *older, *newer;
  char name[];
};

struct file_writer {
  struct writer base;
  const struct io_ops *io;
  struct file_directory *directory;  // held
  int fd;
  uint32_t mode;
  struct wanted wanted;  // its entry is the copy below; attributes are behind the name
  struct entry entry;
  _Atomic uint64_t end;      // of what was written
  _Atomic bool may_be_long;  // there may be more in it than was written
  // Of one that can be resumed (file_partial.c):
  uint64_t journal_at;  // where the next record goes; zero: it cannot
  uint64_t size;        // what it shall have
  bool has_records;
  uint8_t content[HASH_BYTES];  // the hash of what it shall be
  bool is_nameless;             // there is no temporary: it has no name at all until it is whole
  char temporary[32];
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
constexpr size_t FILE_TEMPORARY_RANDOM = 16;  // hexadecimal digits
// Without a temporary, and without its descriptor.
int32_t file_writer_new(struct directory *, const struct wanted *, struct file_writer **out,
                        struct fault *);
int32_t file_writer_open(struct file_writer *, struct fault *);  // makes both; frees after a fault
int32_t file_above(struct store *, bool make, struct arena *, struct entry *out,
                   struct directory **, struct fault *);
int32_t file_create(struct directory *, const struct wanted *, struct directory **out,
                    struct fault *);
int32_t file_writer(struct directory *, const struct wanted *, struct writer **, struct fault *);
int32_t file_write(struct writer *, uint64_t at, const uint8_t *bytes, size_t size, struct fault *);
bool file_is_cached(struct writer *, const struct reader *);
int64_t file_pull(struct writer *, struct reader *, uint64_t at, uint64_t size, struct fault *);
int64_t file_reuse(struct writer *, struct reader *old, uint64_t from, uint64_t at, uint64_t size,
                   struct fault *);
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
// file_partial.c
int32_t file_resume(struct directory *, const struct wanted *, uint64_t size, struct resume *,
                    struct writer **, struct fault *);
int32_t file_keep(struct writer *, struct range, const uint8_t digest[HASH_BYTES], struct fault *);
int64_t file_reread(struct writer *, uint64_t at, uint8_t *into, size_t size, struct fault *);
void file_forget(struct writer *);
// A partial that somebody may still want to resume, by its name and age.
bool file_is_kept(const char *name, const struct io_ops *io, int fd);
bool file_is_stale(struct directory *, const struct entry *, bool of_any_age);
span file_partial_of(span name, struct arena *);
