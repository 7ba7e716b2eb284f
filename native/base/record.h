// record: the request and detail format of copse.h, (key, kind, size, bytes)*. The reader trusts
// nothing: every length is checked against what is left before it is used.
#pragma once
#include "base/fault.h"
#include "base/span.h"

struct field {
  uint16_t key;
  uint8_t kind;     // enum copse_field
  uint64_t number;  // NUMBER
  span bytes;       // TEXT, RECORD
};

// Takes the next field off the front of `rest`. 1: a field; 0: the end; negative: ARGUMENT,
// malformed.
int32_t record_next(span *rest, struct field *field, struct fault *fault);
// Walks the whole record once, nested records too (depth at most 8), and says ARGUMENT where it is
// malformed.
int32_t record_check(span record, struct fault *fault);

// The rest is for records that record_check passed. The first field of that key and kind counts.
bool record_find(span record, uint16_t key, uint8_t kind, struct field *field);
uint64_t record_number(span record, uint16_t key, uint64_t otherwise);
span record_text(span record, uint16_t key);    // absent: {nullptr, 0}
span record_record(span record, uint16_t key);  // absent: {nullptr, 0}

// Writing into a buffer of fixed capacity. What does not fit is counted and not written, so `size`
// is always the full length: a caller whose buffer was too small asks again.
struct record_writer {
  uint8_t *at;
  size_t capacity, size;
};
void record_put_number(struct record_writer *writer, uint16_t key, uint64_t number);
void record_put_text(struct record_writer *writer, uint16_t key, span text);
