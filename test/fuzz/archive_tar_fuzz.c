// tar over libarchive, with our rules about names, ends and limits.
#include "archive_stream_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  struct archive_bytes all;
  struct reader reader = bytes_open(&all, bytes, size);
  struct archive_source *source = bytes_source(&all, &reader);
  if (source) check_stream(source, FORMAT_TAR);
  return 0;
}
