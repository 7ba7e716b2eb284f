// The table of plain calls on macOS. It compiles for both of its processors (.ci/macos.mjs) and was
// not run: there is no machine for it here. What Linux has and macOS lacks answers as io.h says
// that a kernel may: openat2 and copy_file_range with ENOSYS, rings with ENOSYS.
#include "engine/io_posix.h"

#include <copyfile.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/attr.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

// <sys/xattr.h>, which is not part of every set of headers.
ssize_t flistxattr(int fd, char *into, size_t size, int options);
ssize_t fgetxattr(int fd, const char *key, void *into, size_t size, uint32_t position, int options);
int fsetxattr(int fd, const char *key, const void *value, size_t size, uint32_t position,
              int options);
int fremovexattr(int fd, const char *key, int options);

static int macos_open(int directory, const char *name, uint32_t flags) {
  if (flags & IO_BENEATH) return -ENOSYS;
  return RETRY(openat(posix_at(directory), name, posix_open_flags(flags), 0600));
}

// ── Directories: getattrlistbulk, which gives types and inodes with the names ──

// One entry as the kernel packs it when asked for these and nothing else.
struct packed_name {
  uint32_t size;  // of the whole entry
  attribute_set_t returned;
  attrreference_t name;  // its offset counts from itself
  fsobj_type_t type;
  uint64_t inode;
} __attribute__((packed, aligned(4)));

static int64_t macos_read_directory(int fd, void *buffer, size_t size) {
  struct attrlist wanted = {
      .bitmapcount = ATTR_BIT_MAP_COUNT,
      .commonattr = ATTR_CMN_RETURNED_ATTRS | ATTR_CMN_NAME | ATTR_CMN_OBJTYPE | ATTR_CMN_FILEID};
  // Packed whole, also where a file system does not know one: offsets are fixed then.
  int count = RETRY(getattrlistbulk(fd, &wanted, buffer, size, FSOPT_PACK_INVAL_ATTRS));
  if (count <= 0) return count;
  size_t used = 0;
  for (int i = 0; i < count; i++) {
    uint32_t entry;
    if (size - used < sizeof entry) return -EIO;
    memcpy(&entry, (const uint8_t *)buffer + used, sizeof entry);
    if (entry < sizeof(struct packed_name) || entry > size - used) return -EIO;
    used += entry;
  }
  return (int64_t)used;
}

// enum vtype, whose header is not part of every set of headers.
static uint8_t type_of(fsobj_type_t type) {
  static const uint8_t types[] = {DT_UNKNOWN, DT_REG, DT_DIR,  DT_BLK,
                                  DT_CHR,     DT_LNK, DT_SOCK, DT_FIFO};
  return type < sizeof types ? types[type] : DT_UNKNOWN;
}

bool io_each_name(const void *buffer, size_t filled, size_t *place, struct io_name *out) {
  while (*place < filled && filled - *place >= sizeof(struct packed_name)) {
    const uint8_t *from = (const uint8_t *)buffer + *place;
    struct packed_name head;
    memcpy(&head, from, sizeof head);
    if (head.size < sizeof head || head.size > filled - *place) return false;
    size_t begin = offsetof(struct packed_name, name) + (size_t)(uint32_t)head.name.attr_dataoffset;
    if (head.name.attr_dataoffset < 0 || begin > head.size ||
        head.name.attr_length > head.size - begin)
      return false;
    const char *name = (const char *)from + begin;
    size_t length = strnlen(name, head.name.attr_length);
    *place += head.size;
    bool self = length == 1 && name[0] == '.',
         above = length == 2 && name[0] == '.' && name[1] == '.';
    if (self || above || length == 0) continue;
    *out = (struct io_name){
        .name = name, .name_len = length, .inode = head.inode, .type = type_of(head.type)};
    return true;
  }
  return false;
}

// ── The rest ──

static int macos_rename(int from_directory, const char *from, int to_directory, const char *to,
                        bool replace) {
  if (replace) return RETRY(renameat(posix_at(from_directory), from, posix_at(to_directory), to));
  return RETRY(
      renameatx_np(posix_at(from_directory), from, posix_at(to_directory), to, RENAME_EXCL));
}

// fsync there leaves the data in the drive's own cache.
static int macos_sync(int fd) {
  if (fcntl(fd, F_FULLFSYNC) == 0) return 0;
  return fsync(fd) < 0 ? -errno : 0;
}

// clonefile makes a name of its own and cannot fill a file that is open, which is what our writer
// has. fcopyfile takes two open files and copies inside the system.
static int macos_clone(int fd, int from) {
  return fcopyfile(from, fd, nullptr, COPYFILE_DATA) < 0 ? -errno : 0;
}

// There is no splice, and sendfile is another call there.
static int64_t no_flow_in(int, int, uint64_t, size_t) { return -ENOSYS; }
static int64_t no_flow_out(int, int, uint64_t, size_t, enum io_way *way) {
  *way = IO_SPLICE;
  return -ENOSYS;
}

static int64_t macos_copy_range(int fd, int from, uint64_t begin, size_t size, enum io_way *way) {
  (void)fd, (void)from, (void)begin, (void)size, (void)way;
  return -ENOSYS;
}

static int64_t macos_copy_from(int, uint64_t, int, uint64_t, size_t) { return -ENOSYS; }

static int macos_file_system(int fd, uint64_t *magic) {
  struct statfs stat;
  int code = RETRY(fstatfs(fd, &stat));
  if (code >= 0) *magic = stat.f_type;
  return code;
}

static int macos_advise_sequential(int fd) { return fcntl(fd, F_RDAHEAD, 1) < 0 ? -errno : 0; }

// An entry is opened as itself, link or not, for its attributes. *own: to be closed.
static int entry_open(int directory, const char *name, bool *own) {
  *own = *name != 0;
  if (!*own) return directory;
  return RETRY(
      openat(posix_at(directory), name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_SYMLINK | O_CLOEXEC));
}

#define OF_ENTRY(type, call)                  \
  bool own;                                   \
  int fd = entry_open(directory, name, &own); \
  if (fd < 0) return fd;                      \
  type result = RETRY(call);                  \
  if (own) close(fd);                         \
  return result == -ENOTSUP ? -EOPNOTSUPP : result

static int64_t macos_list_xattr(int directory, const char *name, char *into, size_t size) {
  OF_ENTRY(int64_t, flistxattr(fd, into, size, 0));
}

static int64_t macos_get_xattr(int directory, const char *name, const char *key, void *into,
                               size_t size) {
  OF_ENTRY(int64_t, fgetxattr(fd, key, into, size, 0, 0));
}

static int macos_set_xattr(int directory, const char *name, const char *key, const void *value,
                           size_t size) {
  OF_ENTRY(int, fsetxattr(fd, key, value, size, 0, 0));
}

static int macos_remove_xattr(int directory, const char *name, const char *key) {
  OF_ENTRY(int, fremovexattr(fd, key, 0));
}

const struct io_ops io_plain = {
    .name = "plain",
    .open = macos_open,
    .close = posix_close,
    .read = posix_read,
    .read_files = posix_read_files,
    .write = posix_write,
    .stat = posix_stat,
    .read_link = posix_read_link,
    .read_directory = macos_read_directory,
    .seek_data = posix_seek_data,
    .seek_hole = posix_seek_hole,
    .make_directory = posix_make_directory,
    .make_link = posix_make_link,
    .rename = macos_rename,
    .remove = posix_remove,
    .link = posix_link,
    .set_mode = posix_set_mode,
    .set_mtime = posix_set_mtime,
    .set_owner = posix_set_owner,
    .sync = macos_sync,
    .set_size = posix_set_size,
    .clone = macos_clone,
    .copy_range = macos_copy_range,
    .copy_from = macos_copy_from,
    .flow_in = no_flow_in,
    .flow_out = no_flow_out,
    .lock = posix_lock,
    .file_system = macos_file_system,
    .advise_sequential = macos_advise_sequential,
    .list_xattr = macos_list_xattr,
    .get_xattr = macos_get_xattr,
    .set_xattr = macos_set_xattr,
    .remove_xattr = macos_remove_xattr,
};

void io_ring_probe(struct io_ring_probe *out) {
  *out = (struct io_ring_probe){.refused = ENOSYS, .call = "io_uring_setup"};
}

void io_ring_table(struct io_ops *table) { *table = io_plain; }

void io_ring_end(struct io_ring *ring) { (void)ring; }
