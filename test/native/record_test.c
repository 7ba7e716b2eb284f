// record: what is written is read again; what is malformed is refused at any length.
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                              \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      exit(1);                                                        \
    }                                                                 \
  } while (0)

#include "base/record.h"

static struct field next(span *rest) {
  struct field field;
  struct fault fault;
  CHECK(record_next(rest, &field, &fault) == 1);
  return field;
}

// A record inside a record is written as text and marked.
static void put_record(struct record_writer *writer, uint16_t key, span record) {
  size_t at = writer->size;
  record_put_text(writer, key, record);
  if (writer->size <= writer->capacity) writer->at[at + 2] = COPSE_FIELD_RECORD;
}

static void round_trip(void) {
  uint8_t bytes[256], inner[64];
  struct record_writer in = {inner, sizeof inner, 0};
  record_put_number(&in, 9, 1);
  struct record_writer out = {bytes, sizeof bytes, 0};
  record_put_number(&out, 0x1234, 0x0102030405060708);
  record_put_text(&out, 2, SPAN("abc"));
  record_put_text(&out, 3, (span){});
  put_record(&out, 4, (span){inner, in.size});
  record_put_text(&out, 2, SPAN("second"));
  record_put_number(&out, 2, UINT64_MAX);
  static const uint8_t first[] = {0x34, 0x12, 1, 0, 8, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1};
  CHECK(memcmp(bytes, first, sizeof first) == 0);

  span record = {bytes, out.size}, rest = record;
  struct fault fault;
  struct field field;
  CHECK(record_check(record, &fault) == 0);
  CHECK(next(&rest).number == 0x0102030405060708);
  CHECK(span_equal(next(&rest).bytes, SPAN("abc")));
  CHECK(next(&rest).bytes.size == 0);
  CHECK(next(&rest).kind == COPSE_FIELD_RECORD);
  CHECK(span_equal(next(&rest).bytes, SPAN("second")));
  CHECK(next(&rest).number == UINT64_MAX);
  CHECK(record_next(&rest, &field, &fault) == 0);

  CHECK(record_number(record, 0x1234, 7) == 0x0102030405060708);
  CHECK(record_number(record, 2, 7) == UINT64_MAX);
  CHECK(record_number(record, 3, 7) == 7);
  CHECK(span_equal(record_text(record, 2), SPAN("abc")));
  CHECK(record_text(record, 3).at);
  CHECK(!record_text(record, 4).at);
  CHECK(record_number(record_record(record, 4), 9, 0) == 1);
  CHECK(!record_record(record, 2).at);
  CHECK(record_check((span){}, &fault) == 0);
}

static void a_short_buffer_still_counts(void) {
  uint8_t full[64];
  struct record_writer all = {full, sizeof full, 0};
  record_put_number(&all, 1, 5);
  record_put_text(&all, 2, SPAN("hello"));
  record_put_text(&all, 3, SPAN(""));
  for (size_t capacity = 0; capacity <= all.size; capacity++) {
    uint8_t *bytes = malloc(capacity ? capacity : 1);  // its exact size, for sanitizers
    CHECK(bytes);
    struct record_writer some = {bytes, capacity, 0};
    record_put_number(&some, 1, 5);
    record_put_text(&some, 2, SPAN("hello"));
    record_put_text(&some, 3, SPAN(""));
    CHECK(some.size == all.size);
    size_t whole = capacity < 16 ? 0 : capacity < 29 ? 16 : capacity < 37 ? 29 : 37;
    CHECK(memcmp(bytes, full, whole) == 0);
    free(bytes);
  }
  struct record_writer none = {};
  record_put_text(&none, 1, SPAN("x"));
  CHECK(none.size == 9);
}

static void refused(const uint8_t *bytes, size_t size) {
  uint8_t *copy = malloc(size);
  CHECK(copy);
  memcpy(copy, bytes, size);
  struct fault fault = {};
  CHECK(record_check((span){copy, size}, &fault) == COPSE_E_ARGUMENT);
  CHECK(fault.text[0]);
  struct field field;
  CHECK(!record_find((span){copy, size}, 77, COPSE_FIELD_TEXT, &field));
  free(copy);
}

static void malformed_ones_are_refused(void) {
  static const uint8_t good[] = {1, 0, 2, 0, 3, 0, 0, 0, 'a', 'b', 'c'};
  for (size_t size = 1; size < sizeof good; size++) refused(good, size);
  uint8_t bad[sizeof good];
  static const struct {
    size_t at;
    uint8_t value;
  } changes[] = {{2, 0},
                 {2, 4},
                 {2, 255},
                 {3, 1},
                 {4, 4},
                 {7, 255},
                 {4, 2},
                 {2, COPSE_FIELD_NUMBER},
                 {2, COPSE_FIELD_RECORD}};
  for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
    memcpy(bad, good, sizeof good);
    bad[changes[i].at] = changes[i].value;
    refused(bad, sizeof bad);
  }
}

static void nesting_is_bounded(void) {
  uint8_t bytes[2][256] = {};
  size_t size = 0;
  for (size_t depth = 1; depth < 12; depth++) {
    struct fault fault;
    int32_t code = record_check((span){bytes[depth % 2], size}, &fault);
    CHECK(depth <= 8 ? code == 0 : code == COPSE_E_ARGUMENT);
    struct record_writer writer = {bytes[(depth + 1) % 2], sizeof bytes[0], 0};
    put_record(&writer, 5, (span){bytes[depth % 2], size});
    size = writer.size;
  }
}

// Random bytes must be refused or read, never more.
static void noise(void) {
  uint32_t random = 7;
  for (size_t round = 0; round < 200'000; round++) {
    uint8_t bytes[40];
    random = random * 1664525u + 1013904223u;
    size_t size = random >> 16 & 31;
    for (size_t i = 0; i < size; i++) {
      random = random * 1664525u + 1013904223u;
      bytes[i] = random >> 28 ? (uint8_t)(random >> 16 & 3) : (uint8_t)(random >> 16);
    }
    struct fault fault;
    if (record_check((span){bytes, size}, &fault) < 0) continue;
    record_number((span){bytes, size}, 1, 0);
    record_text((span){bytes, size}, 2);
  }
}

int main(void) {
  round_trip();
  a_short_buffer_still_counts();
  malformed_ones_are_refused();
  nesting_is_bounded();
  noise();
}
