// archive_stream_check: reads a whole archive through libarchive by our rules, and checks what came
// of it: one fault, or an index in which no name leads out.
#pragma once
#include <assert.h>
#include <errno.h>

#include "archive_bytes.h"
#include "store/archive_index.h"
#include "store/archive_stream.h"

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

// Ends the source.
static void check_stream(struct archive_source *source, enum archive_format format) {
  struct fault fault = {};
  struct archive_stream stream;
  struct index index;
  if (!index_begin(&index, &fuzz_limits)) {
    source_close(source);
    return;
  }
  int32_t code = stream_open(&stream, source, format, &fuzz_limits, (span){}, &fault);
  if (code == 0) {
    struct stream_entry entry;
    errno = ENOMEM;  // what others left there is nobody's business
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
}

// What it is says its beginning, under whatever it is packed in.
static void check_known(const uint8_t *bytes, size_t size, uint32_t formats) {
  struct archive_bytes all;
  struct fault fault = {};
  struct reader reader = bytes_open(&all, bytes, size);
  struct archive_source *source = bytes_source(&all, &reader);
  if (!source || source_layers(source, fuzz_limits.nested, &source, &fault) < 0) return;
  span head;
  enum archive_format format = FORMAT_UNKNOWN;
  if (source_peek(source, FORMAT_HEAD, &head, &fault) == 0) format = format_of(head);
  bool is_wanted = (format & formats) && !(source->below && format == FORMAT_7Z);
  if (is_wanted)
    check_stream(source, format);
  else
    source_close(source);
}
