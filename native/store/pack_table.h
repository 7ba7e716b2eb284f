// pack_table: rows of an index that is being made, column by column, and their Arrow stream.
#pragma once
#include "base/hash.h"
#include "store/pack_arrow_write.h"

enum column : uint8_t {
  COLUMN_PATH,
  COLUMN_NUMBER,
  COLUMN_AT,
  COLUMN_COMPRESSED,
  COLUMN_SIZE,
  COLUMN_BLOB_AT,
  COLUMN_BLOB_SIZE,
  COLUMN_CHECKSUM,
  COLUMN_MODE,
  COLUMN_MTIME,
  COLUMN_GROUP_AT,
  COLUMN_GROUP_SIZE,
  COLUMNS,
};

// A column besides those of every pack. It has a value in some rows.
struct extra {
  const char *name;
  enum arrow_type type;  // UTF8, or integers of up to 32 bits
  struct arrow_out data, offsets, validity;
  uint64_t nulls;
  bool is_full;  // a text was left out that there is no offset for
};

struct table {
  struct arrow_out column[COLUMNS], offsets;
  struct extra *extras;  // stand where the original has them: after its own, before ours
  size_t extras_count;
  uint64_t rows;
  uint32_t checksum;  // bytes kept of each; HASH_BYTES but in copies
  bool has_groups;    // the last two columns are there
};

// A chunk of a file, and where it is stored.
struct table_row {
  span path;
  uint64_t number, at, size;
  uint64_t blob_at, blob_size;
  uint64_t group_at, group_size;  // in what the blob holds, and all of that
  const uint8_t *checksum;        // HASH_BYTES, of what the blob holds
  int64_t mtime_ns;
  uint32_t mode;
  bool is_frame;
};

void table_begin(struct table *table, uint32_t checksum, bool has_groups);
// Room for so many extra columns, whose name and type the caller fills. False: no memory.
[[nodiscard]] bool table_widen(struct table *table, size_t count);
// The value of the row that is added next, for each extra column; nullptr: none.
void table_number(struct table *table, size_t extra, const uint32_t *value);
void table_text(struct table *table, size_t extra, const span *value);
void table_free(struct table *table);
// No rows again; what they took is kept for others.
void table_clear(struct table *table);
void table_add(struct table *table, const struct table_row *row);
bool table_failed(const struct table *table);  // out of memory
bool table_full(const struct table *table);    // texts of a column are longer than offsets go
// Appends the stream.
void table_write(struct arrow_out *out, const struct table *table,
                 const struct arrow_pair *metadata, size_t pairs);
