// Lines of a server's answer, and the address that a redirect names. Whatever comes, a length is
// below 2^63, a range lies inside its total, and no text is longer than its room.
#include <assert.h>
#include <stdlib.h>

#include "wire/http_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  uint8_t *copy = malloc(size + 1);  // exact, so that one byte too far is seen
  if (!copy) return 0;
  if (size) memcpy(copy, bytes, size);
  copy[size] = 0;
  struct http_head head = {};
  http_head_begin(&head);
  struct fault fault = {};
  for (size_t at = 0; at < size;) {
    const uint8_t *end = memchr(copy + at, '\n', size - at);
    size_t line = end ? (size_t)(end - (copy + at)) + 1 : size - at;
    uint8_t *exact = malloc(line);
    if (!exact) break;
    memcpy(exact, copy + at, line);
    int32_t code = http_head_line(&head, (span){exact, line}, 1'700'000'000, &fault);
    assert(code <= 0 && (code == 0 || fault.code == code));
    http_header_is_safe((span){exact, line});
    free(exact);
    at += line;
    if (code < 0) break;
    assert(head.size == COPSE_UNKNOWN || head.size <= INT64_MAX);
    assert(head.bytes <= HTTP_HEAD_MAX);
    if (head.has_range && head.range_total != COPSE_UNKNOWN)
      assert(head.range_from <= head.range_to && head.range_to <= head.range_total);
    assert(strlen(head.etag) <= HTTP_ETAG_MAX && strlen(head.type) <= HTTP_TYPE_MAX);
    assert(strlen(head.location) <= HTTP_LOCATION_MAX);
    assert(strlen(head.name) <= HTTP_NAME_MAX && head.name[0] != '.' && !strchr(head.name, '/'));
    for (const char *c = head.location; *c; c++) assert((unsigned char)*c >= 0x20);
  }
  char name[HTTP_NAME_MAX + 1];
  if (http_url_name((span){copy, size}, name))
    assert(name[0] && strlen(name) <= HTTP_NAME_MAX && !strchr(name, '/') && strcmp(name, ".."));
  if (!memchr(copy, 0, size)) http_host_is_public((const char *)copy);
  free(copy);
  return 0;
}
