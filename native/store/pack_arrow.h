// pack_arrow: reads one Arrow IPC stream of flat columns, out of bytes that anybody may have made.
// Nothing is assumed about where something lies: every offset, vtable, vector and buffer is checked
// against what it is in, and nothing that could lead in a circle is followed. What it does not know
// is UNSUPPORTED, what cannot be is CORRUPT.
#pragma once
#include "base/fault.h"
#include "base/span.h"

enum arrow_type : uint8_t {
  ARROW_OTHER,  // a type of fixed width or of bytes that nobody here looks into
  ARROW_INT8,
  ARROW_INT16,
  ARROW_INT32,
  ARROW_INT64,
  ARROW_UINT8,
  ARROW_UINT16,
  ARROW_UINT32,
  ARROW_UINT64,
  ARROW_BOOL,
  ARROW_UTF8,
  ARROW_BYTES,  // of `width` bytes each
};

struct arrow_column {
  span name;
  span validity;  // empty: nothing is null
  span offsets;   // UTF8
  span data;
  uint32_t width;
  enum arrow_type type;
  uint8_t buffers;
};

constexpr size_t ARROW_COLUMNS = 64;

struct arrow {
  size_t columns;
  uint64_t rows;
  span schema;      // the message that holds the metadata
  size_t metadata;  // where its vector is there; 0: none
  struct arrow_column column[ARROW_COLUMNS];
};

// The stream is a schema, one batch and the end, and nothing else. Spans point into it. UTF8
// columns are checked: offsets never decrease and end inside the data, and the text is UTF-8.
int32_t arrow_read(span stream, struct arrow *out, struct fault *fault);
// How many of the bytes the stream takes up. Negative: it does not end in them.
int64_t arrow_size(span bytes, struct fault *fault);

// The column of that name; CORRUPT when it is not there, is of another type or has a null. `width`
// is only looked at for BYTES.
int32_t arrow_find(const struct arrow *arrow, const char *name, enum arrow_type type,
                   uint32_t width, const struct arrow_column **out, struct fault *fault);
// nullptr: there is none of that name and type without nulls.
const struct arrow_column *arrow_optional(const struct arrow *arrow, const char *name,
                                          enum arrow_type type);
bool arrow_is_null(const struct arrow_column *column, uint64_t row);
uint64_t arrow_number(const struct arrow_column *column, uint64_t row);  // sign-extended
bool arrow_bool(const struct arrow_column *column, uint64_t row);
span arrow_text(const struct arrow_column *column, uint64_t row);
const uint8_t *arrow_bytes(const struct arrow_column *column, uint64_t row);
// A value of the schema's metadata; absent: {nullptr, 0}.
span arrow_metadata(const struct arrow *arrow, const char *key);
bool utf8_is_valid(span text);
