#include "store/pack_arrow_write.h"

#include <stdlib.h>

// As the original does: prefix with metadata, and every buffer, are multiples of this.
constexpr size_t ALIGNMENT = 64;
static const uint8_t zeros[ALIGNMENT];

void arrow_out_free(struct arrow_out *out) {
  free(out->at);
  *out = (struct arrow_out){};
}

static bool grow(struct arrow_out *out, size_t more) {
  if (out->failed) return false;
  if (out->capacity - out->size >= more) return true;
  size_t capacity = out->capacity ? out->capacity : 4096;
  while (capacity - out->size < more) capacity *= 2;
  uint8_t *at = realloc(out->at, capacity);
  if (!at) {
    out->failed = true;
    return false;
  }
  out->at = at;
  out->capacity = capacity;
  return true;
}

void arrow_put(struct arrow_out *out, const void *bytes, size_t size) {
  if (size == 0 || !grow(out, size)) return;
  memcpy(out->at + out->size, bytes, size);
  out->size += size;
}

// ── FlatBuffers, front to back: what is referred to comes after what refers to it ──

// Zeros until the position after `begin` is `rest` above a multiple of `to`.
static void align(struct arrow_out *out, size_t begin, size_t to, size_t rest) {
  while (!out->failed && (out->size - begin) % to != rest) arrow_put(out, zeros, 1);
}

static void set16(struct arrow_out *out, size_t at, size_t value) {
  uint16_t small = (uint16_t)value;
  if (!out->failed) memcpy(out->at + at, &small, sizeof small);
}

static void set32(struct arrow_out *out, size_t at, size_t value) {
  uint32_t small = (uint32_t)value;
  if (!out->failed) memcpy(out->at + at, &small, sizeof small);
}

static void set64(struct arrow_out *out, size_t at, uint64_t value) {
  if (!out->failed) memcpy(out->at + at, &value, sizeof value);
}

static void put32(struct arrow_out *out, size_t value) {
  uint32_t small = (uint32_t)value;
  arrow_put(out, &small, sizeof small);
}

static void put64(struct arrow_out *out, uint64_t value) { arrow_put(out, &value, sizeof value); }

// The reference at `field` leads to what comes now.
static void refer(struct arrow_out *out, size_t field) { set32(out, field, out->size - field); }

constexpr size_t FIELDS_MAX = 8;

// A table with fields of these widths (0: absent), all zero. `fields` gets where each is.
static void table(struct arrow_out *out, size_t begin, size_t from, const uint8_t *widths,
                  size_t count, size_t fields[FIELDS_MAX]) {
  size_t offsets[FIELDS_MAX] = {}, size = 4;
  for (size_t i = 0; i < count; i++) {
    if (!widths[i]) continue;
    size = (size + widths[i] - 1) / widths[i] * widths[i];
    offsets[i] = size;
    size += widths[i];
  }
  size_t vtable_size = 4 + 2 * count;
  align(out, begin, 8, (8 - vtable_size % 8) % 8);
  size_t vtable = out->size, at = vtable + vtable_size;
  if (!grow(out, vtable_size + size)) return;
  memset(out->at + vtable, 0, vtable_size + size);
  out->size += vtable_size + size;
  set16(out, vtable, vtable_size);
  set16(out, vtable + 2, size);
  for (size_t i = 0; i < count; i++) {
    set16(out, vtable + 4 + 2 * i, offsets[i]);
    fields[i] = at + offsets[i];
  }
  set32(out, at, vtable_size);
  if (from) set32(out, from, at - from);
}

static void put_text(struct arrow_out *out, size_t begin, size_t from, span text) {
  align(out, begin, 4, 0);
  refer(out, from);
  put32(out, text.size);
  arrow_put(out, text.at, text.size);
  arrow_put(out, zeros, 1);
}

// A vector of references, empty for now. Returns where the first one is.
static size_t put_references(struct arrow_out *out, size_t begin, size_t from, size_t count) {
  align(out, begin, 4, 0);
  refer(out, from);
  put32(out, count);
  size_t first = out->size;
  for (size_t i = 0; i < count; i++) put32(out, 0);
  return first;
}

// ── Messages ──

constexpr uint8_t HEADER_SCHEMA = 1, HEADER_BATCH = 3;

// Begins a message, whose metadata begins at *begin; `header` gets the reference to fill.
static size_t message(struct arrow_out *out, uint8_t type, uint64_t body, size_t *header) {
  size_t prefix = out->size;
  put32(out, UINT32_MAX);
  put32(out, 0);
  size_t begin = out->size, fields[FIELDS_MAX] = {};
  put32(out, 0);
  static const uint8_t widths[] = {2, 1, 4, 8};
  table(out, begin, begin, widths, 4, fields);
  if (out->failed) return prefix;
  set16(out, fields[0], 4);  // metadata version 5
  out->at[fields[1]] = type;
  set64(out, fields[3], body);
  *header = fields[2];
  return prefix;
}

static void message_end(struct arrow_out *out, size_t prefix) {
  align(out, prefix, ALIGNMENT, 0);
  set32(out, prefix + 4, out->size - prefix - 8);
}

struct shape {
  uint8_t type;  // as FlatBuffers numbers it
  uint8_t bits;  // of integers
  bool is_signed;
};

static struct shape shape_of(enum arrow_type type) {
  switch (type) {
    case ARROW_INT8:
      return (struct shape){2, 8, true};
    case ARROW_INT16:
      return (struct shape){2, 16, true};
    case ARROW_INT32:
      return (struct shape){2, 32, true};
    case ARROW_INT64:
      return (struct shape){2, 64, true};
    case ARROW_UINT8:
      return (struct shape){2, 8, false};
    case ARROW_UINT16:
      return (struct shape){2, 16, false};
    case ARROW_UINT32:
      return (struct shape){2, 32, false};
    case ARROW_UINT64:
      return (struct shape){2, 64, false};
    case ARROW_BOOL:
      return (struct shape){.type = 6};
    case ARROW_UTF8:
      return (struct shape){.type = 5};
    default:
      return (struct shape){.type = 15};
  }
}

static void put_field(struct arrow_out *out, size_t begin, size_t from,
                      const struct arrow_field *field) {
  static const uint8_t widths[] = {4, 1, 1, 4, 0, 4};  // name, nullable, type, its table, children
  struct shape shape = shape_of(field->type);
  size_t fields[FIELDS_MAX] = {}, inner[FIELDS_MAX] = {};
  table(out, begin, from, widths, 6, fields);
  if (out->failed) return;
  out->at[fields[2]] = shape.type;
  out->at[fields[1]] = field->is_nullable;
  put_text(out, begin, fields[0], span_of(field->name));
  static const uint8_t integer[] = {4, 1}, bytes[] = {4};
  size_t count = shape.bits ? 2 : field->type == ARROW_BYTES ? 1 : 0;
  table(out, begin, fields[3], shape.bits ? integer : bytes, count, inner);
  if (out->failed) return;
  if (count) set32(out, inner[0], shape.bits ? shape.bits : field->width);
  if (shape.bits) out->at[inner[1]] = shape.is_signed;
  put_references(out, begin, fields[5], 0);
}

static void put_schema(struct arrow_out *out, const struct arrow_field *fields, size_t count,
                       const struct arrow_pair *metadata, size_t pairs) {
  size_t header = 0, prefix = message(out, HEADER_SCHEMA, 0, &header), begin = prefix + 8;
  static const uint8_t widths[] = {0, 4, 4}, pair_widths[] = {4, 4};
  size_t schema[FIELDS_MAX] = {};
  table(out, begin, header, widths, pairs ? 3 : 2, schema);
  if (out->failed) return;
  size_t first = put_references(out, begin, schema[1], count);
  for (size_t i = 0; i < count; i++) put_field(out, begin, first + 4 * i, &fields[i]);
  if (pairs && !out->failed) {
    first = put_references(out, begin, schema[2], pairs);
    for (size_t i = 0; i < pairs; i++) {
      size_t pair[FIELDS_MAX] = {};
      table(out, begin, first + 4 * i, pair_widths, 2, pair);
      if (out->failed) return;
      put_text(out, begin, pair[0], span_of(metadata[i].key));
      put_text(out, begin, pair[1], metadata[i].value);
    }
  }
  message_end(out, prefix);
}

static size_t padded(size_t size) { return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

static void put_batch(struct arrow_out *out, const struct arrow_field *fields, size_t count,
                      uint64_t rows) {
  size_t body = 0, buffers = 0;
  for (size_t i = 0; i < count; i++) {
    if (fields[i].nulls) body += padded(fields[i].validity.size);
    body += padded(fields[i].offsets.size) + padded(fields[i].data.size);
    buffers += fields[i].type == ARROW_UTF8 ? 3 : 2;
  }
  size_t header = 0, prefix = message(out, HEADER_BATCH, body, &header), begin = prefix + 8;
  static const uint8_t widths[] = {8, 4, 4};
  size_t batch[FIELDS_MAX] = {};
  table(out, begin, header, widths, 3, batch);
  if (out->failed) return;
  set64(out, batch[0], rows);
  align(out, begin, 8, 4);
  refer(out, batch[1]);
  put32(out, count);
  for (size_t i = 0; i < count; i++) {
    put64(out, rows);
    put64(out, fields[i].nulls);
  }
  align(out, begin, 8, 4);
  refer(out, batch[2]);
  put32(out, buffers);
  size_t at = 0;
  for (size_t i = 0; i < count; i++) {
    const struct arrow_field *field = &fields[i];
    size_t validity = field->nulls ? field->validity.size : 0;  // none where nothing is null
    put64(out, at);
    put64(out, validity);
    at += padded(validity);
    if (field->type == ARROW_UTF8) {
      put64(out, at);
      put64(out, field->offsets.size);
      at += padded(field->offsets.size);
    }
    put64(out, at);
    put64(out, field->data.size);
    at += padded(field->data.size);
  }
  message_end(out, prefix);
  for (size_t i = 0; i < count; i++) {
    span parts[3] = {fields[i].nulls ? fields[i].validity : (span){}, fields[i].offsets,
                     fields[i].data};
    for (size_t part = 0; part < 3; part++) {
      arrow_put(out, parts[part].at, parts[part].size);
      arrow_put(out, zeros, padded(parts[part].size) - parts[part].size);
    }
  }
}

void arrow_write(struct arrow_out *out, const struct arrow_field *fields, size_t count,
                 uint64_t rows, const struct arrow_pair *metadata, size_t pairs) {
  put_schema(out, fields, count, metadata, pairs);
  put_batch(out, fields, count, rows);
  put32(out, UINT32_MAX);
  put32(out, 0);
}
