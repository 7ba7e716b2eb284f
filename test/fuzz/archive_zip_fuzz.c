// The zip directory and its entries. Whatever comes, names that could lead out are apart, no entry
// is larger than it says, and content that is given has its checksum proved.
#include <assert.h>

#include "archive_bytes.h"
#include "store/archive_zip.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void read_all(struct zip_file *zip, const struct item *item) {
  struct zip_reader *reader = nullptr;
  struct fault fault = {};
  if (!zip_is_ours(&item->zip) || zip_open(zip, item, &reader, &fault) < 0) return;
  static uint8_t into[10'000];
  bool at_end = false;
  int64_t got = 0;
  uint64_t at = 0;
  for (; !at_end && got >= 0; at += got > 0 ? (uint64_t)got : 0) {
    got = zip_read(reader, at, into, sizeof into, &at_end, &fault);
    assert(at_end || got != 0);
  }
  assert(got < 0 || at == item->size);
  zip_close(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  struct archive_bytes all;
  struct fault fault = {};
  struct reader reader = bytes_open(&all, bytes, size);
  struct zip_file zip;
  struct index index;
  if (!index_begin(&index, &fuzz_limits)) return 0;
  zip_begin(&zip, &reader, size);
  int32_t code = zip_read_directory(&zip, &index, &all.task, &all.stop, &fault);
  if (code == 0) code = index_seal(&index, &fault);
  assert(code == 0 || fault.code == code);
  for (uint32_t i = 0; code == 0 && i < index.ordered; i++) {
    const struct item *item = &index.items[index.order[i]];
    span name = index_name(&index, index.order[i]);
    if (item_type(item) == ENTRY_NONE) continue;
    assert(name.size && !memchr(name.at, '/', name.size) && !memchr(name.at, 0, name.size));
    assert(!span_equal(name, SPAN("..")) && !span_equal(name, SPAN(".")));
    if (item_type(item) == ENTRY_FILE) read_all(&zip, item);
  }
  zip_end(&zip);
  index_free(&index);
  return 0;
}
