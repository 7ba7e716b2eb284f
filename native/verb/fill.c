// fill: many files, pushed by the caller one after the other, into one place. What is pushed is a
// sequence of frames, each a u32 length and so many bytes. A file is a record of enum copse_given,
// its content in any number of frames, and an empty frame. One job at a time takes them out in
// order (inflow.h); a store that compresses gives the work of it to others.
#include <stdlib.h>

#include "base/path.h"
#include "base/record.h"
#include "engine/runtime.h"
#include "verb/inflow.h"

constexpr size_t HEAD_BYTES_MAX = 256 * 1024;  // of a file's record

struct filling {
  struct inflow inflow;
  struct directory *root;
  struct writer *writer;  // of the file whose content comes
  uint64_t at;            // bytes of it
  uint8_t length[4];      // of the frame that comes
  size_t length_filled;
  uint32_t left;  // bytes of the frame that are still to come
  uint8_t *head;  // the record that comes
  size_t head_filled;
  span path;  // of the file, in head
  uint64_t files, bytes;
};

static int32_t broken(struct fault *fault) {
  return fault_set(fault, COPSE_E_ARGUMENT, "what was pushed is no sequence of files");
}

static void fail(struct filling *filling, const struct fault *fault) {
  struct run *run = filling->inflow.run;
  task_fail(run->task, fault, run->store[LEFT].shown, filling->path);
}

// The record is there: a file begins.
static int32_t begin_file(struct filling *filling, struct fault *fault) {
  struct store *store = &filling->inflow.run->store[LEFT];
  span record = {filling->head, filling->head_filled};
  int32_t code = record_check(record, fault);
  if (code < 0) return code;
  filling->path = record_text(record, COPSE_GIVEN_PATH);
  if (filling->path.size == 0) return broken(fault);
  code = path_safe(filling->path, fault);
  if (code < 0) return code;
  struct field field;
  struct entry entry = {.name = filling->path, .type = ENTRY_FILE, .mtime_ns = INT64_MIN};
  struct wanted wanted = {.entry = &entry};
  if (record_find(record, COPSE_GIVEN_MODE, COPSE_FIELD_NUMBER, &field)) {
    entry.mode = (uint32_t)field.number & 07777;
    wanted.what |= WANT_MODE;
  }
  if (record_find(record, COPSE_GIVEN_MTIME, COPSE_FIELD_NUMBER, &field)) {
    entry.mtime_ns = (int64_t)field.number;
    wanted.what |= WANT_MTIME;
  }
  struct filing filing = {.origin = record_text(record, COPSE_GIVEN_REPO)};
  filing.has_type = record_find(record, COPSE_GIVEN_TYPE, COPSE_FIELD_NUMBER, &field);
  if (filing.has_type) filing.type = (uint8_t)(field.number & 127);
  filling->at = 0;
  return store->ops->file(store, &wanted, &filing, &filling->writer, fault);
}

static int32_t end_file(struct filling *filling, struct fault *fault) {
  struct run *run = filling->inflow.run;
  struct writer *writer = filling->writer;
  filling->writer = nullptr;  // a commit frees it, also when it fails
  struct entry entry = {};
  int32_t code = run->store[LEFT].ops->commit(writer, filling->at, &entry, fault);
  if (code < 0) return code;
  filling->files++;
  filling->bytes += filling->at;
  task_count(run->task, 1, 0);
  copse_row row = {.kind = COPSE_ROW_COPIED,
                   .type = COPSE_TYPE_FILE,
                   .left_size = filling->at,
                   .right_size = COPSE_UNKNOWN,
                   .left_mtime_ns = COPSE_UNKNOWN_TIME,
                   .right_mtime_ns = COPSE_UNKNOWN_TIME};
  task_emit(run->task, &row, path_parent(filling->path), path_name(filling->path), (span){});
  filling->path = (span){};
  filling->head_filled = 0;
  return 0;
}

// A frame's length came: what kind of frame it is.
static int32_t begin_frame(struct filling *filling, struct fault *fault) {
  memcpy(&filling->left, filling->length, sizeof filling->left);
  filling->length_filled = 0;
  if (filling->writer) return filling->left == 0 ? end_file(filling, fault) : 0;
  if (filling->left == 0 || filling->left > HEAD_BYTES_MAX) return broken(fault);
  free(filling->head);
  filling->head = malloc(filling->left);
  filling->head_filled = 0;
  return filling->head ? 0 : fault_set(fault, COPSE_E_MEMORY, "out of memory for a path");
}

// Bytes of the frame that has begun; how many were used.
static int64_t in_frame(struct filling *filling, span bytes, struct fault *fault) {
  struct run *run = filling->inflow.run;
  size_t count = bytes.size < filling->left ? bytes.size : filling->left;
  int32_t code = 0;
  filling->left -= (uint32_t)count;
  if (filling->writer) {
    code = run->store[LEFT].ops->write(filling->writer, filling->at, bytes.at, count, fault);
    filling->at += count;
    task_count(run->task, 0, count);
    atomic_fetch_add_explicit(&run->task->runtime->bytes_written, count, memory_order_relaxed);
  } else {
    memcpy(filling->head + filling->head_filled, bytes.at, count);
    filling->head_filled += count;
    if (filling->left == 0) code = begin_file(filling, fault);
  }
  return code < 0 ? code : (int64_t)count;
}

static int32_t take_bytes(struct filling *filling, span bytes, struct fault *fault) {
  while (bytes.size) {
    int64_t used = 1;
    if (filling->left) {
      used = in_frame(filling, bytes, fault);
    } else {
      filling->length[filling->length_filled++] = *bytes.at;
      if (filling->length_filled == sizeof filling->length) {
        int32_t code = begin_frame(filling, fault);
        if (code < 0) return code;
      }
    }
    if (used < 0) return (int32_t)used;
    bytes = (span){bytes.at + used, bytes.size - (size_t)used};
  }
  return 0;
}

static void fill_job(struct job *job, struct worker *) {
  struct filling *filling = (struct filling *)job;
  struct run *run = filling->inflow.run;
  for (size_t i = 0; i < INFLOW_BLOCKS_A_JOB; i++) {
    if (run_over(run)) return;
    // The rows wait to be read: so do the files.
    if (task_parked(run->task)) break;
    bool is_ended;
    struct fault fault = {};
    struct block *block = inflow_take(&filling->inflow, &is_ended);
    if (is_ended) {
      if (filling->writer || filling->left || filling->length_filled) {
        broken(&fault);
        fail(filling, &fault);
      }
      task_expect_no_more(run->task);
    }
    if (!block) return;
    int32_t code = take_bytes(filling, (span){block->bytes, block->filled}, &fault);
    inflow_give(&filling->inflow, block);
    if (code < 0) {
      fail(filling, &fault);
      return;
    }
  }
  inflow_again(&filling->inflow);
}

static int32_t fill_pushed(struct run *run, span bytes, struct fault *fault) {
  return inflow_push(&((struct filling *)run->state)->inflow, run, bytes, fault);
}

static int32_t fill_once(struct run *run, struct worker *, struct fault *fault) {
  struct filling *filling = run->state;
  struct store *store = &run->store[LEFT];
  if (!store->ops->file)
    return fault_set(fault, COPSE_E_UNSUPPORTED, "a %s location is not filled with files",
                     store->ops->scheme);
  struct entry entry = {};
  int32_t code = store->ops->root(store, &run->arena, &entry, &filling->root, fault);
  if (code == 0) inflow_open(&filling->inflow, run, fill_job);
  return code;
}

static bool fill_end(struct run *run, struct worker *) {
  const struct filling *filling = run->state;
  uint8_t bytes[64];
  struct record_writer writer = {bytes, sizeof bytes, 0};
  record_put_number(&writer, COPSE_DETAIL_COPIED, filling->files);
  record_put_number(&writer, COPSE_DETAIL_MOVED, filling->bytes);
  run_summary(run->task, (span){bytes, writer.size});
  return false;
}

static void fill_close(struct run *run) {
  struct filling *filling = run->state;
  const struct store_ops *ops = run->store[LEFT].ops;
  inflow_close(&filling->inflow, run);
  if (filling->writer) ops->abandon(filling->writer);
  if (filling->root) ops->leave(filling->root);
  free(filling->head);
}

const struct verb fill_verb = {
    .name = "fill",
    .sides = 1,
    .state_size = sizeof(struct filling),
    .once = fill_once,
    .end = fill_end,
    .close = fill_close,
    .pushed = fill_pushed,
};
