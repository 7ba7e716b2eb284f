// record: see record.h. Bytes are put together one by one, which compilers turn into single loads,
// so that neither alignment nor the machine's byte order matters.
#include "base/record.h"

#include <assert.h>

constexpr size_t HEADER = 8, NUMBER = 8;
constexpr size_t DEPTH_MAX = 8;  // a request, a place, and wrapped places; nobody wraps deeper

static uint64_t read_number(const uint8_t *at, size_t size) {
  uint64_t number = 0;
  for (size_t i = size; i > 0; i--) number = number << 8 | at[i - 1];
  return number;
}

static void write_number(uint8_t *at, size_t size, uint64_t number) {
  for (size_t i = 0; i < size; i++) at[i] = (uint8_t)(number >> (8 * i));
}

// True after taking a field. False at the end, and then `wrong` says whether there was something
// else.
static bool take(span *rest, struct field *field, const char **wrong) {
  *wrong = nullptr;
  if (rest->size == 0) return false;
  if (rest->size < HEADER) {
    *wrong = "malformed record: a field's header is cut";
    return false;
  }
  const uint8_t *at = rest->at;
  size_t size = (size_t)read_number(at + 4, 4);
  *field = (struct field){.key = (uint16_t)read_number(at, 2), .kind = at[2]};
  if (field->kind < COPSE_FIELD_NUMBER || field->kind > COPSE_FIELD_RECORD)
    *wrong = "malformed record: a field of no known kind";
  else if (at[3] != 0)
    *wrong = "malformed record: a field's fourth byte is not zero";
  else if (size > rest->size - HEADER)
    *wrong = "malformed record: a field is longer than what is left";
  else if (field->kind == COPSE_FIELD_NUMBER && size != NUMBER)
    *wrong = "malformed record: a number must have 8 bytes";
  if (*wrong) return false;
  if (field->kind == COPSE_FIELD_NUMBER)
    field->number = read_number(at + HEADER, NUMBER);
  else
    field->bytes = (span){at + HEADER, size};
  *rest = (span){at + HEADER + size, rest->size - HEADER - size};
  return true;
}

int32_t record_next(span *rest, struct field *field, struct fault *fault) {
  const char *wrong;
  if (take(rest, field, &wrong)) return 1;
  return wrong ? fault_set(fault, COPSE_E_ARGUMENT, "%s", wrong) : 0;
}

int32_t record_check(span record, struct fault *fault) {
  span rest[DEPTH_MAX] = {record};
  size_t depth = 1;
  while (depth > 0) {
    struct field field;
    int32_t more = record_next(&rest[depth - 1], &field, fault);
    if (more < 0) return more;
    if (more == 0) {
      depth--;
    } else if (field.kind == COPSE_FIELD_RECORD) {
      if (depth == DEPTH_MAX)
        return fault_set(fault, COPSE_E_ARGUMENT, "malformed record: nested deeper than %zu",
                         DEPTH_MAX);
      rest[depth++] = field.bytes;
    }
  }
  return 0;
}

bool record_find(span record, uint16_t key, uint8_t kind, struct field *field) {
  const char *wrong;
  while (take(&record, field, &wrong))
    if (field->key == key && field->kind == kind) return true;
  return false;
}

uint64_t record_number(span record, uint16_t key, uint64_t otherwise) {
  struct field field;
  return record_find(record, key, COPSE_FIELD_NUMBER, &field) ? field.number : otherwise;
}

span record_text(span record, uint16_t key) {
  struct field field;
  return record_find(record, key, COPSE_FIELD_TEXT, &field) ? field.bytes : (span){};
}

span record_record(span record, uint16_t key) {
  struct field field;
  return record_find(record, key, COPSE_FIELD_RECORD, &field) ? field.bytes : (span){};
}

// The place for `size` bytes of a field's content after its header, or nullptr when they do not
// fit. Once one did not fit none will: `size` has gone past `capacity`.
static uint8_t *put(struct record_writer *writer, uint16_t key, uint8_t kind, size_t size) {
  assert(size <= UINT32_MAX);
  size_t begin = writer->size, total = HEADER + size;
  writer->size += total;
  if (begin > writer->capacity || total > writer->capacity - begin) return nullptr;
  uint8_t *at = writer->at + begin;
  write_number(at, 2, key);
  at[2] = kind;
  at[3] = 0;
  write_number(at + 4, 4, size);
  return at + HEADER;
}

void record_put_number(struct record_writer *writer, uint16_t key, uint64_t number) {
  uint8_t *at = put(writer, key, COPSE_FIELD_NUMBER, NUMBER);
  if (at) write_number(at, NUMBER, number);
}

void record_put_text(struct record_writer *writer, uint16_t key, span text) {
  uint8_t *at = put(writer, key, COPSE_FIELD_TEXT, text.size);
  if (at && text.size) memcpy(at, text.at, text.size);
}
