// pack_arrow_write: makes one Arrow IPC stream of flat columns: a schema, one batch, the end. The
// same columns give the same bytes.
#pragma once
#include "base/span.h"
#include "store/pack_arrow.h"

struct arrow_out {  // a growing buffer
  uint8_t *at;
  size_t size, capacity;
  bool failed;  // out of memory: nothing more is added
};
void arrow_out_free(struct arrow_out *out);
void arrow_put(struct arrow_out *out, const void *bytes, size_t size);

struct arrow_field {
  const char *name;
  enum arrow_type type;
  uint32_t width;  // of BYTES
  span offsets;    // UTF8: count + 1 of i32
  span data;
  bool is_nullable;
  span validity;  // a bit for each row; of a nullable column without nulls it may be empty
  uint64_t nulls;
};
struct arrow_pair {
  const char *key;
  span value;
};
// Appends the stream.
void arrow_write(struct arrow_out *out, const struct arrow_field *fields, size_t count,
                 uint64_t rows, const struct arrow_pair *metadata, size_t pairs);
