// A pack whose index is lost. Whatever the bytes are, what comes back has names that stay in their
// tree, in order and each once, and chunks that lie in the file. The hashes of copies are made
// right first, so that what lies behind them is reached.
#include <assert.h>
#include <stdlib.h>

#include "base/path.h"
#include "store/pack_copy.h"
#include "store/pack_recover.h"
#include "store/paths.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static int32_t read_memory(void *self, uint64_t at, uint8_t *into, size_t size, struct fault *) {
  const span *file = self;
  assert(at <= file->size && size <= file->size - at);
  if (size) memcpy(into, file->at + at, size);
  return 0;
}

static void check(const struct pack_index *index, size_t size) {
  for (size_t i = 0; i < index->count; i++) {
    const struct pack_item *item = &index->items[i];
    struct fault fault = {};
    if (item->path.size || item->type != ENTRY_DIRECTORY)
      assert(item->path.size && path_safe(item->path, &fault) == 0);
    assert(i == 0 || paths_order(index->items[i - 1].path, item->path) < 0);
    uint64_t at = 0;
    for (size_t n = 0; item->type == ENTRY_FILE && n < item->count; n++) {
      const struct pack_chunk *chunk = &index->chunks[item->first + n];
      assert(chunk->at == at);
      assert(chunk->blob_at <= size && chunk->blob_size <= size - chunk->blob_at);
      at += chunk->size;
    }
    assert(item->type != ENTRY_FILE || at == item->size);
  }
}

static void mend_copies(uint8_t *bytes, size_t size) {
  for (size_t at = 0; at + COPY_LEAST < size; at++) {
    if (memcmp(bytes + at, copy_magic, sizeof copy_magic) != 0) continue;
    uint64_t place = at, length;
    memcpy(bytes + at + 16, &place, 8);
    memcpy(&length, bytes + at + 24, 8);
    if (length <= COPY_LEAST || length > size - at) continue;
    hash_of((span){bytes + at, (size_t)length - HASH_BYTES}, bytes + at + length - HASH_BYTES);
  }
}

static void recover(uint8_t *bytes, size_t size) {
  span whole = {bytes, size};
  struct recover_file file = {size, &whole, read_memory};
  struct pack_index index;
  struct recovered recovered;
  struct fault fault = {};
  int32_t code = pack_recover(&index, &file, 10'000, &recovered, &fault);
  assert(code == 0 || fault.code == code);
  if (code < 0) return;
  check(&index, size);
  pack_index_free(&index);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  uint8_t *copy = malloc(size ? size : 1);
  if (!copy) return 0;
  if (size) memcpy(copy, bytes, size);
  recover(copy, size);
  mend_copies(copy, size);
  recover(copy, size);
  free(copy);
  return 0;
}
