// archive_source: the bytes of an archive, as layers: the inner store's file at the bottom, and one
// layer over it for each compression that wraps it. Every layer proves what it gives: checksums and
// lengths are compared, and what follows the end is an error.
#pragma once
#include <stdatomic.h>
#include "base/fault.h"
#include "store/store.h"

// What an archive may cost; UINT64_MAX: no limit. Counted on real output.
struct archive_limits {
  uint64_t entries, bytes, ratio, depth, path, nested;
};
// A ratio means little before this much came out: a small file of zeros is no bomb.
constexpr uint64_t RATIO_FROM_BYTES = 16 << 20;

struct archive_source {
  // The next bytes; they stay until the next call. 0: the end, proved. Negative: the fault.
  int64_t (*read)(struct archive_source *, const uint8_t **block, struct fault *);
  void (*close)(struct archive_source *);  // this layer only
  struct archive_source *below;            // nullptr: the bottom
  uint64_t given;                          // bytes, without what was skipped
  bool at_end;
  // Bytes that were looked at before they are given.
  uint8_t *head;
  size_t head_size, head_capacity;
  bool head_given;
};

// The bottom: the inner store's file, with its own reader. `cancelled` is looked at between blocks.
struct archive_file {
  struct archive_source source;
  struct reader reader;
  struct task *task;
  const _Atomic bool *stop;
  uint64_t at, size;         // of the file; size is what it was measured to be, or UINT64_MAX
  bool size_found, is_lent;  // is_lent: the reader stays its owner's
  int64_t mtime_ns;
  uint8_t *buffer;
};
constexpr size_t SOURCE_BLOCK = 256 * 1024;

// Takes over the open reader, or uses it as long as it is open when `is_lent`. nullptr: out of
// memory, and the reader is still the caller's.
struct archive_source *source_file(struct reader *reader, const struct entry *measured,
                                   bool is_lent, struct task *task, const _Atomic bool *stop);
// Puts layers over `bottom` until what comes out is no compression that is known: *top. On failure
// everything is closed. At most `nested` layers.
int32_t source_layers(struct archive_source *bottom, uint64_t nested, struct archive_source **top,
                      struct fault *fault);
void source_close(struct archive_source *top);  // all layers; null is fine
// The next bytes, or 0 at the end.
int64_t source_read(struct archive_source *source, const uint8_t **block, struct fault *fault);
// At least `want` bytes of what source_read will give next, fewer only where it ends. Only before
// the first source_read. Negative: the fault.
int32_t source_peek(struct archive_source *source, size_t want, span *out, struct fault *fault);
struct archive_file *source_bottom(struct archive_source *top);

// store/archive_gzip.c, archive_xz.c, archive_filter.c: layers over `below`, which stays the
// caller's when they fail.
struct archive_source *gzip_layer(struct archive_source *below, struct fault *fault);
struct archive_source *xz_layer(struct archive_source *below, struct fault *fault);
// bzip2, zstd and lz4, which carry checksums of their own.
struct archive_source *filter_layer(struct archive_source *below, int filter, struct fault *fault);
const char *source_version(void);  // of libarchive: "3.6.2"
