// io: the system calls on files, as one table chosen when a runtime opens. io_plain.c is the table
// of plain calls; other tables replace whole operations and fall back to it for the rest.
// Everything is in its *at form: a directory descriptor (or IO_HERE) and a name of one part ending
// in '\0'.
//
// Every call returns a result >= 0, or minus errno. EINTR is retried inside.
#pragma once
#include <stddef.h>
#include <stdint.h>

constexpr int IO_HERE = -100;  // AT_FDCWD

enum io_open : uint32_t {
  IO_READ = 1 << 0,       // O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, so that nothing can block
  IO_DIRECTORY = 1 << 1,  // and O_DIRECTORY
  IO_FOLLOW = 1 << 2,     // without it: O_NOFOLLOW
  IO_CREATE = 1 << 3,     // O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode 0600; with
                          // IO_READ: O_RDWR
  IO_WRITE = 1 << 5,      // with IO_READ: O_RDWR
  IO_BENEATH = 1 << 4,  // openat2 RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS; the name may be a path.
                        // -ENOSYS where the kernel lacks it
};

struct io_stat {
  uint64_t size, inode, device, special_device, blocks_512, links;
  int64_t mtime_ns, ctime_ns;
  uint32_t mode, uid, gid;  // mode with the file type bits
};

// One directory entry as the kernel gave it. `type` is a DT_* value; DT_UNKNOWN happens.
struct io_name {
  const char *name;
  size_t name_len;
  uint64_t inode;
  uint8_t type;
  bool is_last;  // of the directory, and no further call is needed to know it; also said of "."
};

// One of several small files that are read in one go: its first `size` bytes, by one read.
struct io_file {
  int directory;
  const char *name;
  bool follow;  // IO_FOLLOW
  uint8_t *into;
  size_t size;
  int64_t got;  // bytes read, or minus errno
};
constexpr size_t IO_FILES_MAX = 32;
constexpr int64_t IO_FILE_PENDING = INT64_MIN;

// How content came from file to file.
enum io_way : uint8_t { IO_CLONE, IO_COPY_RANGE, IO_SPLICE, IO_SENDFILE, IO_WAYS };

struct io_ring;  // what read_files keeps between two calls; one thread's own

struct io_ops {
  const char *name;
  bool fused;  // read_files costs less than its files one after another
  int (*open)(int directory, const char *name, uint32_t flags);
  int (*close)(int fd);
  int64_t (*read)(int fd, void *into, size_t size, uint64_t at);
  // Opens, reads and closes up to IO_FILES_MAX files. *ring is nullptr at first and ended by
  // io_ring_end. Negative: none of them is known.
  int (*read_files)(struct io_ring **ring, struct io_file *files, size_t count);
  int64_t (*write)(int fd, const void *from, size_t size, uint64_t at);
  // `directory` may be the file itself when `name` is empty. `follow`: what a link points to.
  int (*stat)(int directory, const char *name, bool follow, struct io_stat *out);
  int64_t (*read_link)(int directory, const char *name, char *into, size_t size);
  // Fills `buffer` with as many entries as fit and calls nothing: the caller parses with
  // io_each_name.
  int64_t (*read_directory)(int fd, void *buffer, size_t size);
  // Start of the next data (or hole) at or after `at`; -ENXIO: none; -EINVAL: cannot tell.
  int64_t (*seek_data)(int fd, uint64_t at);
  int64_t (*seek_hole)(int fd, uint64_t at);
  int (*make_directory)(int directory, const char *name, uint32_t mode);
  int (*make_link)(int directory, const char *name, const char *target);
  // Without `replace` -EEXIST when something has the name.
  int (*rename)(int from_directory, const char *from, int to_directory, const char *to,
                bool replace);
  // Optional, both. A file in that directory without a name, to be read and written, which is gone
  // when it is closed before it got one; permissions are `mode` less the umask.
  int (*open_nameless)(int directory, uint32_t mode);
  int (*name_file)(int fd, int directory, const char *name);  // -EEXIST: something has it
  int (*remove)(int directory, const char *name, bool is_directory);
  int (*link)(int from_directory, const char *from, int to_directory, const char *to);
  // Of an open fd when `name` is empty, else of the entry itself, never of what a link points to.
  int (*set_mode)(int directory, const char *name, uint32_t mode);
  int (*set_mtime)(int directory, const char *name, int64_t mtime_ns);
  int (*set_owner)(int directory, const char *name, uint32_t uid, uint32_t gid);
  int (*sync)(int fd);
  int (*set_size)(int fd, uint64_t size);
  // The whole content of another file, shared; -EOPNOTSUPP, -EXDEV, -EINVAL: not here.
  int (*clone)(int fd, int from);
  // From the same offset to the same offset, inside the kernel. *way says how.
  int64_t (*copy_range)(int fd, int from, uint64_t at, size_t size, enum io_way *way);
  // From one offset to another, inside the kernel; -ENOSYS and its like: not here.
  int64_t (*copy_from)(int fd, uint64_t at, int from, uint64_t from_at, size_t size);
  // From a pipe to a place in a file, inside the kernel; -EAGAIN: nothing is in it yet; -EINVAL and
  // the like: not between these two.
  int64_t (*flow_in)(int fd, int pipe, uint64_t at, size_t size);
  // From a place in a file to a pipe or socket. -EAGAIN: there is no room now.
  int64_t (*flow_out)(int fd, int from, uint64_t at, size_t size, enum io_way *way);
  // Keeps others who lock the same file or directory out until it is closed; -EAGAIN.
  int (*lock)(int fd);
  int (*file_system)(int fd, uint64_t *magic);  // fstatfs f_type
  int (*advise_sequential)(int fd);
  // Extended attributes: of an open fd when `name` is empty, else of the entry
  // itself, never of what a link points to (-EOPNOTSUPP where that cannot be named).
  int64_t (*list_xattr)(int directory, const char *name, char *into, size_t size);
  int64_t (*get_xattr)(int directory, const char *name, const char *key, void *into, size_t size);
  int (*set_xattr)(int directory, const char *name, const char *key, const void *value,
                   size_t size);
  int (*remove_xattr)(int directory, const char *name, const char *key);
};

// Next entry of a buffer that read_directory filled; `at` starts at 0. False at the end. "." and
// ".." are skipped. Lengths are checked against `filled`.
bool io_each_name(const void *buffer, size_t filled, size_t *at, struct io_name *out);

extern const struct io_ops io_plain;

// What a ring of this kernel carries of what the table needs. `refused`: 0, or the errno of `call`,
// which says no; then there is no operation.
constexpr size_t IO_RING_OPERATIONS = 5;
struct io_ring_probe {
  const char *operations[IO_RING_OPERATIONS];
  size_t count;
  int refused;
  const char *call;
};
void io_ring_probe(struct io_ring_probe *out);
void io_ring_table(struct io_ops *table);  // io_plain with what a ring does better
void io_ring_end(struct io_ring *ring);    // null is fine
