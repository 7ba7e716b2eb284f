// A whole pack: trailer, manifest, rows and extension. Whatever comes, what is used of it has names
// that stay in their tree, in order and each once, and chunks that lie before the index and cover
// their file. Each input is read twice, the second time with the hashes of its extension made
// right, so that what lies behind them is reached too.
#include <assert.h>
#include <stdlib.h>

#include "base/path.h"
#include "store/pack_extension.h"
#include "store/pack_index.h"
#include "store/paths.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_item(const struct pack_index *index, size_t i) {
  const struct pack_item *item = &index->items[i];
  struct fault fault = {};
  if (item->path.size || item->type != ENTRY_DIRECTORY)
    assert(item->path.size && path_safe(item->path, &fault) == 0);
  assert(i == 0 || paths_order(index->items[i - 1].path, item->path) < 0);
  if (item->type != ENTRY_FILE) return;
  assert(item->count > 0);
  uint64_t at = 0;
  for (size_t n = 0; n < item->count; n++) {
    const struct pack_chunk *chunk = &index->chunks[item->first + n];
    assert(chunk->at == at && chunk->size <= PACK_CHUNK_MAX);
    assert(chunk->group_at <= chunk->group_size);
    assert(chunk->size <= chunk->group_size - chunk->group_at);
    assert(chunk->blob_at <= index->begin && chunk->blob_size <= index->begin - chunk->blob_at);
    at += chunk->size;
  }
  assert(at == item->size);
}

static span part(const uint8_t *bytes, size_t size, uint64_t at, size_t most) {
  if (at >= size) return (span){};
  return (span){bytes + at, size - (size_t)at < most ? size - (size_t)at : most};
}

static void read_pack(const uint8_t *bytes, size_t size) {
  size_t trailer = size < PACK_TRAILER ? size : PACK_TRAILER;
  span last = {bytes + size - trailer, trailer};
  bool has_magic = pack_has_trailer(last), is_native = false;
  span head = has_magic ? (span){} : part(bytes, size, 0, 4);
  span old = has_magic ? (span){} : part(bytes, size, pack_old(last, size), 8);
  struct fault fault = {};
  uint64_t manifest = 0, first = 0;
  int32_t code = pack_trailer(last, size, head, old, &manifest, &is_native, &fault);
  assert(code == 0 || fault.code == code);
  if (code < 0) return;
  assert(manifest <= size - PACK_TRAILER);
  size_t end = size - PACK_TRAILER;
  code = pack_first((span){bytes + manifest, end - (size_t)manifest}, manifest, &first, &fault);
  assert(code == 0 || fault.code == code);
  if (code < 0) return;
  assert(first <= manifest);
  struct pack_index index;
  span tail = {bytes + first, end - (size_t)first};
  code = pack_index_read(&index, tail, first, manifest, is_native, 10'000, &fault);
  assert(code == 0 || fault.code == code);
  if (code < 0) return;
  for (size_t i = 0; i < index.count; i++) check_item(&index, i);
  for (size_t i = 0; i < index.refused_count; i++) {
    struct fault why = {};
    assert(pack_refused_fault(&index.refused[i], &why) == COPSE_E_UNSAFE_PATH);
  }
  pack_index_free(&index);
}

// The extension's hashes as they would be.
static bool seal(uint8_t *bytes, size_t size) {
  static const uint8_t magic[] = "COPSEXT\1";
  uint8_t *at = memmem(bytes, size, magic, sizeof magic - 1);
  uint64_t manifest = 0, first = 0, length = 0;
  struct fault fault = {};
  if (!at || size < PACK_TRAILER) return false;
  span last = {bytes + size - PACK_TRAILER, PACK_TRAILER};
  bool is_native = false;
  if (pack_trailer(last, size, (span){}, (span){}, &manifest, &is_native, &fault) < 0) return false;
  size_t end = size - PACK_TRAILER, begin = (size_t)(at - bytes);
  span listed = {bytes + manifest, end - (size_t)manifest};
  if (manifest < begin || pack_first(listed, manifest, &first, &fault) < 0) return false;
  if (begin + EXTENSION_HEAD + HASH_BYTES > manifest || first > begin) return false;
  uint32_t count;
  memcpy(&count, at + 8, sizeof count);
  memcpy(&length, at + 16, sizeof length);
  if (length < EXTENSION_HEAD + HASH_BYTES || length > manifest - begin) return false;
  extension_seal(at, (size_t)length, count, (span){bytes + first, begin - (size_t)first}, listed);
  return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  uint8_t *copy = malloc(size ? size : 1);
  if (!copy) return 0;
  if (size) memcpy(copy, bytes, size);
  read_pack(copy, size);
  if (seal(copy, size)) read_pack(copy, size);
  free(copy);
  return 0;
}
