// Whatever the bytes say they are, of the formats that are read by default, with the compressions
// around them.
#include "archive_stream_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  check_known(bytes, size, FORMATS_DEFAULT & ~(uint32_t)FORMAT_ZIP);
  return 0;
}
