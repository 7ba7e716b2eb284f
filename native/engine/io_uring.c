// io_uring: one operation for many small files. Each file is a chain of requests, open, advise,
// read and close, on a slot of the ring's own table, so that no descriptor of the process is spent
// and nothing of it is left when the batch is over. A batch costs one system call; the kernel has
// the reads of all files at the disk at once.
//
// Everything else of the table is io_plain's: one stat, one listing or one large read is not
// quicker by a ring (docs/async.md, "io backends").
//
// A ring belongs to the worker that made it. No library: the calls are few and their structs are
// the kernel's promise.
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/io_posix.h"
#include "engine/thread.h"

constexpr uint32_t REQUESTS_A_FILE = 4;
// A batch, and as many cancels.
constexpr uint32_t ENTRIES = 256;
static_assert(IO_FILES_MAX * (REQUESTS_A_FILE + 1) <= ENTRIES);
// What is not there by then is given up, and the caller reads it by plain calls: one file that
// hangs must not keep the others waiting.
constexpr int64_t PATIENCE_NS = 250'000'000;

enum request : uint64_t {
  REQUEST_OPEN,
  REQUEST_ADVISE,
  REQUEST_READ,
  REQUEST_CLOSE,
  REQUEST_CANCEL,
};
constexpr uint32_t REQUEST_BITS = 3;

struct io_ring {
  int fd;
  uint8_t *shared;  // the kernel's and ours: heads, tails, completions
  size_t shared_bytes;
  struct io_uring_sqe *requests;
  uint32_t *request_tail, *completed_head, *completed_tail;
  uint32_t request_mask, completed_mask;
  struct io_uring_cqe *completed;
  uint32_t tail;     // of requests, as far as they are filled
  uint32_t unsent;   // filled and not handed over
  uint32_t pending;  // handed over or filled, and not completed
};

static int enter(struct io_ring *ring, uint32_t least) {
  struct __kernel_timespec patience = {.tv_nsec = PATIENCE_NS};
  struct io_uring_getevents_arg wait = {.ts = (uint64_t)(uintptr_t)&patience};
  for (;;) {
    long sent = syscall(SYS_io_uring_enter, ring->fd, ring->unsent, least,
                        IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &wait, sizeof wait);
    if (sent >= 0) {
      ring->unsent -= (uint32_t)sent;
      return 0;
    }
    if (errno != EINTR) return -errno;
  }
}

static struct io_uring_sqe *request(struct io_ring *ring, uint8_t operation, uint64_t file,
                                    enum request what) {
  struct io_uring_sqe *sqe = &ring->requests[ring->tail & ring->request_mask];
  *sqe = (struct io_uring_sqe){.opcode = operation, .user_data = file << REQUEST_BITS | what};
  ring->tail++;
  ring->unsent++;
  ring->pending++;
  __atomic_store_n(ring->request_tail, ring->tail, __ATOMIC_RELEASE);
  return sqe;
}

// Takes what is completed and says it to `files`.
static void take(struct io_ring *ring, struct io_file *files) {
  uint32_t head = *ring->completed_head;  // only we write it
  uint32_t tail = __atomic_load_n(ring->completed_tail, __ATOMIC_ACQUIRE);
  for (; head != tail; head++) {
    const struct io_uring_cqe *cqe = &ring->completed[head & ring->completed_mask];
    struct io_file *file = &files[cqe->user_data >> REQUEST_BITS];
    enum request what = cqe->user_data & ((1 << REQUEST_BITS) - 1);
    ring->pending--;
    if ((what == REQUEST_OPEN || what == REQUEST_ADVISE) && cqe->res < 0 &&
        (cqe->res != -ECANCELED || file->got == IO_FILE_PENDING))
      file->got = cqe->res;
    // After a request that failed the others are cancelled, which is not the reason.
    if (what == REQUEST_READ && file->got == IO_FILE_PENDING) file->got = cqe->res;
  }
  __atomic_store_n(ring->completed_head, head, __ATOMIC_RELEASE);
}

// Waits for everything that was handed over: until then the kernel may write to the buffers. A
// negative code: the ring takes no more.
static int finish(struct io_ring *ring, struct io_file *files, size_t count) {
  bool given_up = false;
  int broken = 0;
  while (ring->pending > 0) {
    uint32_t before = ring->pending;
    int code = broken ? 0 : enter(ring, ring->pending);
    if (code < 0 && code != -ETIME && code != -EBUSY && code != -EAGAIN) {
      broken = code;
      ring->pending -= ring->unsent;  // nobody will see these
      ring->unsent = 0;
    }
    take(ring, files);
    if (broken && ring->pending > 0) thread_sleep(1'000'000);
    if (broken || given_up || ring->pending == 0 || ring->pending < before) continue;
    for (size_t i = 0; i < count; i++)
      if (files[i].got == IO_FILE_PENDING)
        request(ring, IORING_OP_ASYNC_CANCEL, i, REQUEST_CANCEL)->addr =
            i << REQUEST_BITS | REQUEST_READ;
    given_up = true;
  }
  return broken;
}

static uint32_t *field(struct io_ring *ring, uint32_t offset) {
  return (uint32_t *)(void *)(ring->shared + offset);
}

static int map(struct io_ring *ring, const struct io_uring_params *params) {
  size_t requests = params->sq_off.array + params->sq_entries * sizeof(uint32_t);
  size_t completed = params->cq_off.cqes + params->cq_entries * sizeof(struct io_uring_cqe);
  ring->shared_bytes = requests > completed ? requests : completed;
  void *shared = mmap(nullptr, ring->shared_bytes, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_SQ_RING);
  if (shared == MAP_FAILED) return -errno;
  ring->shared = shared;
  void *entries = mmap(nullptr, ENTRIES * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_SQES);
  if (entries == MAP_FAILED) return -errno;
  ring->requests = entries;
  ring->request_tail = field(ring, params->sq_off.tail);
  ring->request_mask = params->sq_entries - 1;
  ring->completed_head = field(ring, params->cq_off.head);
  ring->completed_tail = field(ring, params->cq_off.tail);
  ring->completed_mask = params->cq_entries - 1;
  ring->completed = (struct io_uring_cqe *)(void *)(ring->shared + params->cq_off.cqes);
  // Requests are handed over in the order of their places, always.
  uint32_t *order = field(ring, params->sq_off.array);
  for (uint32_t i = 0; i < params->sq_entries; i++) order[i] = i;
  return 0;
}

void io_ring_end(struct io_ring *ring) {
  if (!ring) return;
  if (ring->requests) munmap(ring->requests, ENTRIES * sizeof(struct io_uring_sqe));
  if (ring->shared) munmap(ring->shared, ring->shared_bytes);
  if (ring->fd >= 0) close(ring->fd);
  free(ring);
}

static int ring_begin(struct io_ring **out, const char **call) {
  constexpr uint32_t NEEDED =
      IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_CQE_SKIP;
  struct io_ring *ring = calloc(1, sizeof *ring);
  *call = "malloc";
  if (!ring) return -ENOMEM;
  struct io_uring_params params = {};
  *call = "io_uring_setup";
  ring->fd = (int)syscall(SYS_io_uring_setup, ENTRIES, &params);
  int code = ring->fd < 0 ? -errno : 0;
  // The last of these came with Linux 5.17, after all that is used here.
  if (code == 0 && (params.features & NEEDED) != NEEDED) code = -ENOSYS;
  if (code == 0 && params.sq_entries != ENTRIES) code = -EINVAL;
  if (code == 0) {
    *call = "mmap";
    code = map(ring, &params);
  }
  if (code == 0) {
    int slots[IO_FILES_MAX];
    for (size_t i = 0; i < IO_FILES_MAX; i++) slots[i] = -1;
    *call = "io_uring_register";
    if (syscall(SYS_io_uring_register, ring->fd, IORING_REGISTER_FILES, slots, IO_FILES_MAX) < 0)
      code = -errno;
  }
  if (code < 0)
    io_ring_end(ring);
  else
    *out = ring;
  return code;
}

static int uring_read_files(struct io_ring **own, struct io_file *files, size_t count) {
  if (count > IO_FILES_MAX) return -EINVAL;
  const char *call;
  int code = *own ? 0 : ring_begin(own, &call);
  if (code < 0) return code;
  struct io_ring *ring = *own;
  for (size_t i = 0; i < count; i++) {
    struct io_file *file = &files[i];
    file->got = IO_FILE_PENDING;
    struct io_uring_sqe *open = request(ring, IORING_OP_OPENAT, i, REQUEST_OPEN);
    open->fd = file->directory;
    open->addr = (uint64_t)(uintptr_t)file->name;
    // A slot is no descriptor: there is nothing to close on exec, and saying so is refused.
    int how = posix_open_flags(IO_READ | (file->follow ? IO_FOLLOW : 0));
    open->open_flags = (uint32_t)(how & ~O_CLOEXEC);
    open->file_index = (uint32_t)i + 1;
    open->flags = IOSQE_IO_LINK;
    // A ring reads pipes, where pread refuses to. Advice about one is refused, and then the chain
    // ends here. The slot is emptied by the next file that takes it.
    struct io_uring_sqe *advise = request(ring, IORING_OP_FADVISE, i, REQUEST_ADVISE);
    advise->fd = (int)i;
    advise->fadvise_advice = POSIX_FADV_NORMAL;
    advise->flags = IOSQE_FIXED_FILE | IOSQE_IO_LINK;
    struct io_uring_sqe *read = request(ring, IORING_OP_READ, i, REQUEST_READ);
    read->fd = (int)i;
    read->addr = (uint64_t)(uintptr_t)file->into;
    read->len = (uint32_t)file->size;
    // A read that comes short, as that of a small file always does, must not keep it open.
    read->flags = IOSQE_FIXED_FILE | IOSQE_IO_HARDLINK;
    struct io_uring_sqe *close = request(ring, IORING_OP_CLOSE, i, REQUEST_CLOSE);
    close->file_index = (uint32_t)i + 1;
  }
  code = finish(ring, files, count);
  if (code == 0) return 0;
  io_ring_end(ring);
  *own = nullptr;
  return code;
}

static const struct {
  uint8_t operation;
  const char *name;
} needed[] = {{IORING_OP_OPENAT, "openat"},
              {IORING_OP_FADVISE, "fadvise"},
              {IORING_OP_READ, "read"},
              {IORING_OP_CLOSE, "close"},
              {IORING_OP_ASYNC_CANCEL, "async_cancel"}};
static_assert(sizeof needed / sizeof *needed == IO_RING_OPERATIONS);

// What the kernel says that it can, and then whether it does: the root directory is opened, which
// reads as EISDIR.
static int look(struct io_ring *ring, struct io_ring_probe *out) {
  constexpr uint32_t KNOWN = IORING_OP_LAST;
  union {
    struct io_uring_probe head;
    uint8_t room[sizeof(struct io_uring_probe) + KNOWN * sizeof(struct io_uring_probe_op)];
  } probe = {};
  out->call = "io_uring_register";
  if (syscall(SYS_io_uring_register, ring->fd, IORING_REGISTER_PROBE, &probe, KNOWN) < 0)
    return -errno;
  for (size_t i = 0; i < IO_RING_OPERATIONS; i++) {
    uint8_t operation = needed[i].operation;
    if (operation > probe.head.last_op ||
        !(probe.head.ops[operation].flags & IO_URING_OP_SUPPORTED))
      continue;
    out->operations[out->count++] = needed[i].name;
  }
  out->call = "io_uring_enter";
  if (out->count < IO_RING_OPERATIONS) return -ENOSYS;
  uint8_t byte;
  struct io_file file = {.directory = IO_HERE, .name = "/", .into = &byte, .size = 1};
  int code = uring_read_files(&ring, &file, 1);
  return code < 0 ? code : file.got == -EISDIR ? 0 : -EINVAL;
}

void io_ring_probe(struct io_ring_probe *out) {
  *out = (struct io_ring_probe){};
  struct io_ring *ring = nullptr;
  int code = ring_begin(&ring, &out->call);
  if (code == 0) code = look(ring, out);
  io_ring_end(ring);
  out->refused = -code;
  if (code < 0) out->count = 0;
}

void io_ring_table(struct io_ops *table) {
  *table = io_plain;
  table->name = "uring";
  table->fused = true;
  table->read_files = uring_read_files;
}
