// A manifest of either form. Whatever comes is a fault with a sentence or a sorted table of safe
// paths, each once, in which nothing lies below a file.
#include <assert.h>
#include <stdlib.h>

#include "base/path.h"
#include "store/manifest_parse.h"
#include "store/paths.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static bool is_below(span path, span above) {
  return path.size > above.size && path.at[above.size] == '/' &&
         memcmp(path.at, above.at, above.size) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  uint8_t *exact = malloc(size ? size : 1);  // one byte too far is seen
  if (!exact) return 0;
  if (size) memcpy(exact, bytes, size);
  struct manifest manifest;
  struct fault fault = {};
  int32_t code = manifest_parse((span){exact, size}, COPSE_ALGORITHM_SHA256, &manifest, &fault);
  free(exact);  // the table has copies
  if (code < 0) {
    assert(fault.code == code && fault.text[0]);
    assert(code == COPSE_E_CORRUPT || code == COPSE_E_UNSAFE_PATH);
    return 0;
  }
  assert(manifest.algorithm <= COPSE_ALGORITHM_SHA256);
  for (size_t i = 0; i < manifest.count; i++) {
    const struct manifest_item *item = &manifest.items[i];
    assert(item->path.size > 0 && path_safe(item->path, &fault) == 0);
    assert(item->path.at[item->path.size] == 0);
    assert(item->type == ENTRY_FILE || item->type == ENTRY_DIRECTORY || item->type == ENTRY_LINK);
    if (item->type == ENTRY_LINK)
      assert(item->target.size == strlen((const char *)item->target.at));
    if (i == 0) continue;
    const struct manifest_item *last = item - 1;
    assert(paths_order(last->path, item->path) < 0);
    assert(last->type == ENTRY_DIRECTORY || !is_below(item->path, last->path));
  }
  manifest_free(&manifest);
  return 0;
}
