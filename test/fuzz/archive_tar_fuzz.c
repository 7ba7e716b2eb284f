// tar over libarchive, with our rules about names, ends and limits.
#include <assert.h>

#include "archive_bytes.h"
#include "store/archive_index.h"
#include "store/archive_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static int32_t read_content(struct archive_stream *stream, struct fault *fault) {
  const uint8_t *block = nullptr;
  uint64_t at = 0, end = 0;
  int64_t got;
  while ((got = stream_data(stream, &block, &at, fault)) > 0) {
    assert(at >= end);  // onward only
    end = at + (uint64_t)got;
  }
  return (int32_t)got;
}

static void check_names(const struct index *index) {
  for (uint32_t i = 0; i < index->ordered; i++) {
    uint32_t item = index->order[i];
    if (item_type(&index->items[item]) == ENTRY_NONE) continue;
    span name = index_name(index, item);
    assert(name.size && !memchr(name.at, '/', name.size));
    assert(!span_equal(name, SPAN("..")) && !span_equal(name, SPAN(".")));
    const struct item *parent = &index->items[index->items[item].parent];
    assert(item_type(parent) == ENTRY_DIRECTORY);
    assert(index_child(index, index->items[item].parent, name) == item);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  struct archive_bytes all;
  struct fault fault = {};
  struct reader reader = bytes_open(&all, bytes, size);
  struct archive_source *source = bytes_source(&all, &reader);
  struct archive_stream stream;
  struct index index;
  if (!source) return 0;
  if (!index_begin(&index, &fuzz_limits)) {
    source_close(source);
    return 0;
  }
  int32_t code = stream_open(&stream, source, FORMAT_TAR, &fuzz_limits, (span){}, &fault);
  if (code == 0) {
    struct stream_entry entry;
    while ((code = stream_next(&stream, &entry, &fault)) > 0) {
      uint32_t item = 0;
      struct item_facts facts = {.size = entry.size,
                                 .mtime_ns = entry.mtime_ns,
                                 .mode = entry.mode,
                                 .uid = entry.uid,
                                 .gid = entry.gid,
                                 .target = entry.target};
      code = entry.is_hard_link ? index_add_twin(&index, entry.name, entry.hard_link, &item, &fault)
                                : index_add(&index, entry.name, &facts, &item, &fault);
      if (code == 0) code = read_content(&stream, &fault);
      if (code < 0) break;
    }
    stream_close(&stream);
  }
  if (code == 0 && index_seal(&index, &fault) == 0) check_names(&index);
  assert(code == 0 || fault.code == code);
  index_free(&index);
  return 0;
}
