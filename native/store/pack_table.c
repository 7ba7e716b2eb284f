#include "store/pack_table.h"

static void put_number(struct arrow_out *out, uint64_t value, size_t size) {
  arrow_put(out, &value, size);
}

void table_begin(struct table *table, uint32_t checksum, bool has_groups) {
  *table = (struct table){.checksum = checksum, .has_groups = has_groups};
  put_number(&table->offsets, 0, 4);
}

void table_free(struct table *table) {
  for (size_t i = 0; i < COLUMNS; i++) arrow_out_free(&table->column[i]);
  arrow_out_free(&table->offsets);
}

void table_clear(struct table *table) {
  for (size_t i = 0; i < COLUMNS; i++) table->column[i].size = 0;
  table->offsets.size = 4;
  table->rows = 0;
}

void table_add(struct table *table, const struct table_row *row) {
  struct arrow_out *column = table->column;
  arrow_put(&column[COLUMN_PATH], row->path.at, row->path.size);
  put_number(&table->offsets, column[COLUMN_PATH].size, 4);
  put_number(&column[COLUMN_NUMBER], row->number, 4);
  put_number(&column[COLUMN_AT], row->at, 8);
  struct arrow_out *bits = &column[COLUMN_COMPRESSED];
  if (table->rows % 8 == 0) put_number(bits, 0, 1);
  if (row->is_frame && !bits->failed)
    bits->at[table->rows / 8] |= (uint8_t)(1u << (table->rows % 8));
  put_number(&column[COLUMN_SIZE], row->size, 8);
  put_number(&column[COLUMN_BLOB_AT], row->blob_at, 8);
  put_number(&column[COLUMN_BLOB_SIZE], row->blob_size, 8);
  arrow_put(&column[COLUMN_CHECKSUM], row->checksum, table->checksum);
  put_number(&column[COLUMN_MODE], row->mode, 4);
  put_number(&column[COLUMN_MTIME], (uint64_t)row->mtime_ns, 8);
  if (table->has_groups) {
    put_number(&column[COLUMN_GROUP_AT], row->group_at, 8);
    put_number(&column[COLUMN_GROUP_SIZE], row->group_size, 8);
  }
  table->rows++;
}

bool table_failed(const struct table *table) {
  bool failed = table->offsets.failed;
  for (size_t i = 0; i < COLUMNS; i++) failed |= table->column[i].failed;
  return failed;
}

static span span_in(const struct arrow_out *out) { return (span){out->at, out->size}; }

void table_write(struct arrow_out *out, const struct table *table,
                 const struct arrow_pair *metadata, size_t pairs) {
  const struct arrow_out *column = table->column;
  const struct arrow_field fields[COLUMNS] = {
      {"relative_path", ARROW_UTF8, 0, span_in(&table->offsets), span_in(&column[COLUMN_PATH])},
      {"chunk_seq", ARROW_UINT32, 0, {}, span_in(&column[COLUMN_NUMBER])},
      {"fdata_offset", ARROW_UINT64, 0, {}, span_in(&column[COLUMN_AT])},
      {"compressed", ARROW_BOOL, 0, {}, span_in(&column[COLUMN_COMPRESSED])},
      {"uncompressed_size", ARROW_UINT64, 0, {}, span_in(&column[COLUMN_SIZE])},
      {"blob_offset", ARROW_UINT64, 0, {}, span_in(&column[COLUMN_BLOB_AT])},
      {"blob_size", ARROW_UINT64, 0, {}, span_in(&column[COLUMN_BLOB_SIZE])},
      {"checksum", ARROW_BYTES, table->checksum, {}, span_in(&column[COLUMN_CHECKSUM])},
      {"copse_mode", ARROW_UINT32, 0, {}, span_in(&column[COLUMN_MODE])},
      {"copse_mtime_ns", ARROW_INT64, 0, {}, span_in(&column[COLUMN_MTIME])},
      {"copse_group_at", ARROW_UINT64, 0, {}, span_in(&column[COLUMN_GROUP_AT])},
      {"copse_group_size", ARROW_UINT64, 0, {}, span_in(&column[COLUMN_GROUP_SIZE])},
  };
  size_t count = table->has_groups ? COLUMNS : COLUMN_GROUP_AT;
  arrow_write(out, fields, count, table->rows, metadata, pairs);
}
