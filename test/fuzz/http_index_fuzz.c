// A directory's index as a server sends it, as JSON and as HTML. Whatever comes, each entry has a
// name that is one part of a path, and none stands there twice.
#include <assert.h>
#include <stdlib.h>

#include "store/http_index.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  static const char *const types[] = {"application/json", "text/html"};
  uint8_t *copy = malloc(size ? size : 1);
  if (!copy) return 0;
  if (size) memcpy(copy, bytes, size);
  for (size_t i = 0; i < 2; i++) {
    struct listing listing;
    struct fault fault = {};
    listing_begin(&listing);
    int32_t code = http_index_read((span){copy, size}, types[i], SPAN("/dir/"), &listing, &fault);
    assert(code <= 0);
    for (size_t j = 0; code == 0 && j < listing.count; j++) {
      span name = listing.entries[j].name;
      assert(name.size > 0 && !memchr(name.at, '/', name.size) && !memchr(name.at, 0, name.size));
      assert(!span_equal(name, SPAN(".")) && !span_equal(name, SPAN("..")));
      if (j > 0) assert(span_compare(listing.entries[j - 1].name, name) < 0);
    }
    listing_free(&listing);
  }
  free(copy);
  return 0;
}
