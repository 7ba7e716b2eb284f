// archive_filter: bzip2, zstd and lz4, as libarchive undoes them. Its raw format gives what
// comes out until the end, so checksums at the end are looked at whatever the archive inside does.
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>

#include "store/archive_source.h"

struct filter_source {
  struct archive_source source;
  struct archive *raw;
  bool begun;
  struct fault below;  // why the bytes below ended
};

static la_ssize_t read_below(struct archive *raw, void *data, const void **block) {
  struct filter_source *filter = data;
  const uint8_t *bytes = nullptr;
  int64_t got = source_read(filter->source.below, &bytes, &filter->below);
  *block = bytes;
  if (got >= 0) return (la_ssize_t)got;
  archive_set_error(raw, EIO, "the bytes below failed");
  return ARCHIVE_FATAL;
}

static int32_t failed(struct filter_source *filter, struct fault *fault) {
  if (filter->below.code < 0) {
    *fault = filter->below;
    return fault->code;
  }
  if (archive_errno(filter->raw) == ENOMEM)
    return fault_set(fault, COPSE_E_MEMORY, "out of memory while unpacking");
  const char *why = archive_error_string(filter->raw);
  if (why && strstr(why, "too much memory"))
    return fault_set(fault, COPSE_E_LIMIT,
                     "the compressed data wants a larger window than 128 MiB");
  return fault_set(fault, COPSE_E_CORRUPT, "the compressed data is damaged: %s",
                   why ? why : "it makes no sense");
}

static int64_t filter_read(struct archive_source *source, const uint8_t **block,
                           struct fault *fault) {
  struct filter_source *filter = (struct filter_source *)source;
  if (!filter->begun) {
    filter->begun = true;
    struct archive_entry *entry;
    int result = archive_read_open(filter->raw, filter, nullptr, read_below, nullptr);
    if (result == ARCHIVE_OK) result = archive_read_next_header(filter->raw, &entry);
    if (result == ARCHIVE_EOF && filter->below.code == 0) return 0;
    if (result != ARCHIVE_OK) return failed(filter, fault);
  }
  const void *bytes;
  size_t size = 0;
  la_int64_t at;
  int result = ARCHIVE_OK;
  while (size == 0 && result == ARCHIVE_OK)
    result = archive_read_data_block(filter->raw, &bytes, &size, &at);
  *block = bytes;
  if (result == ARCHIVE_OK) return (int64_t)size;
  if (result != ARCHIVE_EOF || filter->below.code < 0) return failed(filter, fault);
  // Nothing may follow: libarchive stops at the end of what it understands.
  int64_t more = source_read(source->below, block, fault);
  if (more > 0)
    return fault_set(fault, COPSE_E_CORRUPT, "bytes follow the end of the compressed data");
  return more;
}

static void filter_close(struct archive_source *source) {
  struct filter_source *filter = (struct filter_source *)source;
  archive_read_free(filter->raw);
  free(filter);
}

struct archive_source *filter_layer(struct archive_source *below, int code, struct fault *fault) {
  struct filter_source *filter = malloc(sizeof *filter);
  struct archive *raw = archive_read_new();
  if (!filter || !raw) {
    if (raw) archive_read_free(raw);
    free(filter);
    fault_set(fault, COPSE_E_MEMORY, "out of memory");
    return nullptr;
  }
  bool ready = archive_read_support_format_raw(raw) == ARCHIVE_OK;
  if (ready)
    ready = (code == ARCHIVE_FILTER_BZIP2  ? archive_read_support_filter_bzip2(raw)
             : code == ARCHIVE_FILTER_ZSTD ? archive_read_support_filter_zstd(raw)
                                           : archive_read_support_filter_lz4(raw)) == ARCHIVE_OK;
  if (!ready) {
    archive_read_free(raw);
    free(filter);
    fault_set(fault, COPSE_E_UNSUPPORTED, "this build of libarchive cannot undo the compression");
    return nullptr;
  }
  *filter = (struct filter_source){
      .source = {.read = filter_read, .close = filter_close, .below = below}, .raw = raw};
  return &filter->source;
}

const char *source_version(void) {
  const char *text = archive_version_string(), *space = strchr(text, ' ');  // "libarchive 3.6.2"
  return space ? space + 1 : text;
}
