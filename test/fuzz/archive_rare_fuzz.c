// The formats that are read only when they are asked for.
#include "archive_stream_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  check_known(bytes, size, FORMAT_7Z | FORMAT_RAR | FORMAT_LHA | FORMAT_CAB);
  return 0;
}
