// An ignore file, a NUL, and a path. Whatever comes, it is read without a fault but for want of
// room, and its verdict on every part of the path is the same the second time.
#include <assert.h>
#include <stdlib.h>

#include "tree/filter.h"
#include "tree/ignore.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  const uint8_t *stop = size ? memchr(bytes, 0, size) : nullptr;
  size_t length = stop ? (size_t)(stop - bytes) : size;
  uint8_t *copy = malloc(length ? length : 1);  // exact, so that one byte too far is seen
  if (!copy) return 0;
  if (length) memcpy(copy, bytes, length);
  span path = stop ? (span){stop + 1, size - length - 1} : SPAN("");
  struct ignore *ignore = nullptr;
  struct fault fault = {};
  int32_t code = ignore_read((span){copy, length}, 0, nullptr, &ignore, &fault);
  assert(code == 0 || code == COPSE_E_MEMORY || code == COPSE_E_LIMIT);
  free(copy);  // nothing of the text is kept
  for (size_t begin = 0, at = 0; ignore && at <= path.size; at++) {
    if (at < path.size && path.at[at] != '/') continue;
    struct sieve sieve = {};
    span directory = {path.at, begin ? begin - 1 : 0}, name = {path.at + begin, at - begin};
    if (sieve_begin(&sieve, nullptr, ignore, directory, &fault) == 0) {
      bool seen = sieve_entry(&sieve, name, at < path.size, false).seen;
      assert(sieve_entry(&sieve, name, at < path.size, false).seen == seen);
    }
    sieve_end(&sieve);
    begin = at + 1;
  }
  ignore_free(ignore);
  return 0;
}
