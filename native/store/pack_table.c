#include "store/pack_table.h"

#include <stdlib.h>

static void put_number(struct arrow_out *out, uint64_t value, size_t size) {
  arrow_put(out, &value, size);
}

void table_begin(struct table *table, uint32_t checksum, bool has_groups) {
  *table = (struct table){.checksum = checksum, .has_groups = has_groups};
  put_number(&table->offsets, 0, 4);
}

bool table_widen(struct table *table, size_t count) {
  table->extras = calloc(count ? count : 1, sizeof *table->extras);
  table->extras_count = table->extras ? count : 0;
  return table->extras;
}

static void put_valid(struct extra *extra, uint64_t row, bool is_there) {
  if (row % 8 == 0) put_number(&extra->validity, 0, 1);
  if (is_there && !extra->validity.failed)
    extra->validity.at[row / 8] |= (uint8_t)(1u << (row % 8));
  extra->nulls += !is_there;
}

static size_t width_of(enum arrow_type type) {
  if (type == ARROW_INT8 || type == ARROW_UINT8) return 1;
  return type == ARROW_INT16 || type == ARROW_UINT16 ? 2 : 4;
}

void table_number(struct table *table, size_t i, const uint32_t *value) {
  struct extra *extra = &table->extras[i];
  put_valid(extra, table->rows, value);
  put_number(&extra->data, value ? *value : 0, width_of(extra->type));
}

void table_text(struct table *table, size_t i, const span *value) {
  struct extra *extra = &table->extras[i];
  if (table->rows == 0) put_number(&extra->offsets, 0, 4);
  put_valid(extra, table->rows, value);
  if (value && value->size > INT32_MAX - extra->data.size)
    extra->is_full = true;
  else if (value)
    arrow_put(&extra->data, value->at, value->size);
  put_number(&extra->offsets, extra->data.size, 4);
}

void table_free(struct table *table) {
  for (size_t i = 0; i < table->extras_count; i++) {
    arrow_out_free(&table->extras[i].data);
    arrow_out_free(&table->extras[i].offsets);
    arrow_out_free(&table->extras[i].validity);
  }
  free(table->extras);
  table->extras = nullptr;
  table->extras_count = 0;
  for (size_t i = 0; i < COLUMNS; i++) arrow_out_free(&table->column[i]);
  arrow_out_free(&table->offsets);
}

void table_clear(struct table *table) {
  for (size_t i = 0; i < COLUMNS; i++) table->column[i].size = 0;
  table->offsets.size = 4;
  for (size_t i = 0; i < table->extras_count; i++) {
    struct extra *extra = &table->extras[i];
    extra->data.size = extra->offsets.size = extra->validity.size = 0;
    extra->nulls = 0;
  }
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
  for (size_t i = 0; i < table->extras_count; i++) {
    const struct extra *extra = &table->extras[i];
    failed |= extra->data.failed || extra->offsets.failed || extra->validity.failed;
  }
  return failed;
}

bool table_full(const struct table *table) {
  bool is_full = table->column[COLUMN_PATH].size > INT32_MAX;
  for (size_t i = 0; i < table->extras_count; i++) is_full |= table->extras[i].is_full;
  return is_full;
}

static span span_in(const struct arrow_out *out) { return (span){out->at, out->size}; }

static struct arrow_field field_of(const struct extra *extra) {
  static const uint8_t none[4] = {};
  struct arrow_field field = {.name = extra->name,
                              .type = extra->type,
                              .offsets = span_in(&extra->offsets),
                              .data = span_in(&extra->data),
                              .is_nullable = true,
                              .validity = span_in(&extra->validity),
                              .nulls = extra->nulls};
  // A text column without rows has one offset all the same.
  if (extra->type == ARROW_UTF8 && field.offsets.size == 0) field.offsets = (span){none, 4};
  return field;
}

void table_write(struct arrow_out *out, const struct table *table,
                 const struct arrow_pair *metadata, size_t pairs) {
  static const struct arrow_field shapes[COLUMNS] = {
      [COLUMN_PATH] = {.name = "relative_path", .type = ARROW_UTF8},
      [COLUMN_NUMBER] = {.name = "chunk_seq", .type = ARROW_UINT32},
      [COLUMN_AT] = {.name = "fdata_offset", .type = ARROW_UINT64},
      [COLUMN_COMPRESSED] = {.name = "compressed", .type = ARROW_BOOL},
      [COLUMN_SIZE] = {.name = "uncompressed_size", .type = ARROW_UINT64},
      [COLUMN_BLOB_AT] = {.name = "blob_offset", .type = ARROW_UINT64},
      [COLUMN_BLOB_SIZE] = {.name = "blob_size", .type = ARROW_UINT64},
      [COLUMN_CHECKSUM] = {.name = "checksum", .type = ARROW_BYTES},
      [COLUMN_MODE] = {.name = "copse_mode", .type = ARROW_UINT32},
      [COLUMN_MTIME] = {.name = "copse_mtime_ns", .type = ARROW_INT64},
      [COLUMN_GROUP_AT] = {.name = "copse_group_at", .type = ARROW_UINT64},
      [COLUMN_GROUP_SIZE] = {.name = "copse_group_size", .type = ARROW_UINT64},
  };
  struct arrow_field fields[ARROW_COLUMNS];
  size_t count = 0, own = table->has_groups ? COLUMNS : COLUMN_GROUP_AT;
  for (size_t i = 0; i < own; i++) {
    for (size_t n = 0; i == COLUMN_MODE && n < table->extras_count; n++)
      fields[count++] = field_of(&table->extras[n]);
    fields[count] = shapes[i];
    fields[count].data = span_in(&table->column[i]);
    if (i == COLUMN_PATH) fields[count].offsets = span_in(&table->offsets);
    if (i == COLUMN_CHECKSUM) fields[count].width = table->checksum;
    count++;
  }
  arrow_write(out, fields, count, table->rows, metadata, pairs);
}
