#include "store/pack_arrow.h"

// FlatBuffers' numbers of Arrow's types, of the messages, and of the fields that are read.
enum flat_type : uint8_t {
  TYPE_NULL = 1,
  TYPE_INT = 2,
  TYPE_FLOAT = 3,
  TYPE_BINARY = 4,
  TYPE_UTF8 = 5,
  TYPE_BOOL = 6,
  TYPE_DECIMAL = 7,
  TYPE_DATE = 8,
  TYPE_TIME = 9,
  TYPE_TIMESTAMP = 10,
  TYPE_INTERVAL = 11,
  TYPE_FIXED = 15,
  TYPE_DURATION = 18,
  TYPE_LARGE_BINARY = 19,
  TYPE_LARGE_UTF8 = 20,
};
enum header : uint8_t { HEADER_SCHEMA = 1, HEADER_BATCH = 3 };
enum field_number : uint16_t {
  MESSAGE_VERSION = 0,
  MESSAGE_TYPE = 1,
  MESSAGE_HEADER = 2,
  MESSAGE_BODY = 3,
  SCHEMA_ENDIANNESS = 0,
  SCHEMA_FIELDS = 1,
  SCHEMA_METADATA = 2,
  FIELD_NAME = 0,
  FIELD_TYPE_TYPE = 2,
  FIELD_TYPE = 3,
  FIELD_DICTIONARY = 4,
  INT_WIDTH = 0,
  INT_SIGNED = 1,
  FIXED_WIDTH = 0,
  BATCH_LENGTH = 0,
  BATCH_NODES = 1,
  BATCH_BUFFERS = 2,
  BATCH_COMPRESSION = 3,
};

constexpr uint32_t VERSION_5 = 4;
constexpr uint32_t CONTINUES = 0xffffffff;

static int32_t corrupt(struct fault *fault, const char *what) {
  return fault_set(fault, COPSE_E_CORRUPT, "the index of the pack is damaged: %s", what);
}

static int32_t unsupported(struct fault *fault, const char *what) {
  return fault_set(fault, COPSE_E_UNSUPPORTED, "the index of the pack has %s, which is not read",
                   what);
}

// ── FlatBuffers ──
// A position of 0 means "nothing there": no table, vector or string can begin at 0, where the
// root's offset is.

static uint16_t load16(span in, size_t at) {
  uint16_t value;
  memcpy(&value, in.at + at, sizeof value);
  return value;
}

static uint32_t load32(span in, size_t at) {
  uint32_t value;
  memcpy(&value, in.at + at, sizeof value);
  return value;
}

static uint64_t load64(span in, size_t at) {
  uint64_t value;
  memcpy(&value, in.at + at, sizeof value);
  return value;
}

static bool fits(span in, uint64_t at, uint64_t size) {
  return at <= in.size && size <= in.size - at;
}

// Where the reference at `at` leads: always onward, so that no circle can be followed.
static size_t follow(span in, size_t at) {
  if (!fits(in, at, 4)) return 0;
  uint64_t to = (uint64_t)at + load32(in, at);
  return to > at && fits(in, to, 4) ? (size_t)to : 0;
}

// Where the field's value is in the table; 0: it is absent, or the table is damaged.
static size_t field(span in, size_t table, uint16_t number, size_t width) {
  if (table == 0 || !fits(in, table, 4)) return 0;
  int64_t vtable = (int64_t)table - (int32_t)load32(in, table);
  if (vtable < 0 || !fits(in, (uint64_t)vtable, 4)) return 0;
  size_t at = (size_t)vtable;
  uint16_t vtable_size = load16(in, at), table_size = load16(in, at + 2);
  size_t slot = 4 + 2 * (size_t)number;
  if (!fits(in, at, vtable_size) || !fits(in, table, table_size)) return 0;
  if (slot + 2 > vtable_size) return 0;
  size_t offset = load16(in, at + slot);
  return offset >= 4 && offset + width <= table_size ? table + offset : 0;
}

static size_t field_reference(span in, size_t table, uint16_t number) {
  size_t at = field(in, table, number, 4);
  return at ? follow(in, at) : 0;
}

static uint64_t field_number(span in, size_t table, uint16_t number, size_t width) {
  size_t at = field(in, table, number, width);
  if (!at) return 0;
  if (width == 1) return in.at[at];
  if (width == 2) return load16(in, at);
  return width == 4 ? load32(in, at) : load64(in, at);
}

// A vector of `count` things of `width` bytes: where the first one is; 0: it does not fit.
static size_t vector(span in, size_t at, size_t width, uint32_t *count) {
  if (!at) return 0;
  *count = load32(in, at);
  return fits(in, at + 4, (uint64_t)*count * width) ? at + 4 : 0;
}

static bool text(span in, size_t at, span *out) {
  uint32_t size;
  size_t first = vector(in, at, 1, &size);
  if (!first) return false;
  *out = (span){in.at + first, size};
  return true;
}

// ── Messages ──

struct message {
  span flat, body;
  size_t header;
  enum header type;
};

// Takes the next message. 1: one; 0: the end of the stream.
static int32_t message_next(span *rest, struct message *out, struct fault *fault) {
  if (rest->size < 8 || load32(*rest, 0) != CONTINUES)
    return corrupt(fault, "a message does not begin where it should");
  uint32_t size = load32(*rest, 4);
  *rest = (span){rest->at + 8, rest->size - 8};
  if (size == 0) return 0;
  if (size > rest->size || size % 8 != 0)
    return corrupt(fault, "a message is longer than it can be");
  out->flat = (span){rest->at, size};
  *rest = (span){rest->at + size, rest->size - size};
  size_t table = follow(out->flat, 0);
  if (!table) return corrupt(fault, "a message without a table");
  if (field_number(out->flat, table, MESSAGE_VERSION, 2) != VERSION_5)
    return unsupported(fault, "another metadata version than V5");
  out->type = (enum header)field_number(out->flat, table, MESSAGE_TYPE, 1);
  out->header = field_reference(out->flat, table, MESSAGE_HEADER);
  uint64_t body = field_number(out->flat, table, MESSAGE_BODY, 8);
  if (!out->header) return corrupt(fault, "a message without a header");
  if (body > rest->size) return corrupt(fault, "a body is longer than what is left");
  out->body = (span){rest->at, (size_t)body};
  *rest = (span){rest->at + body, rest->size - (size_t)body};
  return 1;
}

int64_t arrow_size(span bytes, struct fault *fault) {
  span rest = bytes;
  for (;;) {
    struct message message;
    int32_t code = message_next(&rest, &message, fault);
    if (code < 0) return code;
    if (code == 0) return (int64_t)(bytes.size - rest.size);
  }
}

// ── The schema ──

static enum arrow_type integer(uint64_t bits, bool is_signed) {
  switch (bits) {
    case 8:
      return is_signed ? ARROW_INT8 : ARROW_UINT8;
    case 16:
      return is_signed ? ARROW_INT16 : ARROW_UINT16;
    case 32:
      return is_signed ? ARROW_INT32 : ARROW_UINT32;
    case 64:
      return is_signed ? ARROW_INT64 : ARROW_UINT64;
    default:
      return ARROW_OTHER;
  }
}

static int32_t read_field(span in, size_t table, struct arrow_column *out, struct fault *fault) {
  if (!text(in, field_reference(in, table, FIELD_NAME), &out->name))
    return corrupt(fault, "a column without a name");
  if (field(in, table, FIELD_DICTIONARY, 4)) return unsupported(fault, "a dictionary");
  size_t type = field_reference(in, table, FIELD_TYPE);
  if (!type) return corrupt(fault, "a column without a type");
  out->buffers = 2;
  switch (field_number(in, table, FIELD_TYPE_TYPE, 1)) {
    case TYPE_NULL:
      out->buffers = 0;
      return 0;
    case TYPE_INT:
      out->type =
          integer(field_number(in, type, INT_WIDTH, 4), field_number(in, type, INT_SIGNED, 1) != 0);
      return 0;
    case TYPE_BOOL:
      out->type = ARROW_BOOL;
      return 0;
    case TYPE_UTF8:
      out->type = ARROW_UTF8;
      out->buffers = 3;
      return 0;
    case TYPE_FIXED:
      out->type = ARROW_BYTES;
      out->width = (uint32_t)field_number(in, type, FIXED_WIDTH, 4);
      return 0;
    case TYPE_BINARY:
    case TYPE_LARGE_BINARY:
    case TYPE_LARGE_UTF8:
      out->buffers = 3;
      return 0;
    case TYPE_FLOAT:
    case TYPE_DECIMAL:
    case TYPE_DATE:
    case TYPE_TIME:
    case TYPE_TIMESTAMP:
    case TYPE_INTERVAL:
    case TYPE_DURATION:
      return 0;
    default:
      return unsupported(fault, "a column of columns");
  }
}

static int32_t read_schema(const struct message *message, struct arrow *out, struct fault *fault) {
  span in = message->flat;
  if (message->type != HEADER_SCHEMA) return corrupt(fault, "it does not begin with a schema");
  if (message->body.size) return corrupt(fault, "a schema with a body");
  if (field_number(in, message->header, SCHEMA_ENDIANNESS, 2) != 0)
    return unsupported(fault, "big-endian numbers");
  uint32_t count;
  size_t first = vector(in, field_reference(in, message->header, SCHEMA_FIELDS), 4, &count);
  if (!first) return corrupt(fault, "a schema without columns");
  if (count > ARROW_COLUMNS)
    return fault_set(fault, COPSE_E_LIMIT, "the index of the pack has more than %zu columns",
                     ARROW_COLUMNS);
  for (; out->columns < count; out->columns++) {
    size_t table = follow(in, first + 4 * out->columns);
    if (!table) return corrupt(fault, "a column lies outside of the schema");
    int32_t code = read_field(in, table, &out->column[out->columns], fault);
    if (code < 0) return code;
  }
  out->schema = in;
  out->metadata = field_reference(in, message->header, SCHEMA_METADATA);
  return 0;
}

span arrow_metadata(const struct arrow *arrow, const char *key) {
  uint32_t count;
  size_t first = vector(arrow->schema, arrow->metadata, 4, &count);
  for (uint32_t i = 0; first && i < count; i++) {
    size_t pair = follow(arrow->schema, first + 4 * (size_t)i);
    span name, value;
    if (!text(arrow->schema, field_reference(arrow->schema, pair, 0), &name)) continue;
    if (!span_equal(name, span_of(key))) continue;
    if (text(arrow->schema, field_reference(arrow->schema, pair, 1), &value)) return value;
  }
  return (span){};
}

// ── The batch ──

bool utf8_is_valid(span text) {
  const uint8_t *at = text.at, *end = text.at + text.size;
  while (at < end) {
    uint8_t lead = *at++;
    if (lead < 0x80) continue;
    int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    if (lead < 0xc2 || lead > 0xf4 || end - at < more) return false;
    // The second byte's bounds leave out what is too long, surrogates, and what is above U+10FFFF.
    uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (*at < low || *at > high) return false;
    for (at++; --more > 0; at++)
      if ((*at & 0xc0) != 0x80) return false;
  }
  return true;
}

static uint64_t width_of(const struct arrow_column *column) {
  switch (column->type) {
    case ARROW_INT8:
    case ARROW_UINT8:
      return 1;
    case ARROW_INT16:
    case ARROW_UINT16:
      return 2;
    case ARROW_INT32:
    case ARROW_UINT32:
      return 4;
    case ARROW_INT64:
    case ARROW_UINT64:
      return 8;
    case ARROW_BYTES:
      return column->width;
    default:
      return 0;
  }
}

// Rows never exceed the bytes of the stream (each has at least one byte of a base column, or the
// caller finds no base column), so the products below do not overflow.
static int32_t check_column(struct arrow_column *column, uint64_t rows, struct fault *fault) {
  uint64_t bits = rows / 8 + (rows % 8 != 0);
  if (column->validity.size && column->validity.size < bits)
    return corrupt(fault, "a validity buffer is too short");
  if (column->type == ARROW_BOOL && column->data.size < bits)
    return corrupt(fault, "a column is too short");
  uint64_t width = width_of(column);
  if (width && column->data.size / width < rows) return corrupt(fault, "a column is too short");
  if (column->type != ARROW_UTF8) return 0;
  // No rows need no offsets at all.
  if (rows == 0) return 0;
  if (column->offsets.size / 4 < rows + 1) return corrupt(fault, "offsets of a text are missing");
  uint32_t last = load32(column->offsets, 0);
  uint32_t first = last;
  for (uint64_t row = 1; row <= rows; row++) {
    uint32_t next = load32(column->offsets, (size_t)row * 4);
    if (next < last || next > INT32_MAX) return corrupt(fault, "offsets of a text decrease");
    last = next;
  }
  if (last > column->data.size) return corrupt(fault, "a text ends outside of its column");
  if (!utf8_is_valid((span){column->data.at + first, last - first}))
    return corrupt(fault, "a text is not UTF-8");
  // A text must not begin inside of a character either.
  for (uint64_t row = 0; row < rows; row++) {
    span value = arrow_text(column, row);
    if (value.size && (value.at[0] & 0xc0) == 0x80) return corrupt(fault, "a text is not UTF-8");
  }
  return 0;
}

static int32_t read_batch(const struct message *message, struct arrow *out, struct fault *fault) {
  span in = message->flat;
  if (message->type != HEADER_BATCH)
    return unsupported(fault, "a message that is no batch of rows");
  if (field(in, message->header, BATCH_COMPRESSION, 4))
    return unsupported(fault, "a compressed body");
  out->rows = field_number(in, message->header, BATCH_LENGTH, 8);
  if (out->rows > message->body.size) return corrupt(fault, "it says more rows than it has");
  uint32_t nodes, buffers, used = 0;
  size_t node = vector(in, field_reference(in, message->header, BATCH_NODES), 16, &nodes);
  size_t buffer = vector(in, field_reference(in, message->header, BATCH_BUFFERS), 16, &buffers);
  if (!node || !buffer || nodes != out->columns) return corrupt(fault, "columns are missing");
  for (size_t i = 0; i < out->columns; i++) {
    struct arrow_column *column = &out->column[i];
    if (load64(in, node + 16 * i) != out->rows) return corrupt(fault, "columns of unequal length");
    span parts[3] = {};
    for (uint8_t part = 0; part < column->buffers; part++, used++) {
      if (used >= buffers) return corrupt(fault, "buffers are missing");
      uint64_t at = load64(in, buffer + 16 * (size_t)used);
      uint64_t size = load64(in, buffer + 16 * (size_t)used + 8);
      if (!fits(message->body, at, size))
        return corrupt(fault, "a buffer lies outside of its body");
      parts[part] = (span){message->body.at + at, (size_t)size};
    }
    column->validity = parts[0];
    if (column->type == ARROW_UTF8) column->offsets = parts[1];
    column->data = column->type == ARROW_UTF8 ? parts[2] : parts[1];
    int32_t code = check_column(column, out->rows, fault);
    if (code < 0) return code;
  }
  if (used != buffers) return corrupt(fault, "there are more buffers than columns");
  return 0;
}

int32_t arrow_read(span stream, struct arrow *out, struct fault *fault) {
  *out = (struct arrow){};
  struct message message;
  span rest = stream;
  int32_t code = message_next(&rest, &message, fault);
  if (code == 0) return corrupt(fault, "it ends before its schema");
  if (code == 1) code = read_schema(&message, out, fault);
  if (code < 0) return code;
  code = message_next(&rest, &message, fault);
  if (code == 0) return corrupt(fault, "it ends before its rows");
  if (code == 1) code = read_batch(&message, out, fault);
  if (code < 0) return code;
  code = message_next(&rest, &message, fault);
  if (code < 0) return code;
  if (code == 1) return unsupported(fault, "several batches of rows");
  if (rest.size) return corrupt(fault, "it ends before its last byte");
  return 0;
}

// ── Values ──

bool arrow_is_null(const struct arrow_column *column, uint64_t row) {
  return column->validity.size && !(column->validity.at[row / 8] >> (row % 8) & 1);
}

static bool has_null(const struct arrow_column *column, uint64_t rows) {
  if (column->validity.size == 0) return false;
  for (uint64_t row = 0; row < rows; row++)
    if (arrow_is_null(column, row)) return true;
  return false;
}

const struct arrow_column *arrow_optional(const struct arrow *arrow, const char *name,
                                          enum arrow_type type) {
  for (size_t i = 0; i < arrow->columns; i++) {
    const struct arrow_column *column = &arrow->column[i];
    if (column->type == type && span_equal(column->name, span_of(name)))
      return has_null(column, arrow->rows) ? nullptr : column;
  }
  return nullptr;
}

int32_t arrow_find(const struct arrow *arrow, const char *name, enum arrow_type type,
                   uint32_t width, const struct arrow_column **out, struct fault *fault) {
  *out = nullptr;
  for (size_t i = 0; i < arrow->columns; i++) {
    const struct arrow_column *column = &arrow->column[i];
    if (!span_equal(column->name, span_of(name))) continue;
    if (*out)
      return fault_set(fault, COPSE_E_CORRUPT, "the index of the pack has two columns %s", name);
    *out = column;
  }
  if (!*out)
    return fault_set(fault, COPSE_E_CORRUPT, "the index of the pack has no column %s", name);
  if ((*out)->type != type || (type == ARROW_BYTES && (*out)->width != width))
    return fault_set(fault, COPSE_E_CORRUPT, "the column %s of the pack's index is of another type",
                     name);
  if (has_null(*out, arrow->rows))
    return fault_set(fault, COPSE_E_CORRUPT, "the column %s of the pack's index has a null", name);
  return 0;
}

uint64_t arrow_number(const struct arrow_column *column, uint64_t row) {
  size_t width = (size_t)width_of(column), at = (size_t)row * width;
  switch (column->type) {
    case ARROW_INT8:
      return (uint64_t)(int64_t)(int8_t)column->data.at[at];
    case ARROW_UINT8:
      return column->data.at[at];
    case ARROW_INT16:
      return (uint64_t)(int64_t)(int16_t)load16(column->data, at);
    case ARROW_UINT16:
      return load16(column->data, at);
    case ARROW_INT32:
      return (uint64_t)(int64_t)(int32_t)load32(column->data, at);
    case ARROW_UINT32:
      return load32(column->data, at);
    case ARROW_INT64:
    case ARROW_UINT64:
      return load64(column->data, at);
    default:
      return 0;
  }
}

bool arrow_bool(const struct arrow_column *column, uint64_t row) {
  return column->data.at[row / 8] >> (row % 8) & 1;
}

span arrow_text(const struct arrow_column *column, uint64_t row) {
  uint32_t begin = load32(column->offsets, (size_t)row * 4);
  uint32_t end = load32(column->offsets, (size_t)row * 4 + 4);
  return (span){column->data.at + begin, end - begin};
}

const uint8_t *arrow_bytes(const struct arrow_column *column, uint64_t row) {
  return column->data.at + (size_t)row * column->width;
}
