// pack_rows: the rows of a pack's indexes as they are read, and the entries that they become.
#pragma once
#include "store/pack_arrow.h"
#include "store/pack_index.h"

// A row as it is sorted: by path, then by where it is in the file.
struct row {
  span path;
  struct pack_chunk chunk;
  uint32_t number, mode, kind, row;  // row: in its stream, whose kind it is
  int64_t mtime_ns;
};

struct rows {
  struct row *at;
  size_t count;
};

// Adds those of a stream, which must stay as long as the index. Blobs end at `end` or before it.
// `kind`: of all of them.
int32_t rows_read(struct rows *rows, const struct arrow *arrow, uint32_t checksum, uint64_t end,
                  uint32_t kind, struct fault *fault);
// The columns of a stream that say more of files than every pack does: they point into it.
int32_t rows_columns(struct pack_index *index, const struct arrow *arrow, struct pack_kind *out,
                     struct fault *fault);
// Of what kind those from `from` on are, which are all of one stream: by the columns of a copy that
// say so. Without them all are of the first kind, which is 0 and nowhere; `is_lost`: of an unknown
// one.
int32_t rows_kinds(struct rows *rows, size_t from, struct pack_index *index,
                   const struct arrow *arrow, bool is_lost, struct fault *fault);
// Sorts them, and leaves out files whose chunks do not fit each other.
void rows_keep_sound(struct rows *rows);
// Takes over where the dictionary is, from the metadata of a stream; `end`: as above.
int32_t rows_dictionary(struct pack_index *index, const struct arrow *arrow, uint64_t end,
                        struct fault *fault);
// Entries out of all rows, which are sorted, and of `count` records of an extension.
int32_t rows_build(struct pack_index *index, struct rows *rows, span records, uint32_t count,
                   struct fault *fault);
