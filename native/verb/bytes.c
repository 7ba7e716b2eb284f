// bytes: the verbs about one entry: READ gives a file's bytes, WRITE takes them, REMOVE removes.
//
// READ: a job reads page after page and sends them, until two are unread: that parks the task's
// group, so a reader that nobody listens to holds two pages and a descriptor, and no worker.
//
// WRITE: one job at a time writes out in order what was pushed (inflow.h).
#include "base/path.h"
#include "base/record.h"
#include "engine/runtime.h"
#include "verb/inflow.h"

// ── READ ──

struct reading {
  struct job job;
  struct run *run;
  struct directory *directory;
  struct reader reader;
  struct entry before;  // what was opened
  bool is_open;
  uint64_t at, to;
  size_t room;  // of the next page
};

static span request_of(const struct run *run) {
  return (span){run->task->request, run->task->request_len};
}

static void fail(struct run *run, const struct fault *fault) {
  task_fail(run->task, fault, run->store[LEFT].shown, run->path);
}

static int32_t read_begin(struct run *run, struct fault *fault) {
  struct reading *reading = run->state;
  reading->run = run;
  reading->at = record_number(request_of(run), COPSE_KEY_FROM, 0);
  reading->to = record_number(request_of(run), COPSE_KEY_TO, UINT64_MAX);
  if (reading->at <= reading->to) return 0;
  return fault_set(fault, COPSE_E_ARGUMENT,
                   "the range begins at %llu, which is behind its end at %llu",
                   (unsigned long long)reading->at, (unsigned long long)reading->to);
}

// Fills the page as far as the range and the file go. Negative: the fault; else the bytes read.
static int64_t read_page(struct reading *reading, uint8_t *bytes, size_t room, bool *is_last,
                         struct fault *fault) {
  struct reader *reader = &reading->reader;
  uint64_t wanted = reading->to - reading->at;
  size_t size = wanted < room ? (size_t)wanted : room, got = 0;
  while (got < size && !reader->at_end && !run_over(reading->run)) {
    int64_t n = reader->store->ops->read(reader, reading->at + got, bytes + got, size - got, fault);
    if (n < 0) return n;
    got += (size_t)n;
    // A page that cannot be read cuts the call that comes to it short; only the next one fails.
    reader->at_end = n == 0 || (reader->at_end && reading->at + got >= reading->before.size);
  }
  *is_last = reader->at_end || got == wanted;
  return (int64_t)got;
}

// Bytes of two states of a file must not pass for the file: what was measured must still be so.
static int32_t read_check(struct reading *reading, struct fault *fault) {
  struct entry after = {};
  int32_t code = reading->reader.store->ops->measure(&reading->reader, &after, nullptr, fault);
  if (code < 0) return code;
  if (after.size == reading->before.size && after.mtime_ns == reading->before.mtime_ns) return 0;
  return fault_set(fault, COPSE_E_CHANGED, "the file changed while it was read: read it again");
}

// One page. False: it was the last one, or there will be none.
static bool read_on(struct reading *reading) {
  struct run *run = reading->run;
  struct fault fault = {};
  uint8_t *bytes;
  size_t room = reading->room;
  struct page *page = task_page_of_bytes(run->task, room, &bytes);
  if (!page) {
    fault_set(&fault, COPSE_E_MEMORY, "out of memory for a page of bytes");
    fail(run, &fault);
    return false;
  }
  bool is_last = false;
  int64_t got = read_page(reading, bytes, room, &is_last, &fault);
  int32_t code = got < 0 ? (int32_t)got : is_last ? read_check(reading, &fault) : 0;
  size_t filled = got < 0 ? 0 : (size_t)got;
  reading->at += filled;
  // A page costs the event loop as much as its bytes do, so who reads on gets larger ones. Not from
  // afar: there a page would take long to fill. Nor for a short rest, that would hold a page.
  bool is_long = reading->at + PAGE_BYTES < reading->before.size;
  if (run->store[LEFT].can & IS_LOCAL) reading->room = is_long ? PAGE_LARGE_BYTES : PAGE_BYTES;
  task_count(run->task, is_last && code == 0, filled);
  atomic_fetch_add_explicit(&run->task->runtime->bytes_read, filled, memory_order_relaxed);
  task_send_bytes(run->task, page, filled);
  if (code < 0) fail(run, &fault);
  return code == 0 && !is_last;
}

static void read_job(struct job *job, struct worker *) {
  struct reading *reading = (struct reading *)job;
  struct run *run = reading->run;
  while (!run_over(run) && read_on(reading)) {
    // Whoever else has work gets a turn. Without others a further job would only wake a second
    // worker for what this one is about to do.
    if (!task_parked(run->task) && !pool_has_waiting(run->task->runtime->pool)) continue;
    run_add(run, JOB_LEAF, &reading->job);
    return;
  }
}

static int32_t read_find(struct run *run, struct entry *entry, struct directory **directory,
                         struct fault *fault) {
  struct store *store = &run->store[LEFT];
  bool is_root = run->path.size == 0;
  int32_t code = is_root ? store->ops->root(store, &run->arena, entry, directory, fault)
                         : store->ops->find(store, run->path, &run->arena, entry, directory, fault);
  if (code < 0 || entry->type != ENTRY_LINK) return code;
  // A link below the root may lead out of it, so it is followed only for who asks.
  if (record_number(request_of(run), COPSE_KEY_LINKS, COPSE_LINKS_KEEP) != COPSE_LINKS_FOLLOW)
    return fault_set(fault, COPSE_E_UNSUPPORTED,
                     "it is a link: read what it points to, or ask for links to be followed");
  return store->ops->stat(*directory, entry, true, fault);
}

static int32_t read_once(struct run *run, struct worker *, struct fault *fault) {
  struct reading *reading = run->state;
  struct entry entry = {};
  int32_t code = read_find(run, &entry, &reading->directory, fault);
  if (code < 0) return code;
  if (entry.type == ENTRY_DIRECTORY)
    return fault_set(fault, COPSE_E_UNSUPPORTED,
                     "it is a directory: list it, or name a file in it");
  if (entry.type != ENTRY_FILE)
    return fault_set(fault, COPSE_E_UNSUPPORTED,
                     "a pipe, socket or device has no content to read: name a file");
  const struct store_ops *ops = run->store[LEFT].ops;
  code = ops->reader(reading->directory, &entry, &reading->reader, fault);
  if (code < 0) return code;
  reading->is_open = true;
  ops->drop(reading->directory);  // an open file needs no open directory
  code = ops->measure(&reading->reader, &reading->before, nullptr, fault);
  if (code < 0) return code;
  atomic_store_explicit(&run->task->total_bytes, reading->before.size, memory_order_relaxed);
  // No file reaches as far as an offset that system calls cannot say.
  if (reading->to > INT64_MAX) reading->to = INT64_MAX;
  if (reading->at > reading->to) reading->at = reading->to;
  reading->job.run = read_job;
  reading->room = PAGE_BYTES;
  run_add(run, JOB_LEAF, &reading->job);
  return 0;
}

static void read_close(struct run *run) {
  struct reading *reading = run->state;
  const struct store_ops *ops = run->store[LEFT].ops;
  if (reading->is_open) ops->read_end(&reading->reader);
  if (reading->directory) ops->leave(reading->directory);
}

const struct verb read_verb = {
    .name = "read",
    .sides = 1,
    .state_size = sizeof(struct reading),
    .begin = read_begin,
    .once = read_once,
    .close = read_close,
};

// ── WRITE ──

struct writing {
  struct inflow inflow;
  struct directory *directory;  // what the file stands in
  struct writer *writer;        // nullptr before it was opened and after it was committed
  uint64_t at;                  // bytes written
  uint32_t made;                // directories for it, taken away again when it does not come
};

static int32_t write_pushed(struct run *run, span bytes, struct fault *fault) {
  return inflow_push(&((struct writing *)run->state)->inflow, run, bytes, fault);
}

static void write_commit(struct writing *writing) {
  struct run *run = writing->inflow.run;
  struct writer *writer = writing->writer;
  writing->writer = nullptr;  // a commit frees it, also when it fails
  struct entry entry = {};
  struct fault fault = {};
  const struct store_ops *ops = run->store[LEFT].ops;
  int32_t code = ops->commit(writer, writing->at, &entry, &fault);
  if (code == 0) writing->made = 0;
  if (code == 0 && ops->settle) code = ops->settle(writing->directory, &fault);
  if (code < 0) {
    fail(run, &fault);
    return;
  }
  task_count(run->task, 1, 0);
  copse_row row = {.kind = COPSE_ROW_ENTRY,
                   .type = entry.type,
                   .left_size = entry.size,
                   .right_size = COPSE_UNKNOWN,
                   .left_mtime_ns = entry.mtime_ns,
                   .right_mtime_ns = COPSE_UNKNOWN_TIME};
  if (entry.mode) row.extra = (entry.mode & 07777) | COPSE_MODE_KNOWN;
  task_emit(run->task, &row, (span){}, run->path, (span){});
}

static void write_job(struct job *job, struct worker *) {
  struct writing *writing = (struct writing *)job;
  struct run *run = writing->inflow.run;
  for (size_t i = 0; i < INFLOW_BLOCKS_A_JOB; i++) {
    if (run_over(run)) return;  // write_close gives up what was written
    bool is_ended;
    struct block *block = inflow_take(&writing->inflow, &is_ended);
    if (is_ended) {
      write_commit(writing);
      task_expect_no_more(run->task);
    }
    if (!block) return;
    struct fault fault = {};
    size_t size = block->filled;
    int32_t code =
        run->store[LEFT].ops->write(writing->writer, writing->at, block->bytes, size, &fault);
    writing->at += code < 0 ? 0 : size;
    inflow_give(&writing->inflow, block);
    if (code < 0) {
      fail(run, &fault);
      return;
    }
    task_count(run->task, 0, size);
    atomic_fetch_add_explicit(&run->task->runtime->bytes_written, size, memory_order_relaxed);
  }
  inflow_again(&writing->inflow);
}

static int32_t can(const struct store *store, uint32_t what, const char *verb,
                   struct fault *fault) {
  if (store->can & what) return 0;
  return fault_set(fault, COPSE_E_UNSUPPORTED, "a place of this kind (%s) is never %s",
                   store->ops->scheme, verb);
}

// The directories may be taken away again under our hands, by a write that made them and did not
// come to its end; from the writer on they are not empty.
static int32_t write_open(struct run *run, struct fault *fault) {
  constexpr int TRIES = 8;
  struct writing *writing = run->state;
  struct store *store = &run->store[LEFT];
  int32_t code = 0;
  for (int i = 0; i < TRIES; i++) {
    *fault = (struct fault){};
    struct entry entry = {};
    uint32_t made;
    code = store_place(store, run->path, &made, &run->arena, &entry, &writing->directory, fault);
    if (made > writing->made) writing->made = made;
    if (code == 0) {
      struct wanted wanted = {.entry = &entry};
      code = store->ops->writer(writing->directory, &wanted, &writing->writer, fault);
      if (code == 0) return 0;
      store->ops->leave(writing->directory);
      writing->directory = nullptr;
    }
    if (code != COPSE_E_NOT_FOUND || path_parent(run->path).size == 0) return code;
  }
  return code;
}

static int32_t write_once(struct run *run, struct worker *, struct fault *fault) {
  struct writing *writing = run->state;
  struct store *store = &run->store[LEFT];
  int32_t code = can(store, CAN_WRITE, "written to", fault);
  if (code < 0) return code;
  code = write_open(run, fault);
  if (code < 0) return code;
  inflow_open(&writing->inflow, run, write_job);
  return 0;
}

static void write_close(struct run *run) {
  struct writing *writing = run->state;
  inflow_close(&writing->inflow, run);
  const struct store_ops *ops = run->store[LEFT].ops;
  if (writing->writer) ops->abandon(writing->writer);
  if (writing->directory) ops->leave(writing->directory);
  store_unmake(&run->store[LEFT], run->path, writing->made);
}

const struct verb write_verb = {
    .name = "write",
    .sides = 1,
    .state_size = sizeof(struct writing),
    .once = write_once,
    .close = write_close,
    .pushed = write_pushed,
};

// ── REMOVE ──

static int32_t remove_once(struct run *run, struct worker *, struct fault *fault) {
  struct store *store = &run->store[LEFT];
  int32_t code = can(store, CAN_DELETE, "removed from", fault);
  struct entry entry = {};
  struct directory *directory = nullptr;
  if (code == 0)
    code = store_place(store, run->path, nullptr, &run->arena, &entry, &directory, fault);
  if (code < 0) return code;
  const struct store_ops *ops = store->ops;
  code = entry.type == ENTRY_NONE
             ? fault_set(fault, COPSE_E_NOT_FOUND, "no such file or directory: check the path")
             : ops->remove(directory, &entry, fault);
  if (code == 0 && ops->settle) code = ops->settle(directory, fault);
  ops->leave(directory);
  if (code == 0) task_count(run->task, 1, 0);
  return code;
}

const struct verb remove_verb = {.name = "remove", .sides = 1, .once = remove_once};
