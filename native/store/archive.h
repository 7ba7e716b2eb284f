// archive: what the parts of the archive store share. archive_pass.c opens one and reads it from
// front to back once; archive.c answers from what that wrote down.
#pragma once
#include "engine/thread.h"
#include "store/archive_index.h"
#include "store/archive_stream.h"
#include "store/archive_zip.h"

// A stream that stands behind the content of entry `next - 1`.
struct position {
  struct archive_stream stream;
  uint64_t next;  // number of the entry that stream_next gives next
  struct position *other;
};

struct archive_state {
  struct store *store, inner;
  struct directory *inner_directory;
  struct entry inner_entry, measured;
  struct arena arena;
  struct archive_limits limits;
  uint32_t formats;
  uint64_t strip;
  span sub, password;
  bool raw_equal;

  // The pass; `lock` guards what says how far it is.
  mutex lock, reading;  // reading: where only one at a time may read from `reader`
  condition changed;
  bool is_started, is_done;
  int32_t code;
  struct fault fault;
  struct thread thread;
  _Atomic bool stop;

  // After it, nothing of this changes.
  enum archive_format format;
  bool is_direct;  // content lies in the inner file as it is
  struct index index;
  uint32_t root;
  struct reader reader;  // of the inner file, for what can be read anywhere in it
  bool has_reader, has_zip;
  struct zip_file zip;

  struct position *waiting;  // guarded by `lock`

  uint32_t *sequence;  // next(): items in the order of their content
  uint32_t sequence_count, sequence_at;
  bool has_sequence;
};

static inline struct archive_state *state_of(const struct store *store) { return store->state; }

// store/archive_pass.c
int32_t archive_open(struct store *store, const struct place *place, struct fault *fault);
void archive_close(struct store *store);
// The index is there after 0; any failure of the pass is the failure of all.
int32_t archive_wait(struct archive_state *state, struct fault *fault);
// A source over the inner file, with a reader of its own; CHANGED when it is not what was read.
int32_t archive_source_open(struct archive_state *state, struct archive_source **out,
                            struct fault *fault);
void archive_position_free(struct position *position);
