// A whole file as bytes, and content on its way through the stages. Whatever comes, nothing is
// believed before it was held against the rest, and what is made here comes out as it went in. The
// checks that need no key are made right first, so that what lies behind them is reached.
#include <assert.h>
#include <stdlib.h>

#include "store/crypt_form.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_of(span first, span second, uint8_t out[CRYPT_CHECK]) {
  struct hash hash;
  uint8_t digest[HASH_BYTES];
  hash_begin(&hash);
  hash_add(&hash, first.at, first.size);
  hash_add(&hash, second.at, second.size);
  hash_end(&hash, digest);
  memcpy(out, digest, CRYPT_CHECK);
}

static void read_parts(struct crypt_bench *bench, const struct crypt_header *header,
                       const struct crypt_trailer *trailer, const uint8_t *index, span file) {
  uint64_t parts = crypt_parts(header, trailer->size), at = CRYPT_HEADER;
  struct fault fault = {};
  for (uint64_t i = 0; i < parts; i++) {
    uint32_t entry = crypt_entry(index, i), stored = entry & ~CRYPT_PLAIN;
    struct crypt_part part = {.number = i,
                              .is_last = i + 1 == parts,
                              .is_plain = entry & CRYPT_PLAIN,
                              .size = crypt_part_size(header, trailer->size, i)};
    assert(at + stored <= file.size && part.size > 0);
    memcpy(bench->stored, file.at + at, stored);
    if (crypt_part_read(bench, header, &part, stored, &fault) < 0) assert(fault.code < 0);
    at += stored;
  }
}

static void read_file(span file) {
  struct crypt_header header;
  struct crypt_trailer trailer;
  struct crypt_bench bench = {};
  struct fault fault = {};
  if (file.size < CRYPT_LEAST || crypt_header_read(file.at, &header, &fault) < 0) return;
  uint8_t key[SEAL_KEY], key_check[CRYPT_CHECK];
  static const uint8_t master[SEAL_KEY] = "a key";
  bool is_ready = seal_begin(&bench.seal) && crypt_file_key(&header, master, key, key_check) &&
                  seal_key(&bench.seal, key);
  const uint8_t *end = file.at + file.size - CRYPT_TRAILER;
  int32_t code = is_ready ? crypt_trailer_read(&bench, &header, end, &trailer, &fault) : -1;
  uint64_t index = code == 0 ? crypt_parts(&header, trailer.size) * CRYPT_ENTRY : 0;
  if (code == 0 && trailer.raw_size == file.size && index <= file.size - CRYPT_LEAST &&
      crypt_index_read(&header, &trailer, end - index, (size_t)index, &fault) == 0 &&
      crypt_bench_ready(&bench, header.part_log, &fault) == 0)
    read_parts(&bench, &header, &trailer, end - index, file);
  crypt_bench_end(&bench);
}

// As if whoever wrote it had wanted just that.
static void mend(uint8_t *file, size_t size) {
  if (size < CRYPT_LEAST) return;
  uint8_t *end = file + size - CRYPT_TRAILER, *check = file + CRYPT_HEADER - CRYPT_CHECK;
  static const uint8_t begin_magic[16] = "copse crypt 1\0\0", end_magic[16] = "copse crypt end";
  memcpy(file, begin_magic, sizeof begin_magic);
  memcpy(end + 48, end_magic, sizeof end_magic);
  file[16] &= 1;  // not encrypted
  file[17] = 0;
  memset(file + 19, 0, 13);
  memset(file + 64, 0, 48);
  check_of((span){file, CRYPT_HEADER - CRYPT_CHECK}, (span){}, check);
  for (int i = 0; i < 8; i++) end[8 + i] = (uint8_t)((uint64_t)size >> (8 * i));
  struct crypt_header header;
  struct fault fault = {};
  if (crypt_header_read(file, &header, &fault) < 0) return;
  uint64_t content = 0;
  for (int i = 0; i < 3; i++) content |= (uint64_t)end[i] << (8 * i);
  memset(end + 3, 0, 5);
  uint64_t index = crypt_parts(&header, content) * CRYPT_ENTRY;
  if (index > size - CRYPT_LEAST) return;
  crypt_index_check(end - index, (size_t)index, end + 16);
  check_of((span){check, CRYPT_CHECK}, (span){end, 32}, end + 32);
}

static void there_and_back(span content, uint8_t how) {
  struct crypt_header header = {.stages = how & 3, .part_log = CRYPT_PART_LEAST};
  if (header.stages & CRYPT_ENCRYPTED) header.key_kind = CRYPT_KEY;
  uint8_t head[CRYPT_HEADER], key[SEAL_KEY] = {how};
  struct crypt_bench bench = {};
  struct fault fault = {};
  crypt_header_put(&header, head);
  struct crypt_part part = {.number = how, .is_last = how & 4, .size = content.size};
  if (seal_begin(&bench.seal) && seal_key(&bench.seal, key) &&
      crypt_bench_ready(&bench, header.part_log, &fault) == 0) {
    memcpy(bench.plain, content.at, content.size);
    int64_t stored = crypt_part_put(&bench, &header, 1 + how % 5, &part, &fault);
    assert(stored > 0 && (size_t)stored <= crypt_stored_most(header.part_log));
    memset(bench.plain, 0, content.size);
    assert(crypt_part_read(&bench, &header, &part, (size_t)stored, &fault) == 0);
    assert(memcmp(bench.plain, content.at, content.size) == 0);
  }
  crypt_bench_end(&bench);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  uint8_t *copy = malloc(size ? size : 1);
  if (!copy) return 0;
  if (size) memcpy(copy, bytes, size);
  read_file((span){copy, size});
  mend(copy, size);
  read_file((span){copy, size});
  if (size > 1 && size <= (size_t)1 << CRYPT_PART_LEAST)
    there_and_back((span){bytes + 1, size - 1}, bytes[0]);
  free(copy);
  return 0;
}
