// Records of patterns. Whatever comes is a fault or a set of patterns that answers for any name.
#include <assert.h>
#include <stdlib.h>

#include "base/record.h"
#include "tree/pattern.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  uint8_t *copy = malloc(size ? size : 1);  // exact, so that one byte too far is seen
  if (!copy) return 0;
  if (size) memcpy(copy, bytes, size);
  span record = {copy, size};
  struct fault fault = {};
  struct arena arena;
  arena_begin(&arena);
  struct patterns *patterns = nullptr;
  if (record_check(record, &fault) == 0 &&
      patterns_compile(record, &arena, &patterns, &fault) == 0) {
    uint64_t *nodes = calloc(patterns->node_words + 1, sizeof *nodes);
    uint32_t *found = calloc(patterns->glob_count + 1, sizeof *found);
    struct matcher *own = matcher_take(patterns->own);
    if (nodes && found && own) {
      span name = {copy, size < 16 ? size : 16};
      patterns_name(patterns, own, name, nodes);
      uint32_t end = patterns->node_count;
      for (uint32_t i = bit_next(nodes, 0, end); i < end; i = bit_next(nodes, i + 1, end)) {
        const struct pattern_node *node = &patterns->nodes[i];
        for (uint32_t k = 0; k < node->directories.count; k++)
          assert(node->directories.at[k].what < i);
        bool nothing = files_fit(patterns, i, found);
        for (uint32_t k = 0; k < node->files.count; k++)
          assert(!nothing || node->files.at[k].min == 0);
      }
      for (uint32_t i = 0; i < patterns->root_count; i++) assert(patterns->root[i] < end);
    }
    matcher_give(own);
    free(found);
    free(nodes);
  } else {
    assert(fault.code < 0 && fault.text[0]);
  }
  patterns_free(patterns);
  arena_free(&arena);
  free(copy);
  return 0;
}
