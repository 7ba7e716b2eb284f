// fd: a descriptor that the process has open, as a place of one file: what comes out of it, or goes
// into it, once and in order. Most are pipes and sockets, which the kernel fills and empties by
// itself where it can.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/record.h"
#include "engine/io.h"
#include "engine/task.h"
#include "store/store.h"

// How a call that writes is kept from waiting, where nobody could cancel it.
enum fd_way : uint8_t {
  FREELY,    // it never waits for another program, or says EAGAIN
  SENDING,   // a socket: each call says that it does not wait
  SPARINGLY  // no more at once than there is room for where there is room for anything
};

struct fd_state {
  int fd;  // our own copy: the caller may close his
  enum fd_way way;
  bool no_pulls;  // the kernel does not do it between these two
};

struct fd_writer {
  struct writer base;
  uint64_t at;
};

static struct fd_state *state_of(const struct store *store) { return store->state; }

// ── Opening ──

// Whether calls wait is said by what the caller shares with us, and maybe with others: it is not
// ours to change. A pipe can be opened once more, for ourselves. Where that is refused (it is
// another user's, nobody reads it, there is no /proc) little is written at once. What is only read
// stays as it is: poll says of a named pipe that was opened after its last writer left that there
// is nothing yet, and never that this is the end.
static void choose_way(struct fd_state *state, mode_t mode) {
  int flags = fcntl(state->fd, F_GETFL);
  if (S_ISREG(mode) || S_ISBLK(mode) || (flags >= 0 && flags & O_NONBLOCK)) return;
  if (flags >= 0 && (flags & O_ACCMODE) == O_RDONLY) return;
  state->way = S_ISSOCK(mode) ? SENDING : SPARINGLY;
  if (!S_ISFIFO(mode) || flags < 0) return;
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", state->fd);
  int own = open(path, (flags & O_ACCMODE) | O_NONBLOCK | O_CLOEXEC);
  if (own < 0) return;
  close(state->fd);
  state->fd = own;
  state->way = FREELY;
}

static int32_t fd_open(struct store *store, const struct place *place, struct fault *fault) {
  uint64_t number = record_number(place->record, COPSE_PLACE_FD, UINT64_MAX);
  if (number > INT32_MAX)
    return fault_set(fault, COPSE_E_ARGUMENT, "a place of this kind needs a descriptor");
  struct fd_state *state = malloc(sizeof *state);
  if (!state) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  *state = (struct fd_state){.fd = fcntl((int)number, F_DUPFD_CLOEXEC, 0)};
  struct stat stat;
  int32_t code =
      state->fd < 0 || fstat(state->fd, &stat) < 0 ? fault_from_errno(fault, errno, "fcntl") : 0;
  if (code == 0 && S_ISDIR(stat.st_mode))
    code = fault_set(fault, COPSE_E_UNSUPPORTED, "the descriptor is of a directory: name its path");
  if (code < 0) {
    if (state->fd >= 0) close(state->fd);
    free(state);
    return code;
  }
  choose_way(state, stat.st_mode);
  store->state = state;
  return 0;
}

static void fd_close(struct store *store) {
  close(state_of(store)->fd);
  free(state_of(store));
}

static int32_t directory_new(struct store *store, struct directory **out, struct fault *fault) {
  *out = malloc(sizeof **out);
  if (!*out) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  (*out)->store = store;
  return 0;
}

static int32_t fd_root(struct store *store, struct arena *, struct entry *out,
                       struct directory **directory, struct fault *fault) {
  *out = (struct entry){.name = SPAN(""),
                        .type = ENTRY_FILE,
                        .has = HAS_STAT,
                        .size = COPSE_UNKNOWN,
                        .mtime_ns = INT64_MIN};
  return directory_new(store, directory, fault);
}

static int32_t not_found(struct fault *fault) {
  return fault_set(fault, COPSE_E_NOT_FOUND, "a descriptor is one file and holds nothing");
}

static int32_t fd_find(struct store *, span, struct arena *, struct entry *, struct directory **,
                       struct fault *fault) {
  return not_found(fault);
}

static int32_t fd_enter(struct directory *, const struct entry *, struct directory **,
                        struct fault *fault) {
  return not_found(fault);
}

static void fd_leave(struct directory *directory) { free(directory); }
static int32_t fd_hold(struct directory *, struct fault *) { return 0; }
static void fd_drop(struct directory *) {}
static int32_t fd_list(struct directory *, struct listing *, struct fault *fault) {
  return not_found(fault);
}

static int32_t fd_stat(struct directory *, struct entry *entry, bool, struct fault *) {
  entry->type = ENTRY_FILE;
  entry->has |= HAS_STAT;
  entry->size = COPSE_UNKNOWN;
  entry->mtime_ns = INT64_MIN;
  return 0;
}

static int32_t fd_target(struct directory *, struct entry *, struct arena *, struct fault *fault) {
  return not_found(fault);
}

// ── Reading ──

static int32_t fd_reader(struct directory *directory, const struct entry *, struct reader *out,
                         struct fault *) {
  *out = (struct reader){.store = directory->store,
                         .access = READ_ONWARD,
                         .flows = true,
                         .fd = state_of(directory->store)->fd};
  return 0;
}

static int64_t fd_read(struct reader *reader, uint64_t, uint8_t *into, size_t size,
                       struct fault *fault) {
  for (;;) {
    int32_t code = store_wait(reader->store->task, reader->fd, false, fault);
    if (code < 0) return code;
    ssize_t got = read(reader->fd, into, size);
    if (got >= 0) {
      reader->at_end = got == 0;
      return got;
    }
    if (errno != EAGAIN && errno != EINTR) return fault_from_errno(fault, errno, "read");
  }
}

static void fd_read_end(struct reader *) {}

static int32_t fd_measure(struct reader *, struct entry *out, bool *holes, struct fault *fault) {
  if (holes) *holes = false;
  return fd_stat(nullptr, out, false, fault);
}

// ── Writing ──

// A reader that left ended the work; whoever began it decides whether that is bad.
static int32_t cannot_write(struct fault *fault, int error, const char *call) {
  int32_t code = fault_from_errno(fault, error, call);
  return error == EPIPE ? fault->code = COPSE_E_CLOSED : code;
}

static int32_t fd_above(struct store *store, bool, struct arena *, struct entry *out,
                        struct directory **directory, struct fault *fault) {
  *out = (struct entry){.name = SPAN(""), .mtime_ns = INT64_MIN};
  return directory_new(store, directory, fault);
}

static int32_t fd_create(struct directory *, const struct wanted *, struct directory **,
                         struct fault *fault) {
  return not_found(fault);
}

static int32_t fd_writer(struct directory *directory, const struct wanted *, struct writer **out,
                         struct fault *fault) {
  struct fd_writer *writer = malloc(sizeof *writer);
  if (!writer) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  *writer = (struct fd_writer){.base.store = directory->store};
  *out = &writer->base;
  return 0;
}

// After poll said that there is room.
static ssize_t write_some(const struct fd_state *state, const uint8_t *bytes, size_t size) {
  if (state->way == SENDING) return send(state->fd, bytes, size, MSG_DONTWAIT);
  bool is_much = state->way == SPARINGLY && size > PIPE_BUF;
  return write(state->fd, bytes, is_much ? PIPE_BUF : size);
}

static int32_t put(struct fd_writer *writer, const uint8_t *bytes, size_t size,
                   struct fault *fault) {
  struct store *store = writer->base.store;
  while (size > 0) {
    int32_t code = store_wait(store->task, state_of(store)->fd, true, fault);
    if (code < 0) return code;
    ssize_t wrote = write_some(state_of(store), bytes, size);
    if (wrote < 0 && errno != EAGAIN && errno != EINTR) return cannot_write(fault, errno, "write");
    if (wrote <= 0) continue;
    bytes += wrote;
    size -= (size_t)wrote;
    writer->at += (uint64_t)wrote;
  }
  return 0;
}

static int32_t put_zeros(struct fd_writer *writer, uint64_t to, struct fault *fault) {
  static const uint8_t zeros[4096];
  int32_t code = 0;
  while (code == 0 && writer->at < to) {
    uint64_t left = to - writer->at;
    code = put(writer, zeros, left < sizeof zeros ? (size_t)left : sizeof zeros, fault);
  }
  return code;
}

static int32_t fd_write(struct writer *base, uint64_t at, const uint8_t *bytes, size_t size,
                        struct fault *fault) {
  struct fd_writer *writer = (struct fd_writer *)base;
  int32_t code = put_zeros(writer, at, fault);
  return code < 0 ? code : put(writer, bytes, size, fault);
}

// What a kernel answers that cannot do it between these two.
static bool is_not_here(int64_t code) {
  return code == -EINVAL || code == -ENOSYS || code == -EXDEV || code == -EOPNOTSUPP ||
         code == -EBADF || code == -ENOTSOCK || code == -EPERM;
}

// What the kernel may send to a socket in one call, which waits where the socket's calls do: it is
// ready for more when a third of its buffer is empty.
static size_t piece_of(const struct fd_state *state) {
  constexpr size_t PIECE = 1 << 20;  // so that a cancelled task need not wait for long
  int buffer = 0;
  socklen_t length = sizeof buffer;
  if (state->way != SENDING) return PIECE;
  if (getsockopt(state->fd, SOL_SOCKET, SO_SNDBUF, &buffer, &length) < 0 || buffer < 4 * PIPE_BUF)
    return PIPE_BUF;
  return (size_t)buffer / 4 < PIECE ? (size_t)buffer / 4 : PIECE;
}

static int64_t fd_pull(struct writer *base, struct reader *reader, uint64_t at, uint64_t size,
                       struct fault *fault) {
  struct fd_writer *writer = (struct fd_writer *)base;
  struct store *store = base->store;
  struct fd_state *state = state_of(store);
  if (size == UINT64_MAX || state->no_pulls || reader->flows) return 0;
  int32_t code = put_zeros(writer, at, fault);
  while (code == 0) {
    code = store_wait(store->task, state->fd, true, fault);
    if (code < 0) break;
    enum io_way way;
    size_t piece = piece_of(state);
    int64_t got =
        store->io->flow_out(state->fd, reader->fd, at, size < piece ? (size_t)size : piece, &way);
    if (got == -EAGAIN) continue;
    if (is_not_here(got)) {
      state->no_pulls = true;
      return 0;
    }
    if (got < 0) return cannot_write(fault, (int)-got, way == IO_SPLICE ? "splice" : "sendfile");
    writer->at += (uint64_t)got;
    atomic_fetch_add_explicit(&store->task->ways[way], (uint64_t)got, memory_order_relaxed);
    return got;
  }
  return code;
}

static int32_t fd_commit(struct writer *base, uint64_t size, struct entry *out,
                         struct fault *fault) {
  int32_t code = put_zeros((struct fd_writer *)base, size, fault);
  if (code == 0) code = fd_stat(nullptr, out, false, fault);
  out->size = size;
  free(base);
  return code;
}

static void fd_abandon(struct writer *base) { free(base); }

static int32_t no_such(struct fault *fault) {
  return fault_set(fault, COPSE_E_UNSUPPORTED, "a descriptor takes the bytes of one file");
}

static int32_t fd_make(struct directory *, const struct wanted *, struct fault *fault) {
  return no_such(fault);
}

static int32_t fd_remove(struct directory *, const struct entry *, struct fault *fault) {
  return no_such(fault);
}

static int32_t fd_set_metadata(struct directory *, const struct wanted *, struct fault *fault) {
  return no_such(fault);
}

const struct store_ops fd_store = {
    .scheme = "fd",
    .can = CAN_WRITE | ONLY_ONCE,
    .open = fd_open,
    .close = fd_close,
    .root = fd_root,
    .find = fd_find,
    .enter = fd_enter,
    .leave = fd_leave,
    .hold = fd_hold,
    .drop = fd_drop,
    .list = fd_list,
    .stat = fd_stat,
    .target = fd_target,
    .reader = fd_reader,
    .read = fd_read,
    .read_end = fd_read_end,
    .measure = fd_measure,
    .above = fd_above,
    .create = fd_create,
    .writer = fd_writer,
    .write = fd_write,
    .pull = fd_pull,
    .commit = fd_commit,
    .abandon = fd_abandon,
    .make = fd_make,
    .remove = fd_remove,
    .set = fd_set_metadata,
};
