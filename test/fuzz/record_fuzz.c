// A record as it comes over the boundary. What record_check passes is read to its end, stays within
// its bytes at every depth, and written again gives the same bytes; request_check refuses the rest
// with a sentence.
#include <assert.h>
#include <stdlib.h>

#include "base/record.h"
#include "engine/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void walk(span record, span whole, int depth) {
  assert(depth <= 9);
  struct field field;
  struct fault fault;
  uint8_t *again = malloc(record.size ? record.size : 1);
  if (!again) return;
  struct record_writer writer = {again, record.size, 0};
  span rest = record;
  int32_t code;
  while ((code = record_next(&rest, &field, &fault)) == 1) {
    assert(rest.at + rest.size == record.at + record.size);
    size_t begin = writer.size;
    if (field.kind == COPSE_FIELD_NUMBER) {
      record_put_number(&writer, field.key, field.number);
    } else {
      assert(field.bytes.size == 0 || (field.bytes.at >= whole.at &&
                                       field.bytes.at + field.bytes.size <= whole.at + whole.size));
      record_put_text(&writer, field.key, field.bytes);
      again[begin + 2] = field.kind;
    }
    if (field.kind == COPSE_FIELD_RECORD) walk(field.bytes, whole, depth + 1);
    struct field found;
    assert(record_find(record, field.key, field.kind, &found));
  }
  assert(code == 0 && writer.size == record.size);
  assert(memcmp(again, record.at, record.size) == 0);
  free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  uint8_t *exact = malloc(size ? size : 1);
  if (!exact) return 0;
  if (size) memcpy(exact, bytes, size);
  span record = {exact, size};
  struct fault fault = {};
  int32_t code = record_check(record, &fault);
  if (code == 0)
    walk(record, record, 0);
  else
    assert(code == COPSE_E_ARGUMENT && fault.code == code && fault.text[0]);
  fault = (struct fault){};
  int32_t checked = request_check(record, &fault);
  assert(checked == 0 || (checked == COPSE_E_ARGUMENT && fault.text[0]));
  assert(code == 0 || checked < 0);
  // A writer without room counts, and touches nothing.
  struct record_writer none = {};
  record_put_text(&none, 1, record);
  assert(none.size == 8 + size);
  free(exact);
  return 0;
}
