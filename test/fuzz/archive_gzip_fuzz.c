// The gzip layer. Whatever comes, it ends, and gives bytes or one fault.
#include <assert.h>

#include "archive_bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  struct archive_bytes all;
  struct fault fault = {};
  struct reader reader = bytes_open(&all, bytes, size);
  struct archive_source *file = bytes_source(&all, &reader);
  struct archive_source *layer = file ? gzip_layer(file, &fault) : nullptr;
  if (layer) {
    const uint8_t *block = nullptr;
    int64_t got = 1;
    uint64_t total = 0;
    while (got > 0 && total < fuzz_limits.bytes) {
      got = source_read(layer, &block, &fault);
      for (int64_t i = 0; i < got; i += 4096) total += block[i] & 1;  // they are there
      total += got > 0 ? (uint64_t)got : 0;
    }
    assert(got >= 0 || fault.code == got);
    if (got == 0) assert(source_read(layer, &block, &fault) == 0);  // an end stays one
  }
  source_close(layer ? layer : file);
  return 0;
}
