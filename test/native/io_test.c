// io: each call of the table does what io.h says, with names that try to lead elsewhere and
// directory buffers that lie.
#include "engine/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

static const struct io_ops *io = &io_plain;
static int root;  // a fresh directory
static char root_path[] = "/tmp/copse-io-XXXXXX";

static int make_file(const char *name, const void *bytes, size_t size) {
  int fd = io->open(root, name, IO_CREATE);
  CHECK(fd >= 0);
  CHECK(io->write(fd, bytes, size, 0) == (int64_t)size);
  return fd;
}

static void files(void) {
  int fd = make_file("file", "0123456789", 10);
  CHECK(io->open(root, "file", IO_CREATE) == -EEXIST);
  CHECK(io->write(fd, "abc", 3, 20) == 3);
  CHECK(io->write(fd, "abc", 3, UINT64_MAX) == -EINVAL);
  CHECK(io->set_mode(fd, "", 0640) == 0);
  CHECK(io->set_mtime(fd, "", -1'500'000'000) == 0);
  CHECK(io->sync(fd) == 0);
  CHECK(io->close(fd) == 0);

  fd = io->open(root, "file", IO_READ);
  CHECK(fd >= 0);
  char bytes[64];
  CHECK(io->read(fd, bytes, sizeof bytes, 5) == 18);
  CHECK(memcmp(bytes, "56789\0\0\0\0\0\0\0\0\0\0abc", 18) == 0);
  CHECK(io->read(fd, bytes, sizeof bytes, 23) == 0);
  CHECK(io->read(fd, bytes, sizeof bytes, 1ull << 40) == 0);
  CHECK(io->read(fd, bytes, sizeof bytes, UINT64_MAX) == -EINVAL);
  CHECK(io->write(fd, "x", 1, 0) == -EBADF);
  struct io_stat stat, same;
  CHECK(io->stat(fd, "", false, &stat) == 0);
  CHECK(stat.size == 23 && stat.mode == (S_IFREG | 0640) && stat.links == 1);
  CHECK(stat.mtime_ns == -1'500'000'000);
  CHECK(stat.special_device == 0 && stat.uid == geteuid());
  CHECK(io->stat(root, "file", false, &same) == 0);
  CHECK(same.inode == stat.inode && same.device == stat.device && same.ctime_ns == stat.ctime_ns);
  CHECK(io->advise_sequential(fd) == 0);
  uint64_t magic = 0;
  CHECK(io->file_system(fd, &magic) == 0 && magic != 0);
  CHECK(io->close(fd) == 0);
  CHECK(io->close(fd) == -EBADF);
  CHECK(io->read(fd, bytes, 1, 0) == -EBADF);
  CHECK(io->open(root, "nothing", IO_READ) == -ENOENT);
  CHECK(io->stat(root, "nothing", false, &stat) == -ENOENT);
}

// Both tables say the same of every kind of thing that may have a name.
static void files_read_together(void) {
  const char *names[] = {"t-small", "t-empty", "t-link",  "t-nothing", "t-directory",
                         "t-pipe",  "t-large", "t-small", "."};
  constexpr size_t COUNT = sizeof names / sizeof *names;
  static uint8_t large[9000], into[2][COUNT][4096];
  memset(large, 7, sizeof large);
  CHECK(io->close(make_file("t-small", "small", 5)) == 0);
  CHECK(io->close(make_file("t-empty", "", 0)) == 0);
  CHECK(io->close(make_file("t-large", large, sizeof large)) == 0);
  CHECK(io->make_link(root, "t-link", "t-small") == 0);
  CHECK(io->make_directory(root, "t-directory", 0700) == 0);
  CHECK(mkfifoat(root, "t-pipe", 0600) == 0);
  struct io_ring_probe probe;
  io_ring_probe(&probe);
  if (probe.refused) {
    CHECK(probe.count == 0 && probe.call);
    printf("no ring here: %s, errno %d\n", probe.call, probe.refused);
  } else {
    CHECK(probe.count == IO_RING_OPERATIONS);
  }
  struct io_ops tables[2] = {io_plain, io_plain};
  if (!probe.refused) io_ring_table(&tables[1]);
  CHECK(!tables[0].fused && tables[1].fused == !probe.refused);
  constexpr int64_t wanted[] = {5, 0, -ELOOP, -ENOENT, -EISDIR, -ESPIPE, 4096, 5, -EISDIR};
  static_assert(sizeof wanted / sizeof *wanted == COUNT);
  for (int t = 0; t < 2; t++) {
    struct io_ring *ring = nullptr;
    for (int round = 0; round < 40; round++) {  // around the ring's end
      struct io_file of[COUNT] = {};
      for (size_t i = 0; i < COUNT; i++)
        of[i] =
            (struct io_file){.directory = root, .name = names[i], .into = into[t][i], .size = 4096};
      if (round % 2) of[2].follow = true;
      CHECK(tables[t].read_files(&ring, of, COUNT) == 0);
      for (size_t i = 0; i < COUNT; i++) {
        int64_t want = i == 2 && round % 2 ? 5 : wanted[i];
        if (of[i].got != want)
          fprintf(stderr, "table %d, %s: %lld\n", t, names[i], (long long)of[i].got);
        CHECK(of[i].got == want);
      }
    }
    CHECK(memcmp(into[t][0], "small", 5) == 0 && memcmp(into[t][6], large, 4096) == 0);
    struct io_file many[IO_FILES_MAX];
    static uint8_t bytes[IO_FILES_MAX][8];
    for (size_t i = 0; i < IO_FILES_MAX; i++)
      many[i] = (struct io_file){
          .directory = root, .name = "t-small", .into = bytes[i], .size = sizeof bytes[i]};
    CHECK(tables[t].read_files(&ring, many, IO_FILES_MAX) == 0);
    for (size_t i = 0; i < IO_FILES_MAX; i++)
      CHECK(many[i].got == 5 && memcmp(bytes[i], "small", 5) == 0);
    io_ring_end(ring);
  }
  io_ring_end(nullptr);
}

// A pipe that somebody holds open: a read would wait, or take what is in it.
static void a_pipe_is_not_read(void) {
  struct io_ring_probe probe;
  io_ring_probe(&probe);
  if (probe.refused) return;
  struct io_ops table;
  io_ring_table(&table);
  int keeper = openat(root, "t-pipe", O_RDWR);
  CHECK(keeper >= 0);
  uint8_t bytes[2][8];
  struct io_file of[2] = {{.directory = root, .name = "t-pipe", .into = bytes[0], .size = 8},
                          {.directory = root, .name = "t-small", .into = bytes[1], .size = 8}};
  struct io_ring *ring = nullptr;
  CHECK(table.read_files(&ring, of, 2) == 0);
  CHECK(of[0].got == -ESPIPE && of[1].got == 5);
  CHECK(write(keeper, "x", 1) == 1);
  CHECK(table.read_files(&ring, of, 2) == 0);
  CHECK(of[0].got == -ESPIPE && read(keeper, bytes[0], 8) == 1);  // it was not read
  CHECK(table.read_files(&ring, of + 1, 1) == 0 && of[1].got == 5);
  io_ring_end(ring);
  CHECK(close(keeper) == 0);
}

static void holes(void) {
  int fd = make_file("holes", "x", 1);
  CHECK(io->write(fd, "y", 1, 1 << 20) == 1);
  int64_t hole = io->seek_hole(fd, 0);
  if (hole != (1 << 20) + 1) {  // a file system that knows holes
    CHECK(hole >= 1 && hole < 1 << 20);
    CHECK(io->seek_data(fd, (uint64_t)hole) > hole);
  }
  CHECK(io->seek_data(fd, (1 << 20) + 1) == -ENXIO);
  CHECK(io->seek_data(fd, UINT64_MAX) == -ENXIO);
  CHECK(io->seek_hole(fd, UINT64_MAX) == -ENXIO);
  CHECK(io->close(fd) == 0);
}

static void links_are_not_followed_unless_asked(void) {
  char target[64];
  CHECK(io->make_link(root, "link", "file") == 0);
  CHECK(io->make_link(root, "link", "file") == -EEXIST);
  CHECK(io->read_link(root, "link", target, sizeof target) == 4);
  CHECK(memcmp(target, "file", 4) == 0);
  CHECK(io->read_link(root, "file", target, sizeof target) == -EINVAL);
  CHECK(io->open(root, "link", IO_READ) == -ELOOP);
  CHECK(io->open(root, "link", IO_CREATE) == -EEXIST);
  int fd = io->open(root, "link", IO_READ | IO_FOLLOW);
  CHECK(fd >= 0 && io->close(fd) == 0);
  struct io_stat stat;
  CHECK(io->stat(root, "link", false, &stat) == 0 && S_ISLNK(stat.mode) && stat.size == 4);
  CHECK(io->stat(root, "link", true, &stat) == 0 && S_ISREG(stat.mode));
  CHECK(io->make_link(root, "dangling", "nowhere") == 0);
  CHECK(io->stat(root, "dangling", true, &stat) == -ENOENT);
  CHECK(io->make_link(root, "loop", "loop") == 0);
  CHECK(io->stat(root, "loop", true, &stat) == -ELOOP);
}

static void a_pipe_does_not_block(void) {
  CHECK(mkfifoat(root, "pipe", 0600) == 0);
  int fd = io->open(root, "pipe", IO_READ);  // nobody writes
  CHECK(fd >= 0);
  struct io_stat stat;
  CHECK(io->stat(fd, "", false, &stat) == 0 && S_ISFIFO(stat.mode));
  CHECK(io->close(fd) == 0);
}

static void directories(void) {
  CHECK(io->make_directory(root, "directory", 0700) == 0);
  CHECK(io->make_directory(root, "directory", 0700) == -EEXIST);
  CHECK(io->open(root, "file", IO_READ | IO_DIRECTORY) == -ENOTDIR);
  CHECK(io->open(root, "link", IO_READ | IO_DIRECTORY) < 0);
  int fd = io->open(root, "directory", IO_READ | IO_DIRECTORY);
  CHECK(fd >= 0);
  CHECK(io->rename(root, "holes", fd, "moved", true) == 0);
  CHECK(io->remove(root, "directory", true) == -ENOTEMPTY);
  CHECK(io->remove(root, "directory", false) < 0);
  CHECK(io->remove(fd, "moved", false) == 0);
  CHECK(io->close(fd) == 0);
}

static void nothing_leads_out_from_beneath(void) {
  int fd = io->open(root, "directory", IO_READ | IO_DIRECTORY | IO_BENEATH);
  if (fd == -ENOSYS) {
    printf("io: skipped beneath, the kernel has no openat2\n");
    return;
  }
  CHECK(fd >= 0);
  CHECK(io->make_link(fd, "up", "..") == 0);
  CHECK(io->make_link(fd, "absolute", "/") == 0);
  CHECK(io->make_link(fd, "here", ".") == 0);
  CHECK(io->open(fd, "..", IO_READ | IO_BENEATH) == -EXDEV);
  CHECK(io->open(fd, "../file", IO_READ | IO_BENEATH | IO_FOLLOW) == -EXDEV);
  CHECK(io->open(fd, "up/file", IO_READ | IO_BENEATH | IO_FOLLOW) == -EXDEV);
  CHECK(io->open(fd, "absolute", IO_READ | IO_BENEATH | IO_FOLLOW) == -EXDEV);
  CHECK(io->open(fd, root_path, IO_READ | IO_BENEATH | IO_FOLLOW) == -EXDEV);
  int here = io->open(fd, "here/here", IO_READ | IO_BENEATH | IO_FOLLOW);
  CHECK(here >= 0 && io->close(here) == 0);
  int file = io->open(fd, "here/new", IO_CREATE | IO_BENEATH);
  CHECK(file >= 0 && io->close(file) == 0);
  CHECK(io->open(fd, "up/new", IO_CREATE | IO_BENEATH) == -EXDEV);
  static const char *const names[] = {"up", "absolute", "here", "new"};
  for (size_t i = 0; i < 4; i++) CHECK(io->remove(fd, names[i], false) == 0);
  CHECK(io->close(fd) == 0);
}

static void every_name_once(void) {
  enum { NAMES = 3000 };
  int fd = io->open(root, "directory", IO_READ | IO_DIRECTORY);
  CHECK(fd >= 0);
  char name[256];
  for (int i = 0; i < NAMES; i++) {
    int size = snprintf(name, sizeof name, "%d-", i);
    memset(name + size, i % 2 ? 'x' : 0xFF, (size_t)(i % 240));  // some are no UTF-8
    name[size + i % 240] = 0;
    int file = io->open(fd, name, IO_CREATE);
    CHECK(file >= 0 && io->close(file) == 0);
  }
  static bool seen[NAMES];
  int count = 0;
  uint8_t buffer[4096];
  bool is_over = false;
  for (int64_t got; (got = io->read_directory(fd, buffer, sizeof buffer)) != 0;) {
    CHECK(got > 0);
    CHECK(!is_over);  // one was said to be the last
    struct io_name entry = {};
    size_t at = 0;
    for (; io_each_name(buffer, (size_t)got, &at, &entry); count++) {
      int i = atoi(entry.name);
      CHECK(i >= 0 && i < NAMES && !seen[i]);
      seen[i] = true;
      CHECK(entry.name_len == strlen(entry.name) && entry.inode != 0);
      CHECK(entry.type == DT_REG || entry.type == DT_UNKNOWN);
      CHECK(!entry.is_last || at == (size_t)got);
    }
    is_over = entry.is_last;
  }
  CHECK(count == NAMES);
  CHECK(io->read_directory(root, buffer, 1) < 0);
  CHECK(io->close(fd) == 0);
}

// In a block of exactly that size, so that a look past its end is seen by the address sanitizer.
static int count_names(const uint8_t *bytes, size_t size) {
  uint8_t *exact = malloc(size ? size : 1);
  CHECK(exact);
  memcpy(exact, bytes, size);
  struct io_name name;
  int count = 0;
  for (size_t at = 0; io_each_name(exact, size, &at, &name); count++) {
    CHECK((const uint8_t *)name.name >= exact &&
          (const uint8_t *)name.name + name.name_len <= exact + size);
    CHECK(at <= size);
  }
  free(exact);
  return count;
}

static size_t put_name(uint8_t *at, const char *name, uint16_t size) {
  constexpr size_t HEAD = offsetof(struct dirent64, d_name);
  memset(at, 0, size);
  memcpy(at + offsetof(struct dirent64, d_reclen), &size, sizeof size);
  memcpy(at + HEAD, name, strlen(name));
  return size;
}

static void buffers_that_lie(void) {
  static uint8_t bytes[1024];
  constexpr size_t HEAD = offsetof(struct dirent64, d_name);
  size_t size = put_name(bytes, ".", 24);
  size += put_name(bytes + size, "one", 24);
  size += put_name(bytes + size, "..", 24);
  size += put_name(bytes + size, "...", 24);
  CHECK(count_names(bytes, size) == 2);
  for (size_t cut = 0; cut <= size; cut++) CHECK(count_names(bytes, cut) <= 2);
  CHECK(count_names(bytes, 0) == 0);
  for (uint32_t length = 0; length <= 70; length++) {  // the record's own length lies
    uint16_t lie = (uint16_t)length;
    memcpy(bytes + 24 + offsetof(struct dirent64, d_reclen), &lie, sizeof lie);
    CHECK(count_names(bytes, size) <= 5);
  }
  put_name(bytes, "no end", 0);
  uint16_t tight = HEAD + 6;  // no room for the '\0'
  memcpy(bytes + HEAD, "no end", 6);
  memcpy(bytes + offsetof(struct dirent64, d_reclen), &tight, sizeof tight);
  CHECK(count_names(bytes, tight) == 1);
  put_name(bytes, "", 32);  // nameless: skipped
  CHECK(count_names(bytes, 32) == 0);
  uint32_t random = 5;
  for (int round = 0; round < 20'000; round++) {
    for (size_t i = 0; i < 128; i++)
      bytes[i] = (uint8_t)((random = random * 1664525u + 1013904223u) >> 24);
    for (size_t i = 17; i < 128; i += 24) bytes[i] = 0;  // often a likely length
    count_names(bytes, random % 129);
  }
}

static void attributes(void) {
  int fd = io->open(root, "file", IO_READ);
  CHECK(fd >= 0);
  char names[1024], value[64];
  int64_t before = io->list_xattr(root, "file", names, sizeof names);
  if (before == -EOPNOTSUPP) {
    printf("io: skipped attributes, the file system has none\n");
  } else {
    CHECK(before >= 0 && io->list_xattr(fd, "", names, sizeof names) == before);
    CHECK(io->list_xattr(root, "link", names, sizeof names) >=
          0);  // the link's own: none of the file's
    CHECK(io->get_xattr(fd, "", "user.copse-nothing", value, sizeof value) == -ENODATA ||
          io->get_xattr(fd, "", "user.copse-nothing", value, sizeof value) == -EOPNOTSUPP);
    CHECK(io->list_xattr(root, "nothing", names, sizeof names) == -ENOENT);
    CHECK(io->get_xattr(root, "nothing", "user.x", value, sizeof value) == -ENOENT);
  }
  CHECK(io->close(fd) == 0);
}

static void remove_all(int directory) {
  uint8_t buffer[4096];
  for (int64_t got; (got = io->read_directory(directory, buffer, sizeof buffer)) > 0;) {
    struct io_name name;
    for (size_t at = 0; io_each_name(buffer, (size_t)got, &at, &name);) {
      if (name.type != DT_DIR) {
        CHECK(io->remove(directory, name.name, false) == 0);
        continue;
      }
      int below = io->open(directory, name.name, IO_READ | IO_DIRECTORY);
      CHECK(below >= 0);
      remove_all(below);
      CHECK(io->close(below) == 0);
      CHECK(io->remove(directory, name.name, true) == 0);
    }
  }
}

int main(void) {
  int descriptors = count_descriptors();
  CHECK(mkdtemp(root_path));
  root = io->open(IO_HERE, root_path, IO_READ | IO_DIRECTORY);
  CHECK(root >= 0);
  files();
  files_read_together();
  a_pipe_is_not_read();
  holes();
  links_are_not_followed_unless_asked();
  a_pipe_does_not_block();
  directories();
  nothing_leads_out_from_beneath();
  every_name_once();
  buffers_that_lie();
  attributes();
  CHECK(lseek(root, 0, SEEK_SET) == 0);
  remove_all(root);
  CHECK(io->close(root) == 0);
  CHECK(io->remove(IO_HERE, root_path, true) == 0);
  CHECK(count_descriptors() == descriptors);
}
